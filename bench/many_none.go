// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build nomany

package main

import (
	"context"

	"github.com/cachewright/cachewright/cache"
)

// manyReads adds no rows: the packages are older than calls for many entries.
func (*bench) manyReads(context.Context, *lab) error { return nil }

func deleteMany(ctx context.Context, c *cache.Client, keys ...cache.Key) error {
	for _, key := range keys {
		if err := c.Delete(ctx, key); err != nil {
			return err
		}
	}
	return nil
}
