// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package primary

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/registry/internal/fault"
)

// Writable checks whether every primary takes writes, and changes nothing. It skips primaries
// without the library.
func Writable(ctx context.Context, client redis.UniversalClient) error {
	return ForEach(ctx, client, func(ctx context.Context, node *redis.Client) error {
		err := node.FCall(ctx, "cw_writable", nil).Err()
		if err == nil || fault.IsFunctionMissing(err) {
			return nil
		}
		return fault.Classify("asking "+node.Options().Addr+" whether it takes writes", err)
	})
}
