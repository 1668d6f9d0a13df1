// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachewright/cachewright/cache/internal/storetest"
	"github.com/cachewright/cachewright/registry"
)

// setAside is a Redis in which so many entries wait to be freed.
func setAside(waiting *atomic.Int64) func(context.Context, registry.Slot) (registry.Reclaimed, error) {
	return func(context.Context, registry.Slot) (registry.Reclaimed, error) {
		time.Sleep(3 * time.Millisecond) // of the bubble's time
		return registry.Reclaimed{Freed: reclaimLimit, Pending: max(0, waiting.Add(-reclaimLimit))}, nil
	}
}

func TestWhoInvalidatesGivesTheMemoryBack(t *testing.T) {
	var waiting atomic.Int64
	waiting.Store(100 * reclaimLimit)
	store := &storetest.Store{Pending: 1, OnReclaim: setAside(&waiting)}
	withGateway(t, store, func(t *testing.T, g *Gateway) {
		began := time.Now()
		for range 10 { // by one goroutine, however many invalidate
			if err := g.Invalidate(t.Context(), "users", registry.Scope{}, registry.ModeHard); err != nil {
				t.Fatal(err)
			}
		}
		if since := time.Since(began); since > 0 {
			t.Errorf("the callers waited %s", since)
		}
		synctest.Wait()
		if calls := store.Called("reclaim users"); calls != 0 && calls != 1 {
			t.Errorf("%d calls at once", calls)
		}
		time.Sleep(time.Hour)
		if left := waiting.Load(); left > 0 {
			t.Errorf("%d are left", left)
		}
		// Once more than needed, since invalidations came while it was under way.
		if calls := store.Called("reclaim users"); calls < 100 || calls > 101 {
			t.Errorf("%d calls", calls)
		}
	})
}

// Redis is free for others at least half of the time.
func TestReclaimingIsPolite(t *testing.T) {
	var waiting atomic.Int64
	waiting.Store(1000 * reclaimLimit)
	store := &storetest.Store{Pending: 1, OnReclaim: setAside(&waiting)}
	withGateway(t, store, func(t *testing.T, g *Gateway) {
		if err := g.Invalidate(t.Context(), "users", registry.Scope{}, registry.ModeHard); err != nil {
			t.Fatal(err)
		}
		time.Sleep(600 * time.Millisecond)
		if calls := store.Called("reclaim users"); calls < 90 || calls > 101 {
			t.Errorf("%d calls of 3ms in 600ms", calls)
		}
	})
}

func TestReclaimingStopsWhenRedisErrsAndIsTakenUpAgain(t *testing.T) {
	store := &storetest.Store{Pending: 1, OnReclaim: func(context.Context, registry.Slot) (registry.Reclaimed, error) {
		return registry.Reclaimed{}, storetest.ErrDown
	}}
	withGateway(t, store, func(t *testing.T, g *Gateway) {
		for range 2 {
			if err := g.Invalidate(t.Context(), "users", registry.Scope{}, registry.ModeHard); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour)
		}
		if calls := store.Called("reclaim users"); calls != 2 {
			t.Errorf("%d calls, want one after each invalidation", calls)
		}
	})
}

func TestNothingIsReclaimedWhereNothingWaits(t *testing.T) {
	store := &storetest.Store{}
	withGateway(t, store, func(t *testing.T, g *Gateway) {
		if err := g.Invalidate(t.Context(), "users", registry.Scope{}, registry.ModeHard); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if calls := store.Called("reclaim users"); calls != 0 {
			t.Errorf("%d calls", calls)
		}
	})
}

// The bubble of the test does not end before all goroutines have.
func TestReclaimingEndsWithTheClient(t *testing.T) {
	store := &storetest.Store{Pending: 1, OnReclaim: func(context.Context, registry.Slot) (registry.Reclaimed, error) {
		return registry.Reclaimed{Pending: 1}, nil
	}}
	withGateway(t, store, func(t *testing.T, g *Gateway) {
		if err := g.Invalidate(t.Context(), "users", registry.Scope{}, registry.ModeHard); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := g.config.Background.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		calls := store.Called("reclaim users")
		time.Sleep(time.Hour)
		if now := store.Called("reclaim users"); calls == 0 || now != calls {
			t.Errorf("%d calls, %d after Close", calls, now)
		}
		if err := g.Invalidate(t.Context(), "users", registry.Scope{}, registry.ModeHard); err != nil {
			t.Errorf("after Close: %v", err)
		}
	})
}
