// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/registry/internal/fault"
)

// Writable checks whether every primary takes writes, in one round trip each, and changes nothing.
// ErrRefusesWrites quotes the first that does not. It skips primaries without the library.
func (r *Registry) Writable(ctx context.Context) error {
	return r.forEachPrimary(ctx, func(ctx context.Context, node *redis.Client) error {
		err := node.FCall(ctx, "cw_writable", nil).Err()
		if err == nil || fault.IsFunctionMissing(err) {
			return nil
		}
		return fault.Classify("asking "+node.Options().Addr+" whether it takes writes", err)
	})
}
