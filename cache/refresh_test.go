// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachewright/cachewright/registry"
)

// staleStore has every entry, stale, and gives a turn to each who asks.
func staleStore() *stubStore {
	stale := registry.Lookup{Hit: true, Stale: true, Payload: []byte(`"old"`)}
	return &stubStore{
		read: func(context.Context, registry.Key) (registry.Lookup, error) { return stale, nil },
		lease: func(context.Context, registry.Key) (registry.Lookup, error) {
			turn := stale
			turn.Token, turn.Cacheable = "2token", true
			return turn, nil
		},
	}
}

func fetchStale(t *testing.T, c *Client, params any, load func(context.Context) (string, error)) {
	t.Helper()
	start := time.Now()
	got, err := Fetch(t.Context(), c, Key{Module: "users", Operation: "get", Params: params}, load)
	if got != "old" || err != nil || time.Since(start) != 0 {
		t.Errorf("got %q, %v after %s, want the stale value at once", got, err, time.Since(start))
	}
}

func TestStaleHitDoesNotWaitAndIsRefreshedOnce(t *testing.T) {
	store := staleStore()
	withClient(t, store, func(t *testing.T, c *Client) {
		loads := 0
		for range 10 {
			fetchStale(t, c, 1, func(context.Context) (string, error) {
				loads++
				time.Sleep(time.Second)
				return "new", nil
			})
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if loads != 1 || store.called("set") != 1 || store.called("lease") != 1 {
			t.Errorf("%d loads, %d fills, %d leases, want one of each", loads, store.called("set"), store.called("lease"))
		}
	})
}

// The context of the caller ends with its request; the refresh goes on, and knows its values.
func TestRefreshOutlivesItsCaller(t *testing.T) {
	type traceID struct{}
	withClient(t, staleStore(), func(t *testing.T, c *Client) {
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), traceID{}, "trace"))
		var ended error
		if _, err := Fetch(ctx, c, usersGet, func(ctx context.Context) (string, error) {
			time.Sleep(time.Second)
			if ctx.Value(traceID{}) != "trace" {
				t.Error("the loader has not the values of its caller's context")
			}
			ended = ctx.Err()
			return "new", nil
		}); err != nil {
			t.Error(err)
		}
		cancel()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if ended != nil {
			t.Errorf("the refresh ended with its caller: %v", ended)
		}
	})
}

func TestRefreshesAreBounded(t *testing.T) {
	withClient(t, staleStore(), func(t *testing.T, c *Client) {
		var running atomic.Int32
		for i := range 3 * refreshesAtOnce {
			fetchStale(t, c, i, func(ctx context.Context) (string, error) {
				running.Add(1)
				<-ctx.Done()
				running.Add(-1)
				return "", ctx.Err()
			})
			synctest.Wait()
		}
		if got := running.Load(); got != refreshesAtOnce {
			t.Errorf("%d refreshes run at once, want %d", got, refreshesAtOnce)
		}
		time.Sleep(defaultRefreshTimeout)
		synctest.Wait()
		if got := running.Load(); got != 0 {
			t.Errorf("%d refreshes run longer than they may", got)
		}
	})
}

// Neither the source nor Redis is asked by each reader; the turn goes to another after a second.
func TestFailedRefreshRests(t *testing.T) {
	var told []Failure
	store := staleStore()
	withClient(t, store, func(t *testing.T, c *Client) {
		attempts := 0
		failing := func(context.Context) (string, error) {
			attempts++
			return "", errors.New("4111-1111-1111-1111 is unknown")
		}
		for range 100 {
			fetchStale(t, c, 1, failing)
			synctest.Wait()
		}
		if attempts != 1 || store.called("unlock") != 0 {
			t.Errorf("%d attempts at once, the turn given back %d times", attempts, store.called("unlock"))
		}
		time.Sleep(refreshRest)
		synctest.Wait()
		if store.called("unlock") != 1 {
			t.Error("the turn was not given back")
		}
		fetchStale(t, c, 1, failing)
		synctest.Wait()
		if attempts != 2 {
			t.Errorf("%d attempts after a rest, want 2", attempts)
		}
		if len(told) == 0 || strings.Contains(told[0].Err.Error(), "4111") {
			t.Errorf("told of %v", told)
		}
	}, WithFailureHook(func(f Failure) { told = append(told, f) }))
}

func TestPanicInARefreshIsTold(t *testing.T) {
	told := make(chan Failure, 1)
	withClient(t, staleStore(), func(t *testing.T, c *Client) {
		fetchStale(t, c, usersGet.Params, func(context.Context) (string, error) { panic(errors.New("no user ada@example.com")) })
		expectPanicToldOf(t, <-told, "*errors.errorString", "TestPanicInARefreshIsTold")
	}, WithFailureHook(func(f Failure) { told <- f }))
}

func TestTurnOfAnotherProcessIsLeftToIt(t *testing.T) {
	store := staleStore()
	store.lease = func(context.Context, registry.Key) (registry.Lookup, error) {
		return registry.Lookup{Hit: true, Stale: true, Payload: []byte(`"old"`)}, nil
	}
	withClient(t, store, func(t *testing.T, c *Client) {
		for range 100 {
			fetchStale(t, c, 1, func(context.Context) (string, error) {
				t.Error("loaded")
				return "", nil
			})
			synctest.Wait()
		}
		if got := store.called("lease"); got != 1 {
			t.Errorf("Redis was asked %d times whose turn it is, want once a second", got)
		}
	})
}

func TestCloseEndsRefreshes(t *testing.T) {
	withClient(t, staleStore(), func(t *testing.T, c *Client) {
		ended := false
		fetchStale(t, c, 1, func(ctx context.Context) (string, error) {
			<-ctx.Done()
			ended = true
			return "", ctx.Err()
		})
		synctest.Wait()
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if !ended {
			t.Error("the refresh goes on")
		}
		fetchStale(t, c, 2, func(context.Context) (string, error) {
			t.Error("refreshed after Close")
			return "", nil
		})
	})
}
