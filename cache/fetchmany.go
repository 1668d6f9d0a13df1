// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"fmt"
)

// KeyErrors are errors of single keys, by what FetchMany was asked for. errors.Is matches any.
type KeyErrors[K comparable] map[K]error

// Error says how many keys failed, and one of the errors. It names no key.
func (e KeyErrors[K]) Error() string {
	for _, err := range e {
		return fmt.Sprintf("%d of the keys failed, one of them: %v", len(e), err)
	}
	return "no key failed"
}

// Unwrap returns the errors.
func (e KeyErrors[K]) Unwrap() []error {
	all := make([]error, 0, len(e))
	for _, err := range e {
		all = append(all, err)
	}
	return all
}

// FetchMany is Fetch for many things at once. For each of the ids it returns the entry under its
// key if the cache has it. It calls load once for the others, stores the results for as long as the
// policy says, and returns them, too. Duplicates in ids do not matter.
//
// # Results
//
// An id that is not in the result does not exist. Either load left it out, or it gave an error that
// is ErrNotFound, or the cache knows that. As with Fetch, the cache remembers it if the policy has
// a negativeTTL for the operation.
//
// If some fail, the result has the others. Then the error is a KeyErrors[K], which has those of
// Fetch by their ids. An error of load is that of all ids that it was called for. If it is, or
// wraps, a KeyErrors[K], only the ids in it failed. ErrTooMany: there are more than MaxMany ids,
// and nothing was read or loaded.
//
// # Calls to Redis and the source
//
// Redis is called as rarely as possible: one MGET for each module, and after misses pipelines of
// leases and of fills. What Fetch says about failures, stale entries, holds and types applies to
// each key. Stale entries are refreshed by one call of load.
//
// Callers share loads by the key, with Fetch as well. A call loads what nobody loads yet before it
// waits for others. So callers that want the same things in another order do not wait for each
// other. What other callers, or other processes, began to load and do not deliver is loaded after
// that, in further calls of load. So are entries that a Hold covers. load is never called twice at
// a time by one FetchMany, except in the background.
func FetchMany[K comparable, T any](
	ctx context.Context, c ManyFetcher, ids []K, key func(K) Key,
	load func(ctx context.Context, ids []K) (map[K]T, error),
) (map[K]T, error) {
	m := newMany[K, T](ids, key)
	errs, err := c.FetchMany(ctx, m.keys, m.dests, m.loader(load))
	if err != nil {
		return nil, err
	}
	return m.results(errs)
}

// many is what a caller of FetchMany wants, without duplicates.
type many[K comparable, T any] struct {
	ids    []K
	keys   []Key
	values []T
	dests  []any // they lead to the values
	// found is the result. Until then it has each id, so that duplicates are known.
	found map[K]T
}

func newMany[K comparable, T any](ids []K, key func(K) Key) *many[K, T] {
	m := &many[K, T]{
		ids: make([]K, 0, len(ids)), keys: make([]Key, 0, len(ids)), found: make(map[K]T, len(ids)),
	}
	var nothing T
	for _, id := range ids {
		if _, twice := m.found[id]; twice {
			continue
		}
		m.found[id] = nothing
		m.ids, m.keys = append(m.ids, id), append(m.keys, key(id))
	}
	m.values, m.dests = make([]T, len(m.ids)), make([]any, len(m.ids))
	for i := range m.values {
		m.dests[i] = &m.values[i]
	}
	return m
}

// loader returns a loader that knows the ids by their positions.
func (m *many[K, T]) loader(
	load func(context.Context, []K) (map[K]T, error),
) func(context.Context, []int) []Loaded {
	return func(ctx context.Context, missing []int) []Loaded {
		ids := make([]K, len(missing))
		for i, at := range missing {
			ids[i] = m.ids[at]
		}
		found, err := load(ctx, ids)
		return loadedOf(ids, found, err)
	}
}

// loadedOf says what a loader has of each id.
func loadedOf[K comparable, T any](ids []K, found map[K]T, err error) []Loaded {
	loaded := make([]Loaded, len(ids))
	var single KeyErrors[K]
	ofAll := err != nil && !errors.As(err, &single)
	for i, id := range ids {
		value, isFound := found[id]
		failure, fails := single[id]
		switch {
		case ofAll:
			loaded[i].Err = err
		case fails && failure != nil:
			loaded[i].Err = failure
		case isFound:
			loaded[i].Value = value
		default:
			loaded[i].Err = ErrNotFound
		}
	}
	return loaded
}

// results returns the values that exist, and the errors of what could not be read or loaded.
func (m *many[K, T]) results(errs []error) (map[K]T, error) {
	var failed KeyErrors[K]
	for i, id := range m.ids {
		if errs[i] == nil {
			m.found[id] = m.values[i]
			continue
		}
		delete(m.found, id)
		if !errors.Is(errs[i], ErrNotFound) {
			if failed == nil {
				failed = KeyErrors[K]{}
			}
			failed[id] = errs[i]
		}
	}
	if failed != nil {
		return m.found, failed
	}
	return m.found, nil
}
