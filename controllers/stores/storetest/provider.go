// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"

	clocktesting "k8s.io/utils/clock/testing"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/resource"
	"github.com/cachewright/cachewright/controllers/internal/status"
	"github.com/cachewright/cachewright/controllers/stores"
	"github.com/cachewright/cachewright/controllers/stores/calls"
	"github.com/cachewright/cachewright/registry"
)

// Monitors found what a test says, and notes which stores were dropped.
type Monitors struct {
	Last    *stores.ProbeResult
	Dropped []resource.StoreID
}

// Follow implements cachestore.Monitors.
func (m *Monitors) Follow(store *v1.CacheStore) (*stores.ProbeResult, status.Location) {
	return m.Last, status.LocationOf(store)
}

// Drop implements cachestore.Monitors.
func (m *Monitors) Drop(_ context.Context, id resource.StoreID) {
	m.Dropped = append(m.Dropped, id)
}

// Provider returns one store for all ids, in the state that a test sets.
type Provider struct {
	Store   calls.SessionStore
	Address string
	Err     error
	// Library is the version of the function library; 0: the present one.
	Library int
}

// Open implements stores.Provider.
func (s *Provider) Open(_ context.Context, id resource.StoreID) *stores.Session {
	session := stores.NewSession(s.Store, status.Location{ID: id, Address: s.Address}, s.Err)
	if s.Library > 0 {
		return session.Under(s.Library)
	}
	return session
}

// Slow takes long to reclaim.
type Slow struct {
	calls.SessionStore
	Clock *clocktesting.FakePassiveClock
}

// Reclaim implements calls.Store.
func (s Slow) Reclaim(
	ctx context.Context, slot registry.Slot, limit int,
) (registry.Reclaimed, error) {
	defer func() { s.Clock.SetTime(s.Clock.Now().Add(calls.DefaultReclaimSlice)) }()
	return s.SessionStore.Reclaim(ctx, slot, limit)
}
