// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/cachewright/cachewright/registry"
)

// ending is a Redis with one entry that ends, and one load lock.
type ending struct {
	ttl time.Duration

	mu     sync.Mutex
	end    time.Time
	locked bool
}

func (e *ending) store() *stubStore {
	return &stubStore{
		OnRead: func(context.Context, registry.Key) (registry.Lookup, error) {
			e.mu.Lock()
			defer e.mu.Unlock()
			left := time.Until(e.end)
			return registry.Lookup{Hit: left > 0, Payload: []byte(`"value"`), Remaining: max(0, left)}, nil
		},
		OnLease: func(context.Context, registry.Key) (registry.Lookup, error) {
			e.mu.Lock()
			defer e.mu.Unlock()
			if e.locked {
				return registry.Lookup{Token: "1token", Cacheable: true, Wait: time.Second}, nil
			}
			e.locked = true
			return registry.Lookup{Token: "2token", Cacheable: true}, nil
		},
		OnSet: func(context.Context, registry.Key) (registry.Filled, error) {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.end, e.locked = time.Now().Add(e.ttl), false
			return registry.Filled{Outcome: registry.Stored, TTL: e.ttl}, nil
		},
	}
}

// readFor reads the entry each 10 ms, and returns how often a reader waited for a load, and how
// many loads there were.
func readFor(t *testing.T, c *Client, length, loadTime time.Duration) (waited, loads int) {
	t.Helper()
	var mu sync.Mutex
	for end := time.Now().Add(length); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		began := time.Now()
		if _, err := Fetch(t.Context(), c, usersGet, func(context.Context) (string, error) {
			mu.Lock()
			loads++
			mu.Unlock()
			time.Sleep(loadTime)
			return "value", nil
		}); err != nil {
			t.Error(err)
		}
		if time.Since(began) > 0 {
			waited++
		}
	}
	mu.Lock()
	defer mu.Unlock()
	return waited, loads
}

const (
	rounds   = 10
	ttl      = 10 * time.Second
	loadTime = 100 * time.Millisecond
)

func TestEntryThatIsReadMuchIsRefreshedBeforeItEnds(t *testing.T) {
	redis := &ending{ttl: ttl}
	withClient(t, redis.store(), func(t *testing.T, c *Client) {
		waited, loads := readFor(t, c, rounds*ttl, loadTime)
		// Except for the first. The probability that a later one waits is about e^-21.
		if waited > 1 {
			t.Errorf("readers waited %d times, in %d loads", waited, loads)
		}
		// About a second early, since loads take a tenth of one: not much more often than it ends.
		if loads < rounds || loads > rounds*13/10 {
			t.Errorf("%d loads for %d lives of the entry", loads, rounds)
		}
	}, WithEarlyRefresh(3))
}

func TestWithoutEarlyRefreshAReaderWaitsEachTime(t *testing.T) {
	redis := &ending{ttl: ttl}
	withClient(t, redis.store(), func(t *testing.T, c *Client) {
		waited, loads := readFor(t, c, rounds*ttl, loadTime)
		if waited != loads || loads < rounds*9/10 || loads > rounds {
			t.Errorf("readers waited %d times, in %d loads", waited, loads)
		}
	})
}

// A claim of another process is left to it. One that failed is released after a pause.
func TestEarlyRefreshHasItsTurn(t *testing.T) {
	redis := &ending{ttl: time.Hour}
	store := redis.store()
	withClient(t, store, func(t *testing.T, c *Client) {
		fails := errors.New("the source is down")
		load := func(ctx context.Context, err error) (loads int) {
			for range 100 {
				if _, fetchErr := Fetch(ctx, c, usersGet, func(context.Context) (string, error) {
					loads++
					return "value", err
				}); fetchErr != nil {
					t.Error(fetchErr)
				}
				time.Sleep(time.Millisecond)
			}
			return loads
		}
		if _, err := Fetch(t.Context(), c, usersGet, func(context.Context) (string, error) {
			time.Sleep(time.Minute) // what a load takes
			return "value", nil
		}); err != nil {
			t.Fatal(err)
		}
		redis.locked = true
		if loads := load(t.Context(), nil); loads != 0 {
			t.Errorf("%d loads although another process has the claim", loads)
		}
		time.Sleep(2 * refreshBackoff)
		redis.locked = false
		if loads := load(t.Context(), fails); loads != 1 || store.Called("unlock") != 0 {
			t.Errorf("%d loads, %d unlocks before the pause", loads, store.Called("unlock"))
		}
		time.Sleep(2 * refreshBackoff)
		if unlocks := store.Called("unlock"); unlocks != 1 {
			t.Errorf("%d unlocks after the pause", unlocks)
		}
	}, WithEarlyRefresh(1e6))
}

func TestEarlyRefreshRefusesWhatIsNoScale(t *testing.T) {
	for _, beta := range []float64{-1, math.NaN(), math.Inf(1)} {
		if _, err := newStubClient(&stubStore{}, "shop", WithEarlyRefresh(beta)); err == nil {
			t.Errorf("%v was accepted", beta)
		}
	}
}
