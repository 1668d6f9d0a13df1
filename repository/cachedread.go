// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package repository

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/cachewright/cachewright/cache"
)

// Get implements Repository.
func (c *cached[T, ID]) Get(ctx context.Context, id ID) (T, error) {
	user, err := c.keys.userOf(ctx)
	if err != nil {
		var none T
		return none, err
	}
	load := func(ctx context.Context) (T, error) {
		v, err := c.Source.Get(ctx, id)
		return c.onlyMine(v, user, err)
	}
	if c.inTx(ctx) {
		return load(ctx)
	}
	return cache.Fetch(ctx, c.cache, c.keys.entry(id, user), load)
}

// onlyMine passes a row on if it is the user's.
func (c *cached[T, ID]) onlyMine(v T, user string, err error) (T, error) {
	var none T
	if err != nil {
		return none, err
	}
	mine, err := c.keys.mine(&v, user)
	switch {
	case err != nil:
		return none, err
	case !mine:
		return none, fmt.Errorf("repository: %w", ErrNotFound)
	}
	return v, nil
}

// GetMany implements Repository.
func (c *cached[T, ID]) GetMany(ctx context.Context, ids []ID) (map[ID]T, error) {
	user, err := c.keys.userOf(ctx)
	if err != nil {
		return nil, err
	}
	load := func(ctx context.Context, ids []ID) (map[ID]T, error) {
		rows, err := c.Source.GetMany(ctx, ids)
		for id, v := range rows {
			if _, foreign := c.onlyMine(v, user, nil); foreign != nil {
				delete(rows, id)
			}
		}
		return rows, err
	}
	fetcher, ok := c.cache.(cache.ManyFetcher)
	if !ok || len(ids) > MaxRows || c.inTx(ctx) {
		return load(ctx, ids)
	}
	key := func(id ID) cache.Key { return c.keys.entry(id, user) }
	found, err := cache.FetchMany(ctx, fetcher, ids, key, load)
	var failed cache.KeyErrors[ID]
	if errors.As(err, &failed) {
		return nil, err
	}
	return found, err
}

// GetForUpdate implements Repository.
func (c *cached[T, ID]) GetForUpdate(ctx context.Context, id ID) (T, error) {
	user, err := c.keys.userOf(ctx)
	if err != nil {
		var none T
		return none, err
	}
	v, err := c.Source.GetForUpdate(ctx, id)
	if v, err = c.onlyMine(v, user, err); err == nil {
		c.noteLock(ctx, id)
	}
	return v, err
}

// Find implements Repository.
func (c *cached[T, ID]) Find(ctx context.Context, q Query) ([]T, error) {
	user, err := c.keys.userOf(ctx)
	if err != nil {
		return nil, err
	}
	if err := q.CheckBounds(); err != nil {
		return nil, fmt.Errorf("repository: %w", err)
	}
	if column, value := c.keys.uniqueOf(q); column != "" && !c.inTx(ctx) {
		return c.findUnique(ctx, c.keys.lookup(column, value, user), q, user)
	}
	q.Where = c.keys.where(user, q.Where)
	name := many{What: "find", Where: q.Where, Order: q.Order, Limit: q.Limit, Offset: q.Offset}
	return through(ctx, c, opList, name, func(ctx context.Context) ([]T, error) {
		return c.Source.Find(ctx, q)
	})
}

// findUnique looks up a row by a column that no two rows share.
func (c *cached[T, ID]) findUnique(
	ctx context.Context, key cache.Key, q Query, user string,
) ([]T, error) {
	v, err := cache.Fetch(ctx, c.cache, key, func(ctx context.Context) (T, error) {
		rows, err := c.Source.Find(ctx, q)
		switch {
		case err == nil && len(rows) == 0:
			err = fmt.Errorf("repository: %w", ErrNotFound)
		case len(rows) > 1:
			err = fmt.Errorf("repository: %w: %s found %d rows; the column is not unique",
				ErrTooMany, key.Operation, len(rows))
		}
		if err != nil {
			var none T
			return none, err
		}
		return c.onlyMine(rows[0], user, nil)
	})
	switch {
	case errors.Is(err, ErrNotFound):
		return []T{}, nil
	case err != nil:
		return nil, err
	}
	return []T{v}, nil
}

// Page implements Repository.
func (c *cached[T, ID]) Page(ctx context.Context, q Query, after Cursor) (Page[T], error) {
	user, err := c.keys.userOf(ctx)
	if err != nil {
		return Page[T]{}, err
	}
	if err := q.CheckBounds(); err != nil {
		return Page[T]{}, fmt.Errorf("repository: %w", err)
	}
	q.Where = c.keys.where(user, q.Where)
	name := many{
		What: "page", Where: q.Where, Order: q.Order, Limit: q.Limit, Offset: q.Offset, After: after,
	}
	return through(ctx, c, opList, name, func(ctx context.Context) (Page[T], error) {
		return c.Source.Page(ctx, q, after)
	})
}

// Each implements Repository. It reads the database.
func (c *cached[T, ID]) Each(ctx context.Context, q Query) iter.Seq2[T, error] {
	user, err := c.keys.userOf(ctx)
	if err != nil {
		return func(yield func(T, error) bool) {
			var none T
			yield(none, err)
		}
	}
	q.Where = c.keys.where(user, q.Where)
	return c.Source.Each(ctx, q)
}

// Count implements Repository.
func (c *cached[T, ID]) Count(ctx context.Context, w ...Cond) (int64, error) {
	user, err := c.keys.userOf(ctx)
	if err != nil {
		return 0, err
	}
	if err := (Query{Where: w}).CheckBounds(); err != nil {
		return 0, fmt.Errorf("repository: %w", err)
	}
	w = c.keys.where(user, w)
	return through(ctx, c, opCount, many{What: "count", Where: w},
		func(ctx context.Context) (int64, error) { return c.Source.Count(ctx, w...) })
}

// Exists implements Repository.
func (c *cached[T, ID]) Exists(ctx context.Context, w ...Cond) (bool, error) {
	user, err := c.keys.userOf(ctx)
	if err != nil {
		return false, err
	}
	if err := (Query{Where: w}).CheckBounds(); err != nil {
		return false, fmt.Errorf("repository: %w", err)
	}
	w = c.keys.where(user, w)
	return through(ctx, c, opCount, many{What: "exists", Where: w},
		func(ctx context.Context) (bool, error) { return c.Source.Exists(ctx, w...) })
}

// through reads a list or a count. What has no name is not valid, and the source says why.
func through[V, T any, ID comparable](
	ctx context.Context, c *cached[T, ID], operation string, name many,
	load func(context.Context) (V, error),
) (V, error) {
	if c.inTx(ctx) {
		return load(ctx)
	}
	key, err := c.keys.list(operation, name)
	if err != nil {
		return load(ctx)
	}
	return cache.Fetch(ctx, c.cache, key, load)
}
