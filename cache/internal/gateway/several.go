// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"time"

	"github.com/cachewright/cachewright/registry"
)

// What callers do with several entries at once, and what a Fetch does with one. One entry has calls
// of its own in a Store, which share a pipeline with those of other callers.

// Read is an entry that was read.
type Read struct {
	Lookup *registry.Lookup // nil after an error
	Err    error
}

// ReadMany reads entries.
func (g *Gateway) ReadMany(ctx context.Context, keys []registry.Key) []Read {
	return callMany(ctx, g, keys, manyCall[registry.Key, Read]{
		keyOf: keyItself, access: Reading, timeout: g.config.Timeout,
		failure: func(read *Read) *error { return &read.Err },
		do: func(ctx context.Context, keys []registry.Key) ([]Read, error) {
			lookups, err := g.config.Store.ReadMany(ctx, keys)
			if err != nil {
				return nil, err
			}
			read := make([]Read, len(lookups))
			for i := range lookups {
				read[i].Lookup = &lookups[i]
			}
			return read, nil
		},
	})
}

// Locked is an entry that another process may be loading.
type Locked struct {
	registry.Lookup

	Locked bool
	Err    error
}

// ReadLocked reads entries and, after a miss, reports whether another process is loading them.
func (g *Gateway) ReadLocked(ctx context.Context, keys []registry.Key) []Locked {
	return callMany(ctx, g, keys, manyCall[registry.Key, Locked]{
		keyOf: keyItself, access: Reading, timeout: g.config.Timeout,
		failure: func(read *Locked) *error { return &read.Err },
		do:      g.readLocked,
	})
}

func (g *Gateway) readLocked(ctx context.Context, keys []registry.Key) ([]Locked, error) {
	if len(keys) == 1 {
		lookup, locked, err := g.config.Store.ReadLocked(ctx, keys[0])
		return []Locked{{Lookup: lookup, Locked: locked}}, err
	}
	lookups, locked, err := g.config.Store.ReadManyLocked(ctx, keys)
	if err != nil {
		return nil, err
	}
	read := make([]Locked, len(keys))
	for i, lookup := range lookups {
		read[i] = Locked{Lookup: lookup, Locked: locked[i]}
	}
	return read, nil
}

//nolint:gocritic // where it is
func failureOfLease(leased *registry.Leased) *error { return &leased.Err }

// LeaseMany leases entries within a timeout, with their load locks unless lock is 0. It fails while
// Redis takes no fills: other processes would wait for a load that is never stored.
func (g *Gateway) LeaseMany(
	ctx context.Context, timeout time.Duration, keys []registry.Key, lock time.Duration,
) []registry.Leased {
	all := callMany(ctx, g, keys, manyCall[registry.Key, registry.Leased]{
		keyOf: keyItself, access: Writing, timeout: timeout, failure: failureOfLease,
		before: func(module string) error {
			_, err := g.admit(use{module, Filling})
			return err
		},
		do: func(ctx context.Context, keys []registry.Key) ([]registry.Leased, error) {
			if len(keys) == 1 {
				lookup, err := g.leaseOne(ctx, keys[0], lock)
				return []registry.Leased{{Lookup: lookup}}, err
			}
			return g.config.Store.LeaseMany(ctx, keys, lock), nil
		},
	})
	for i, key := range keys {
		switch leased := all[i]; {
		case leased.Cacheable:
			g.config.Hooks.Leased(key.Module)
		case leased.Err == nil && !leased.Hit && leased.Held == 0:
			g.config.Hooks.Bypassed(key.Module, key.Operation)
		}
	}
	return all
}

func (g *Gateway) leaseOne(
	ctx context.Context, key registry.Key, lock time.Duration,
) (registry.Lookup, error) {
	if lock == 0 {
		return g.config.Store.Lease(ctx, key)
	}
	return g.config.Store.LeaseLocked(ctx, key, lock)
}

// Unlock releases load locks. If that fails, they end when their time is over.
func (g *Gateway) Unlock(ctx context.Context, keys ...registry.Key) {
	callMany(ctx, g, keys, manyCall[registry.Key, error]{
		keyOf: keyItself, access: Writing, timeout: g.config.Timeout, failure: failureItself,
		do: func(ctx context.Context, keys []registry.Key) ([]error, error) {
			if len(keys) == 1 {
				return make([]error, 1), g.config.Store.Unlock(ctx, keys[0])
			}
			return g.config.Store.UnlockMany(ctx, keys), nil
		},
	})
}

func failureItself(err *error) *error { return err } //nolint:gocritic // where it is, as for others

// RemoveMany removes entries within a timeout. It returns an error, or nil, for each.
func (g *Gateway) RemoveMany(
	ctx context.Context, timeout time.Duration, keys []registry.Key,
) []error {
	failed := callMany(ctx, g, keys, manyCall[registry.Key, error]{
		keyOf: keyItself, access: Writing, timeout: timeout, failure: failureItself,
		do: func(ctx context.Context, keys []registry.Key) ([]error, error) {
			if len(keys) == 1 {
				_, err := g.config.Store.Delete(ctx, keys[0])
				return make([]error, 1), err
			}
			return g.config.Store.DeleteMany(ctx, keys), nil
		},
	})
	for _, key := range keys {
		g.config.Hooks.Deleted(key)
	}
	return failed
}
