// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"time"

	"github.com/cachewright/cachewright/cache/internal/fence"
	"github.com/cachewright/cachewright/registry"
)

// fencedStore reads nothing that an older state of Redis brought back.
type fencedStore struct {
	store

	guard *fence.Guard
}

// Read implements store.
func (s *fencedStore) Read(ctx context.Context, key registry.Key) (lookup registry.Lookup, err error) {
	err = s.fenced(ctx, key.Slot, func() error {
		lookup, err = s.store.Read(ctx, key)
		return err
	})
	return lookup, err
}

// ReadLocked implements store.
func (s *fencedStore) ReadLocked(ctx context.Context, key registry.Key) (lookup registry.Lookup, locked bool, err error) {
	err = s.fenced(ctx, key.Slot, func() error {
		lookup, locked, err = s.store.ReadLocked(ctx, key)
		return err
	})
	return lookup, locked, err
}

// Inspect implements store.
func (s *fencedStore) Inspect(ctx context.Context, key registry.Key) (lookup registry.Lookup, version registry.Version, err error) {
	err = s.fenced(ctx, key.Slot, func() error {
		lookup, version, err = s.store.Inspect(ctx, key)
		return err
	})
	return lookup, version, err
}

// Lease implements store.
func (s *fencedStore) Lease(ctx context.Context, key registry.Key) (lookup registry.Lookup, err error) {
	err = s.fenced(ctx, key.Slot, func() error {
		lookup, err = s.store.Lease(ctx, key)
		return err
	})
	return lookup, err
}

// LeaseLocked implements store.
func (s *fencedStore) LeaseLocked(ctx context.Context, key registry.Key, lock time.Duration) (lookup registry.Lookup, err error) {
	err = s.fenced(ctx, key.Slot, func() error {
		lookup, err = s.store.LeaseLocked(ctx, key, lock)
		return err
	})
	return lookup, err
}

// fenced looks again after a read: another server may have answered it. Then it has it read once more, fenced anew.
// What was read is worth nothing with an error.
func (s *fencedStore) fenced(ctx context.Context, slot registry.Slot, read func() error) error {
	for range 2 {
		pass, err := s.guard.Enter(ctx, slot)
		if err != nil {
			return err
		}
		if err := read(); err != nil || s.guard.Holds(ctx, pass) {
			return err
		}
	}
	return fence.ErrUnfenced
}
