// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"time"

	"github.com/cachewright/cachewright/registry"
)

// The calls about many entries end as those about each do. They count as one.

// ReadMany implements gateway.Store.
func (s *Store) ReadMany(
	ctx context.Context, keys []registry.Key,
) ([]registry.Lookup, error) {
	s.count("readMany")
	lookups := make([]registry.Lookup, len(keys))
	for i, key := range keys {
		if s.OnRead == nil {
			continue
		}
		var err error
		if lookups[i], err = s.OnRead(ctx, key); err != nil {
			return nil, err
		}
	}
	return lookups, nil
}

// ReadManyLocked implements gateway.Store.
func (s *Store) ReadManyLocked(
	ctx context.Context, keys []registry.Key,
) ([]registry.Lookup, []bool, error) {
	lookups, err := s.ReadMany(ctx, keys)
	locked := make([]bool, len(keys))
	for i, lookup := range lookups {
		locked[i] = !lookup.Hit && (s.Held == nil || s.Held())
	}
	return lookups, locked, err
}

// LeaseMany implements gateway.Store.
func (s *Store) LeaseMany(
	ctx context.Context, keys []registry.Key, lock time.Duration,
) []registry.Leased {
	s.count("leaseMany")
	if lock > 0 {
		s.count("lockedMany")
	}
	leased := make([]registry.Leased, len(keys))
	for i, key := range keys {
		leased[i].Lookup = registry.Lookup{Token: "token", Cacheable: true}
		if s.OnLease != nil {
			leased[i].Lookup, leased[i].Err = s.OnLease(ctx, key)
		}
	}
	return leased
}

// UnlockMany implements gateway.Store.
func (s *Store) UnlockMany(_ context.Context, keys []registry.Key) []error {
	s.count("unlockMany")
	return make([]error, len(keys))
}

// SetMany implements gateway.Store.
func (s *Store) SetMany(ctx context.Context, fills []registry.Fill) []registry.FillResult {
	s.count("setMany")
	filled := make([]registry.FillResult, len(fills))
	for i, fill := range fills {
		if !fill.Options.Negative {
			s.fill(fill.Token)
		}
		filled[i].Outcome = registry.Stored
		if s.OnSet != nil {
			filled[i].Filled, filled[i].Err = s.OnSet(ctx, fill.Key)
		}
	}
	return filled
}

// DeleteMany implements gateway.Store.
func (s *Store) DeleteMany(_ context.Context, keys []registry.Key) []error {
	s.count("deleteMany")
	failed := make([]error, len(keys))
	for i, key := range keys {
		if s.OnDelete != nil {
			failed[i] = s.OnDelete(key)
		}
	}
	return failed
}
