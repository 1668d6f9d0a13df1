// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllertest

import (
	"context"
	"sync"

	"github.com/cachewright/cachewright/registry"
)

// ScriptedStore answers checks as a test says.
type ScriptedStore struct {
	*registry.Registry // nil: other calls panic

	mu       sync.Mutex
	Health   registry.Health
	err      error
	checks   int
	Installs int
	Writes   int
	// Unclaimed are the names of each namespace that no policy lists.
	Unclaimed []registry.Unclaimed
}

// Serving implements calls.Store.
func (s *ScriptedStore) Serving(
	_ context.Context, _ registry.Health, slots []registry.Slot,
) ([]registry.Incarnation, error) {
	return make([]registry.Incarnation, len(slots)), nil
}

// Answer sets what checks answer from now on.
func (s *ScriptedStore) Answer(health registry.Health, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Health, s.err = health, err
}

// Check implements calls.Store.
func (s *ScriptedStore) Check(context.Context) (registry.Health, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checks++
	return s.Health, s.err
}

// Checked returns how often it was checked.
func (s *ScriptedStore) Checked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.checks
}

// Writable implements calls.Store.
func (s *ScriptedStore) Writable(context.Context) error { return nil }

// Install implements calls.Store.
func (s *ScriptedStore) Install(context.Context) (int, error) {
	s.Installs++
	s.Health.LibraryVersion = registry.LibraryVersion
	return 1, nil
}

// PolicyHashes implements calls.Store.
func (s *ScriptedStore) PolicyHashes(_ context.Context, slots []registry.Slot) ([]string, error) {
	return make([]string, len(slots)), nil
}

// HavePolicies implements calls.Store.
func (s *ScriptedStore) HavePolicies(_ context.Context, slots []registry.Slot) ([]bool, error) {
	return make([]bool, len(slots)), nil
}

// UnclaimedOf implements calls.Store.
func (s *ScriptedStore) UnclaimedOf(
	_ context.Context, namespaces []string,
) ([][]registry.Unclaimed, error) {
	names := make([][]registry.Unclaimed, len(namespaces))
	for i := range names {
		names[i] = s.Unclaimed
	}
	return names, nil
}

// StatsOf implements calls.Store.
func (s *ScriptedStore) StatsOf(
	_ context.Context, slots []registry.Slot,
) ([]registry.Stats, error) {
	return make([]registry.Stats, len(slots)), nil
}

// AddAllModules implements calls.Store.
func (s *ScriptedStore) AddAllModules(context.Context, map[string][]string) error {
	s.Writes++
	return nil
}

// Healthy is the health of a store that can be used.
func Healthy(runIDs ...string) registry.Health {
	return registry.Health{Version: "7.0.15", RunIDs: runIDs, LibraryVersion: registry.LibraryVersion}
}
