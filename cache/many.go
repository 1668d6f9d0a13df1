// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"

	"github.com/cachewright/cachewright/cache/internal/checks"
	"github.com/cachewright/cachewright/cache/internal/entries"
	"github.com/cachewright/cachewright/cache/internal/invalidate"
	"github.com/cachewright/cachewright/cache/internal/source"
	"github.com/cachewright/cachewright/registry"
)

var (
	_ ManyFetcher = (*Client)(nil)
	_ ManyDeleter = (*Client)(nil)
)

// MaxMany is how many keys one call of FetchMany or DeleteMany may have.
const MaxMany = checks.MaxMany

// ManyFetcher reads many entries at once. Use the function FetchMany. *Client is a ManyFetcher.
type ManyFetcher interface {
	// FetchMany is Fetch of many entries: into has a destination for each key, at its position. It
	// calls load with the positions of those that it has to load. The first result has the error of
	// each key at its position, nil if its destination holds the value.
	//
	// The second error is that of the call: ErrTooMany, or a key has no destination. Then nothing was
	// read or loaded, and there is no other result.
	FetchMany(
		ctx context.Context, keys []Key, into []any,
		load func(ctx context.Context, missing []int) []Loaded,
	) ([]error, error)
}

// Loaded is what the source has under a key: a value or an error, such as ErrNotFound.
type Loaded = source.Loaded

// ManyDeleter deletes many entries at once. *Client is a ManyDeleter.
type ManyDeleter interface {
	// DeleteMany is Delete of each entry, in one pipeline for each module. Its errors are those of
	// Delete, joined: what they do not name is deleted. ErrTooMany: nothing was deleted.
	DeleteMany(ctx context.Context, keys ...Key) error
}

// FetchMany implements ManyFetcher.
func (c *Client) FetchMany(
	ctx context.Context, keys []Key, into []any,
	load func(ctx context.Context, missing []int) []Loaded,
) ([]error, error) {
	if err := checks.ManyDests(len(keys), len(into)); err != nil {
		return nil, err
	}
	observed := observeMany(ctx, c.observer, keys)
	defer observed.end()
	keyOf := func(at int) entries.Key { return entries.Key(keys[at]) }
	observed.answers = c.entries.FetchMany(observed.ctx, into, keyOf, observed.loader(load))
	errs := make([]error, len(keys))
	for i, answer := range observed.answers {
		errs[i] = answer.Err
	}
	return errs, nil
}

// DeleteMany implements ManyDeleter.
func (c *Client) DeleteMany(ctx context.Context, keys ...Key) error {
	if err := checks.Many(len(keys)); err != nil {
		return err
	}
	var named []registry.Key
	var failed []error
	for _, key := range keys {
		entry, err := c.entries.KeyOf(entries.Key(key))
		if err != nil {
			failed = append(failed, err)
			continue
		}
		named = append(named, entry)
	}
	return invalidate.Summary(append(failed, c.invalidator.Entries(ctx, named)...))
}
