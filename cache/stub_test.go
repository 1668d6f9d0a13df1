// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachewright/cachewright/registry"
)

var errDown = errors.Join(registry.ErrUnreachable, errors.New("connection refused"))

// stubStore is a store of which a test says how each call ends, and that counts calls. By default
// reads miss, leases are given and fills are stored, and forgotten.
type stubStore struct {
	mu    sync.Mutex
	calls map[string]int

	filledWith registry.Token // the last fill

	read       func(context.Context, registry.Key) (registry.Lookup, error)
	held       func() bool // says whether another process has the load lock, while it is waited for; nil: it has
	lease      func(context.Context, registry.Key) (registry.Lookup, error)
	set        func(context.Context, registry.Key) (registry.Filled, error)
	remove     func(registry.Key) error
	invalidate func(context.Context, registry.Slot, registry.Scope) error
	pending    int64 // after each invalidation
	reclaim    func(context.Context, registry.Slot) (registry.Reclaimed, error)
	modules    func() ([]string, error)
	policy     func() (registry.Policy, error)
	report     func(context.Context, registry.Slot, string, registry.Counters) error
}

func (s *stubStore) count(call string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls == nil {
		s.calls = make(map[string]int)
	}
	s.calls[call]++
}

func (s *stubStore) filled(token registry.Token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.filledWith = token
}

func (s *stubStore) called(call string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[call]
}

func (s *stubStore) Read(ctx context.Context, key registry.Key) (registry.Lookup, error) {
	s.count("read")
	if s.read == nil {
		return registry.Lookup{}, nil
	}
	return s.read(ctx, key)
}

func (s *stubStore) ReadLocked(ctx context.Context, key registry.Key) (registry.Lookup, bool, error) {
	lookup, err := s.Read(ctx, key)
	return lookup, !lookup.Hit && (s.held == nil || s.held()), err
}

func (s *stubStore) Inspect(ctx context.Context, key registry.Key) (registry.Lookup, registry.Version, error) {
	s.count("inspect")
	lookup, err := s.read(ctx, key)
	return lookup, "version", err
}

func (s *stubStore) Lease(ctx context.Context, key registry.Key) (registry.Lookup, error) {
	s.count("lease")
	if s.lease == nil {
		return registry.Lookup{Token: "token", Cacheable: true}, nil
	}
	return s.lease(ctx, key)
}

func (s *stubStore) LeaseLocked(ctx context.Context, key registry.Key, _ time.Duration) (registry.Lookup, error) {
	s.count("locked")
	return s.Lease(ctx, key)
}

func (s *stubStore) Unlock(context.Context, registry.Key) error {
	s.count("unlock")
	return nil
}

func (s *stubStore) Set(ctx context.Context, key registry.Key, _ []byte, token registry.Token) (registry.Filled, error) {
	s.count("set")
	s.filled(token)
	if s.set == nil {
		return registry.Filled{Outcome: registry.Stored}, nil
	}
	return s.set(ctx, key)
}

func (s *stubStore) SetNegative(ctx context.Context, key registry.Key, _ []byte, _ registry.Token) (registry.Filled, error) {
	s.count("setNegative")
	if s.set == nil {
		return registry.Filled{Outcome: registry.Stored}, nil
	}
	return s.set(ctx, key)
}

func (s *stubStore) Delete(_ context.Context, key registry.Key) (bool, error) {
	s.count("delete")
	if s.remove == nil {
		return false, nil
	}
	return false, s.remove(key)
}

func (s *stubStore) Invalidate(ctx context.Context, slot registry.Slot, scope registry.Scope, _ registry.Mode, _ string) (registry.Invalidated, error) {
	s.count("invalidate " + slot.Module)
	if s.invalidate == nil {
		return registry.Invalidated{Pending: s.pending}, nil
	}
	return registry.Invalidated{}, s.invalidate(ctx, slot, scope)
}

func (s *stubStore) Reclaim(ctx context.Context, slot registry.Slot, _ int) (registry.Reclaimed, error) {
	s.count("reclaim " + slot.Module)
	return s.reclaim(ctx, slot)
}

func (s *stubStore) Modules(context.Context, string) ([]string, error) {
	s.count("modules")
	return s.modules()
}

func (s *stubStore) Policy(context.Context, registry.Slot) (registry.Policy, bool, error) {
	s.count("policy")
	policy, err := s.policy()
	return policy, err == nil, err
}

func (s *stubStore) Report(ctx context.Context, slot registry.Slot, operation string, counters registry.Counters) error {
	s.count("report")
	if s.report == nil {
		return nil
	}
	return s.report(ctx, slot, operation, counters)
}

func (s *stubStore) Stats(context.Context, registry.Slot) (registry.Stats, error) {
	s.count("stats")
	return registry.Stats{}, nil
}

// withClient runs a test in a bubble whose time is its own. The bubble does not end before the
// client's goroutine has, so each such test is one of leaks as well.
func withClient(t *testing.T, store *stubStore, test func(t *testing.T, c *Client), opts ...Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		opts = append([]Option{WithLogger(slog.New(slog.DiscardHandler))}, opts...)
		c, err := newClient(over(store), "shop", opts...)
		if err != nil {
			t.Fatal(err)
		}
		test(t, c)
		_ = c.Close(context.Background())
	})
}

var usersGet = Key{Module: "users", Operation: "get"}

// mustFetch fetches and returns how long that took.
func mustFetch(ctx context.Context, t *testing.T, c Cache, key Key) time.Duration {
	t.Helper()
	start := time.Now()
	got, err := Fetch(ctx, c, key, func(ctx context.Context) (string, error) { return "loaded", ctx.Err() })
	if got != "loaded" || err != nil {
		t.Errorf("Fetch: got %q, %v", got, err)
	}
	return time.Since(start)
}

// hang is a Redis that takes connections and never answers.
func hang(ctx context.Context) error {
	<-ctx.Done()
	return errors.Join(registry.ErrUnreachable, ctx.Err())
}

func over(s store) func(options) (store, error) {
	return func(options) (store, error) { return s, nil }
}
