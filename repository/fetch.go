// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package repository

import (
	"context"

	"github.com/cachewright/cachewright/cache"
)

// Fetch returns the entry of a key, or what load reads from the database: see cache.Fetch. The
// errors of load are typed, as Typed does it. So if load returns sql.ErrNoRows, Fetch returns
// ErrNotFound, and the policy says for how long others get it without a load.
//
// In a transaction of db, Fetch calls load. What it returns is neither taken from the cache nor
// stored: a transaction must see its own changes, and nobody else must see them yet. load must read
// with db.Querier and the context that it is given.
func Fetch[V any](
	ctx context.Context, db *DB, key cache.Key, load func(context.Context) (V, error),
) (V, error) {
	typed := func(ctx context.Context) (V, error) {
		value, err := load(ctx)
		return value, db.Typed(err)
	}
	if db.cache == nil || db.engine.FrameOf(ctx) != nil {
		return typed(ctx)
	}
	return cache.Fetch(ctx, db.cache, key, typed)
}
