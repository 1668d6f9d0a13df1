// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachewright/cachewright/registry"
)

// setAside is a Redis in which so many entries wait to be given back.
func setAside(waiting *atomic.Int64) func(context.Context, registry.Slot) (registry.Reclaimed, error) {
	return func(context.Context, registry.Slot) (registry.Reclaimed, error) {
		time.Sleep(3 * time.Millisecond) // of the bubble's time
		return registry.Reclaimed{Freed: reclaimAtOnce, Pending: max(0, waiting.Add(-reclaimAtOnce))}, nil
	}
}

func TestWhoInvalidatesGivesTheMemoryBack(t *testing.T) {
	var waiting atomic.Int64
	waiting.Store(100 * reclaimAtOnce)
	store := &stubStore{pending: 1, reclaim: setAside(&waiting)}
	withClient(t, store, func(t *testing.T, c *Client) {
		began := time.Now()
		for range 10 { // by one goroutine, however many invalidate
			if err := c.InvalidateModule(t.Context(), "users"); err != nil {
				t.Fatal(err)
			}
		}
		if since := time.Since(began); since > 0 {
			t.Errorf("the callers waited %s", since)
		}
		synctest.Wait()
		if calls := store.called("reclaim users"); calls != 0 && calls != 1 {
			t.Errorf("%d calls at once", calls)
		}
		time.Sleep(time.Hour)
		if left := waiting.Load(); left > 0 {
			t.Errorf("%d are left", left)
		}
		// Once more than needed, since invalidations came while it was under way.
		if calls := store.called("reclaim users"); calls < 100 || calls > 101 {
			t.Errorf("%d calls", calls)
		}
	})
}

// Redis is another's for at least half of the time.
func TestReclaimingIsPolite(t *testing.T) {
	var waiting atomic.Int64
	waiting.Store(1000 * reclaimAtOnce)
	store := &stubStore{pending: 1, reclaim: setAside(&waiting)}
	withClient(t, store, func(t *testing.T, c *Client) {
		if err := c.InvalidateModule(t.Context(), "users"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(600 * time.Millisecond)
		if calls := store.called("reclaim users"); calls < 90 || calls > 101 {
			t.Errorf("%d calls of 3ms in 600ms", calls)
		}
	})
}

func TestReclaimingStopsWhenRedisErrsAndIsTakenUpAgain(t *testing.T) {
	store := &stubStore{pending: 1, reclaim: func(context.Context, registry.Slot) (registry.Reclaimed, error) {
		return registry.Reclaimed{}, errDown
	}}
	withClient(t, store, func(t *testing.T, c *Client) {
		for range 2 {
			if err := c.InvalidateModule(t.Context(), "users"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour)
		}
		if calls := store.called("reclaim users"); calls != 2 {
			t.Errorf("%d calls, want one after each invalidation", calls)
		}
	})
}

func TestNothingIsReclaimedWhereNothingWaits(t *testing.T) {
	store := &stubStore{}
	withClient(t, store, func(t *testing.T, c *Client) {
		if err := c.InvalidateModule(t.Context(), "users"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if calls := store.called("reclaim users"); calls != 0 {
			t.Errorf("%d calls", calls)
		}
	})
}

// The bubble of the test does not end before all goroutines have.
func TestReclaimingEndsWithTheClient(t *testing.T) {
	store := &stubStore{pending: 1, reclaim: func(context.Context, registry.Slot) (registry.Reclaimed, error) {
		return registry.Reclaimed{Pending: 1}, nil
	}}
	withClient(t, store, func(t *testing.T, c *Client) {
		if err := c.InvalidateModule(t.Context(), "users"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := c.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		calls := store.called("reclaim users")
		time.Sleep(time.Hour)
		if now := store.called("reclaim users"); calls == 0 || now != calls {
			t.Errorf("%d calls, %d after Close", calls, now)
		}
		if err := c.InvalidateModule(t.Context(), "users"); err != nil {
			t.Errorf("after Close: %v", err)
		}
	})
}
