// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package storetest has a `gateway.Store` for tests. A test says how each call ends.
package storetest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/cachewright/cachewright/registry"
)

// ErrDown is the error of a Redis that is down.
var ErrDown = errors.Join(registry.ErrUnreachable, errors.New("connection refused"))

// Store is a gateway.Store that counts calls. By default reads miss, leases are given, fills are
// stored and forgotten, and there is a policy.
type Store struct {
	mu    sync.Mutex
	calls map[string]int

	filledWith registry.Token

	OnRead func(context.Context, registry.Key) (registry.Lookup, error)
	// whether another process has the load lock while a caller waits for it; nil: it has
	Held         func() bool
	OnLease      func(context.Context, registry.Key) (registry.Lookup, error)
	OnSet        func(context.Context, registry.Key) (registry.Filled, error)
	OnDelete     func(registry.Key) error
	OnInvalidate func(context.Context, registry.Slot, registry.Scope) error
	// how many things a hold covered until now; nil: all
	OnHold    func(context.Context, registry.Slot, registry.HoldID, time.Duration) (int64, error)
	OnRelease func(context.Context, registry.Slot, registry.HoldID) (int64, error)

	Pending   int64 // what each invalidation leaves to reclaim
	OnReclaim func(context.Context, registry.Slot) (registry.Reclaimed, error)
	OnModules func() ([]string, error)
	OnPolicy  func() (registry.Policy, error)
	OnReport  func(context.Context, registry.Slot, string, registry.Counters) error

	OnUnclaimed func(names []registry.Unclaimed) error
}

func (s *Store) count(call string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls == nil {
		s.calls = make(map[string]int)
	}
	s.calls[call]++
}

func (s *Store) fill(token registry.Token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.filledWith = token
}

// Called returns how often a call was made.
func (s *Store) Called(call string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[call]
}

// Read implements gateway.Store.
func (s *Store) Read(ctx context.Context, key registry.Key) (registry.Lookup, error) {
	s.count("read")
	if s.OnRead == nil {
		return registry.Lookup{}, nil
	}
	return s.OnRead(ctx, key)
}

// ReadLocked implements gateway.Store.
func (s *Store) ReadLocked(ctx context.Context, key registry.Key) (registry.Lookup, bool, error) {
	lookup, err := s.Read(ctx, key)
	return lookup, !lookup.Hit && (s.Held == nil || s.Held()), err
}

// Inspect implements gateway.Store.
func (s *Store) Inspect(
	ctx context.Context, key registry.Key,
) (registry.Lookup, registry.Version, error) {
	s.count("inspect")
	lookup, err := s.OnRead(ctx, key)
	return lookup, "version", err
}

// Lease implements gateway.Store.
func (s *Store) Lease(ctx context.Context, key registry.Key) (registry.Lookup, error) {
	s.count("lease")
	if s.OnLease == nil {
		return registry.Lookup{Token: "token", Cacheable: true}, nil
	}
	return s.OnLease(ctx, key)
}

// LeaseLocked implements gateway.Store.
func (s *Store) LeaseLocked(
	ctx context.Context, key registry.Key, _ time.Duration,
) (registry.Lookup, error) {
	s.count("locked")
	return s.Lease(ctx, key)
}

// Unlock implements gateway.Store.
func (s *Store) Unlock(context.Context, registry.Key) error {
	s.count("unlock")
	return nil
}

// Fill implements gateway.Store.
func (s *Store) Fill(
	ctx context.Context, key registry.Key, _ []byte, token registry.Token,
	options registry.FillOptions,
) (registry.Filled, error) {
	if options.Negative {
		s.count("setNegative")
	} else {
		s.count("set")
		s.fill(token)
	}
	if s.OnSet == nil {
		return registry.Filled{Outcome: registry.Stored}, nil
	}
	return s.OnSet(ctx, key)
}

// Put implements gateway.Store.
func (s *Store) Put(
	ctx context.Context, key registry.Key, _ []byte, _ registry.FillOptions,
) (registry.Filled, error) {
	s.count("put")
	if s.OnSet == nil {
		return registry.Filled{Outcome: registry.Stored}, nil
	}
	return s.OnSet(ctx, key)
}

// Delete implements gateway.Store.
func (s *Store) Delete(_ context.Context, key registry.Key) (bool, error) {
	s.count("delete")
	if s.OnDelete == nil {
		return false, nil
	}
	return false, s.OnDelete(key)
}

// Invalidate implements gateway.Store.
func (s *Store) Invalidate(
	ctx context.Context, slot registry.Slot, scope registry.Scope, _ registry.Mode, _ string,
) (registry.Invalidated, error) {
	s.count("invalidate " + slot.Module)
	if s.OnInvalidate == nil {
		return registry.Invalidated{Pending: s.Pending}, nil
	}
	return registry.Invalidated{}, s.OnInvalidate(ctx, slot, scope)
}

// Hold implements gateway.Store.
func (s *Store) Hold(
	ctx context.Context, slot registry.Slot, id registry.HoldID, ttl time.Duration,
	targets ...registry.HoldTarget,
) (registry.Held, error) {
	s.count("hold " + slot.Module)
	if s.OnHold == nil {
		return registry.Held{Stood: int64(len(targets))}, nil
	}
	stood, err := s.OnHold(ctx, slot, id, ttl)
	return registry.Held{Stood: stood}, err
}

// Release implements gateway.Store.
func (s *Store) Release(
	ctx context.Context, slot registry.Slot, id registry.HoldID, targets ...registry.HoldTarget,
) (int64, error) {
	s.count("release " + slot.Module)
	if s.OnRelease == nil {
		return int64(len(targets)), nil
	}
	return s.OnRelease(ctx, slot, id)
}

// Reclaim implements gateway.Store.
func (s *Store) Reclaim(
	ctx context.Context, slot registry.Slot, _ int,
) (registry.Reclaimed, error) {
	s.count("reclaim " + slot.Module)
	return s.OnReclaim(ctx, slot)
}

// Modules implements gateway.Store.
func (s *Store) Modules(context.Context, string) ([]string, error) {
	s.count("modules")
	return s.OnModules()
}

// Policy implements gateway.Store.
func (s *Store) Policy(context.Context, registry.Slot) (registry.Policy, bool, error) {
	s.count("policy")
	if s.OnPolicy == nil {
		return registry.Policy{DefaultTTL: new(time.Hour)}, true, nil
	}
	policy, err := s.OnPolicy()
	return policy, err == nil, err
}

// Report implements gateway.Store.
func (s *Store) Report(
	ctx context.Context, slot registry.Slot, operation string, counters registry.Counters,
) error {
	s.count("report")
	if s.OnReport == nil {
		return nil
	}
	return s.OnReport(ctx, slot, operation, counters)
}

// Stats implements gateway.Store.
func (s *Store) Stats(context.Context, registry.Slot) (registry.Stats, error) {
	s.count("stats")
	return registry.Stats{}, nil
}

// ReportUnclaimed implements gateway.Store.
func (s *Store) ReportUnclaimed(_ context.Context, _ string, names []registry.Unclaimed) error {
	s.count("unclaimed")
	if s.OnUnclaimed == nil {
		return nil
	}
	return s.OnUnclaimed(names)
}

// FilledWith returns the token of the last fill.
func (s *Store) FilledWith() registry.Token {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.filledWith
}

// Hang is how a Redis answers that takes connections and never replies.
func Hang(ctx context.Context) error {
	<-ctx.Done()
	return errors.Join(registry.ErrUnreachable, ctx.Err())
}
