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

// staleStore returns a store that has every entry, stale, and leases it to every caller.
func staleStore() *stubStore {
	stale := registry.Lookup{Hit: true, Stale: true, Payload: []byte(`"old"`)}
	return &stubStore{
		OnRead: func(context.Context, registry.Key) (registry.Lookup, error) { return stale, nil },
		OnLease: func(context.Context, registry.Key) (registry.Lookup, error) {
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
		if loads != 1 || store.Called("set") != 1 || store.Called("lease") != 1 {
			t.Errorf("%d loads, %d fills, %d leases, want one of each", loads, store.Called("set"), store.Called("lease"))
		}
	})
}

// The context of the caller ends with its request. The refresh goes on, with the values of that
// context.
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
		for i := range 3 * maxRefreshes {
			fetchStale(t, c, i, func(ctx context.Context) (string, error) {
				running.Add(1)
				<-ctx.Done()
				running.Add(-1)
				return "", ctx.Err()
			})
			synctest.Wait()
		}
		if got := running.Load(); got != maxRefreshes {
			t.Errorf("%d refreshes run at once, want %d", got, maxRefreshes)
		}
		time.Sleep(defaultRefreshTimeout)
		synctest.Wait()
		if got := running.Load(); got != 0 {
			t.Errorf("%d refreshes run longer than they may", got)
		}
	})
}

// Not every reader calls the source or Redis. The claim is released after a second.
func TestFailedRefreshRests(t *testing.T) {
	var reported []Failure
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
		if attempts != 1 || store.Called("unlock") != 0 {
			t.Errorf("%d attempts at once, %d unlocks", attempts, store.Called("unlock"))
		}
		time.Sleep(refreshBackoff)
		synctest.Wait()
		if store.Called("unlock") != 1 {
			t.Error("the claim was not released")
		}
		fetchStale(t, c, 1, failing)
		synctest.Wait()
		if attempts != 2 {
			t.Errorf("%d attempts after a rest, want 2", attempts)
		}
		if len(reported) == 0 || strings.Contains(reported[0].Err.Error(), "4111") {
			t.Errorf("reported %v", reported)
		}
	}, WithFailureHook(func(f Failure) { reported = append(reported, f) }))
}

func TestPanicInARefreshIsReported(t *testing.T) {
	reported := make(chan Failure, 1)
	withClient(t, staleStore(), func(t *testing.T, c *Client) {
		fetchStale(t, c, usersGet.Params, func(context.Context) (string, error) { panic(errors.New("no user ada@example.com")) })
		expectPanicReported(t, <-reported, "*errors.errorString", "TestPanicInARefreshIsReported")
	}, WithFailureHook(func(f Failure) { reported <- f }))
}

func TestTurnOfAnotherProcessIsLeftToIt(t *testing.T) {
	store := staleStore()
	store.OnLease = func(context.Context, registry.Key) (registry.Lookup, error) {
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
		if got := store.Called("lease"); got != 1 {
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
