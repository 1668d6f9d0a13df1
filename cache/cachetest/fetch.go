// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cachetest

import (
	"context"
	"errors"
	"fmt"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/cache/internal/checks"
	"github.com/cachewright/cachewright/cache/internal/dest"
	"github.com/cachewright/cachewright/cache/internal/flight"
	src "github.com/cachewright/cachewright/cache/internal/source"
)

var (
	_ cache.ManyFetcher = (*Fake)(nil)
	_ cache.ManyDeleter = (*Fake)(nil)
)

// want is an entry that a caller of Fetch or FetchMany wants.
type want struct {
	key     entryKey
	unnamed bool // the params cannot name an entry
	out     any
	at      int // where the loader knows it

	token token // of its lease
	alone bool  // the caller must load it for itself
	done  bool  // err is what the caller gets
	err   error
}

func (w *want) end(err error) { w.done, w.err = true, err }

// Fetch implements cache.Cache.
func (f *Fake) Fetch(
	ctx context.Context, key cache.Key, out any, load func(context.Context) (any, error),
) error {
	w := f.newWant(ctx, key, out, f.record(keyCall("Fetch", key)))
	f.fetch(ctx, []*want{w}, src.One(load))
	return w.err
}

// FetchMany implements cache.ManyFetcher. It records a call for each key.
func (f *Fake) FetchMany(
	ctx context.Context, keys []cache.Key, dests []any,
	load func(ctx context.Context, missing []int) []cache.Loaded,
) ([]error, error) {
	if err := checks.ManyDests(len(keys), len(dests)); err != nil {
		return nil, err
	}
	wants, errs := make([]*want, len(keys)), make([]error, len(keys))
	for i, key := range keys {
		wants[i] = f.newWant(ctx, key, dests[i], f.record(keyCall("FetchMany", key)))
		wants[i].at = i
	}
	f.fetch(ctx, wants, load)
	for i, w := range wants {
		errs[i] = w.err
	}
	return errs, nil
}

// newWant does what needs no look into the cache, which fails with an error.
func (f *Fake) newWant(ctx context.Context, key cache.Key, out any, failure error) *want {
	w := &want{out: out}
	if err := dest.Check(out); err != nil {
		w.end(err)
		return w
	}
	if err := ctx.Err(); err != nil {
		w.end(err)
		return w
	}
	var err error
	w.key, err = newEntryKey(key)
	w.unnamed = err != nil
	w.alone = w.unnamed || failure != nil
	return w
}

// fetch answers a caller.
func (f *Fake) fetch(ctx context.Context, wants []*want, load src.Many) {
	f.readAll(ctx, wants, load)
	overdue := f.loadOnce(ctx, wants, load)
	if len(overdue) == 0 {
		return
	}
	f.readAll(ctx, overdue, nil)
	for _, w := range f.loadOnce(ctx, overdue, load) {
		w.end(flight.ErrStuck)
	}
	for _, w := range overdue {
		if errors.Is(w.err, flight.ErrStuck) {
			w.err = stuck(w.key)
		}
	}
}

func stuck(key entryKey) error {
	return fmt.Errorf("%w: an entry of %s, operation %s", cache.ErrLoadStuck, key.module,
		key.operation)
}

// readAll looks for entries in the cache. It refreshes those that are stale, with the loader unless
// that is nil.
func (f *Fake) readAll(ctx context.Context, wants []*want, load src.Many) {
	var stale []*want
	for _, w := range wants {
		if w.done || w.alone {
			continue
		}
		hit := f.read(w.key, w.out)
		if hit.found {
			w.end(hit.err())
		}
		if hit.stale && load != nil {
			stale = append(stale, w)
		}
	}
	f.refresh(ctx, stale, load)
}

// DeleteMany implements cache.ManyDeleter. It records a call for each key.
func (f *Fake) DeleteMany(_ context.Context, keys ...cache.Key) error {
	if err := checks.Many(len(keys)); err != nil {
		return err
	}
	var failed []error
	for _, key := range keys {
		failed = append(failed, f.delete(key, f.record(keyCall("DeleteMany", key))))
	}
	return errors.Join(failed...)
}
