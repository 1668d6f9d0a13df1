// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// Writable asks every primary whether it takes writes, in one round trip each, and changes nothing. ErrRefusesWrites quotes
// the first that does not. A primary without the library is not asked.
func (r *Registry) Writable(ctx context.Context) error {
	return r.forEachPrimary(ctx, func(ctx context.Context, node *redis.Client) error {
		err := node.FCall(ctx, "cw_writable", nil).Err()
		if err == nil || isFunctionMissing(err) {
			return nil
		}
		return classified("asking "+node.Options().Addr+" whether it takes writes", err)
	})
}
