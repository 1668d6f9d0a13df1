// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllertest

import (
	"context"
	"sync"

	"github.com/cachewright/cachewright/registry"
)

// PanickyStore panics over what a store answers to one call.
type PanickyStore struct {
	*ScriptedStore

	mu    sync.Mutex
	Call  string
	calls int
}

// PanicOver implements calls.Store.
func (s *PanickyStore) PanicOver(call string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Call = call
}

func (s *PanickyStore) answer(call string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if call == s.Call {
		s.calls++
		panic("token=secret")
	}
}

// Panicked implements calls.Store.
func (s *PanickyStore) Panicked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// Check implements calls.Store.
func (s *PanickyStore) Check(ctx context.Context) (registry.Health, error) {
	s.answer("Check")
	return s.ScriptedStore.Check(ctx)
}

// Install implements calls.Store.
func (s *PanickyStore) Install(ctx context.Context) (int, error) {
	s.answer("Install")
	return s.ScriptedStore.Install(ctx)
}

// Writable implements calls.Store.
func (s *PanickyStore) Writable(ctx context.Context) error {
	s.answer("Writable")
	return s.ScriptedStore.Writable(ctx)
}

// Serving implements calls.Store.
func (s *PanickyStore) Serving(
	ctx context.Context, health registry.Health, slots []registry.Slot,
) ([]registry.Incarnation, error) {
	s.answer("Serving")
	return s.ScriptedStore.Serving(ctx, health, slots)
}

// PolicyHashes implements calls.Store.
func (s *PanickyStore) PolicyHashes(ctx context.Context, slots []registry.Slot) ([]string, error) {
	s.answer("PolicyHashes")
	return s.ScriptedStore.PolicyHashes(ctx, slots)
}

// StatsOf implements calls.Store.
func (s *PanickyStore) StatsOf(
	ctx context.Context, slots []registry.Slot,
) ([]registry.Stats, error) {
	s.answer("StatsOf")
	return s.ScriptedStore.StatsOf(ctx, slots)
}

// UnclaimedOf implements calls.Store.
func (s *PanickyStore) UnclaimedOf(
	ctx context.Context, namespaces []string,
) ([][]registry.Unclaimed, error) {
	s.answer("UnclaimedOf")
	return s.ScriptedStore.UnclaimedOf(ctx, namespaces)
}

// AddAllModules implements calls.Store.
func (s *PanickyStore) AddAllModules(ctx context.Context, modules map[string][]string) error {
	s.answer("AddAllModules")
	return s.ScriptedStore.AddAllModules(ctx, modules)
}

// InvalidateMany implements calls.Store.
func (s *PanickyStore) InvalidateMany(
	context.Context, []registry.Invalidation,
) []registry.InvalidationResult {
	s.answer("InvalidateMany")
	return nil
}
