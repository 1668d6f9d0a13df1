// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"time"

	"github.com/cachewright/cachewright/cache/internal/fence"
	"github.com/cachewright/cachewright/registry"
)

// fencedStore returns no entry that an older state of Redis brought back.
type fencedStore struct {
	Store

	guard *fence.Guard
}

// Fenced returns a Store whose reads and puts pass the guard.
func Fenced(store Store, guard *fence.Guard) Store {
	return &fencedStore{Store: store, guard: guard}
}

// Read implements Store.
func (s *fencedStore) Read(
	ctx context.Context, key registry.Key,
) (lookup registry.Lookup, err error) {
	err = s.fenced(ctx, key.Slot, func() error {
		lookup, err = s.Store.Read(ctx, key)
		return err
	})
	return lookup, err
}

// ReadLocked implements Store.
func (s *fencedStore) ReadLocked(
	ctx context.Context, key registry.Key,
) (lookup registry.Lookup, locked bool, err error) {
	err = s.fenced(ctx, key.Slot, func() error {
		lookup, locked, err = s.Store.ReadLocked(ctx, key)
		return err
	})
	return lookup, locked, err
}

// Inspect implements Store.
func (s *fencedStore) Inspect(
	ctx context.Context, key registry.Key,
) (lookup registry.Lookup, version registry.Version, err error) {
	err = s.fenced(ctx, key.Slot, func() error {
		lookup, version, err = s.Store.Inspect(ctx, key)
		return err
	})
	return lookup, version, err
}

// Lease implements Store.
func (s *fencedStore) Lease(
	ctx context.Context, key registry.Key,
) (lookup registry.Lookup, err error) {
	read := func() error {
		lookup, err = s.Store.Lease(ctx, key)
		return err
	}
	err = s.fencedOr(ctx, key.Slot, read, func() { s.unlock(ctx, key, lookup, 0) })
	return lookup, err
}

// LeaseLocked implements Store.
func (s *fencedStore) LeaseLocked(
	ctx context.Context, key registry.Key, lock time.Duration,
) (lookup registry.Lookup, err error) {
	read := func() error {
		lookup, err = s.Store.LeaseLocked(ctx, key, lock)
		return err
	}
	err = s.fencedOr(ctx, key.Slot, read, func() { s.unlock(ctx, key, lookup, lock) })
	return lookup, err
}

// unlock releases the load lock of a lease that is not used.
func (s *fencedStore) unlock(
	ctx context.Context, key registry.Key, leased registry.Lookup, lock time.Duration,
) {
	if hasLock(leased, lock) {
		_ = s.Unlock(ctx, key) // else it ends with its time
	}
}

// hasLock reports whether a lease came with the load lock. That of a stale entry always does.
func hasLock(leased registry.Lookup, lock time.Duration) bool {
	if leased.Hit {
		return leased.Token != ""
	}
	return lock > 0 && leased.Cacheable && leased.Wait == 0
}

// Put implements Store. What is put before the module is fenced goes with the fence.
func (s *fencedStore) Put(
	ctx context.Context, key registry.Key, payload []byte, options registry.FillOptions,
) (registry.Filled, error) {
	if _, err := s.guard.Enter(ctx, key.Slot); err != nil {
		return registry.Filled{}, err
	}
	return s.Store.Put(ctx, key, payload, options)
}

// ReadMany implements Store.
func (s *fencedStore) ReadMany(
	ctx context.Context, keys []registry.Key,
) (lookups []registry.Lookup, err error) {
	err = s.fenced(ctx, keys[0].Slot, func() error {
		lookups, err = s.Store.ReadMany(ctx, keys)
		return err
	})
	return lookups, err
}

// ReadManyLocked implements Store.
func (s *fencedStore) ReadManyLocked(
	ctx context.Context, keys []registry.Key,
) (lookups []registry.Lookup, locked []bool, err error) {
	err = s.fenced(ctx, keys[0].Slot, func() error {
		lookups, locked, err = s.Store.ReadManyLocked(ctx, keys)
		return err
	})
	return lookups, locked, err
}

// LeaseMany implements Store. What failed has the error that it had.
func (s *fencedStore) LeaseMany(
	ctx context.Context, keys []registry.Key, lock time.Duration,
) (leased []registry.Leased) {
	read := func() error {
		leased = s.Store.LeaseMany(ctx, keys, lock)
		return nil
	}
	err := s.fencedOr(ctx, keys[0].Slot, read, func() { s.unlockMany(ctx, keys, leased, lock) })
	if err == nil {
		return leased
	}
	leased = make([]registry.Leased, len(keys))
	for i := range leased {
		leased[i].Err = err
	}
	return leased
}

// unlockMany is unlock of many leases.
func (s *fencedStore) unlockMany(
	ctx context.Context, keys []registry.Key, leased []registry.Leased, lock time.Duration,
) {
	var locked []registry.Key
	for i, l := range leased {
		if l.Err == nil && hasLock(l.Lookup, lock) {
			locked = append(locked, keys[i])
		}
	}
	if len(locked) > 0 {
		s.UnlockMany(ctx, locked) // else they end with their time
	}
}

// fenced calls read, and calls it once more if another server may have answered it. With an error,
// the caller must not use what was read.
func (s *fencedStore) fenced(ctx context.Context, slot registry.Slot, read func() error) error {
	return s.fencedOr(ctx, slot, read, func() {})
}

// fencedOr does what fenced does. drop undoes a read that is not used. Otherwise the
// next read would wait for the load lock of the one before.
func (s *fencedStore) fencedOr(
	ctx context.Context, slot registry.Slot, read func() error, drop func(),
) error {
	for range 2 {
		pass, err := s.guard.Enter(ctx, slot)
		if err != nil {
			return err
		}
		if err := read(); err != nil || s.guard.Holds(ctx, pass) {
			return err
		}
		drop()
	}
	return fence.ErrUnfenced
}
