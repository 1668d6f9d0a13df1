// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cachewright/cachewright/registry"
)

func TestALoaderThatDoesNotPassItsContextOnGetsAnErrorAfterTwoWaits(t *testing.T) {
	withClient(t, &stubStore{}, func(t *testing.T, c *Client) {
		loads := 0
		var load func(context.Context) (string, error)
		load = func(context.Context) (string, error) {
			loads++
			return Fetch(context.Background(), c, usersGet, load)
		}
		began := time.Now()
		if _, err := Fetch(t.Context(), c, usersGet, load); !errors.Is(err, ErrLoadStuck) {
			t.Errorf("got %v, want ErrLoadStuck", err)
		}
		if took := time.Since(began); took != 2*time.Second || loads != 2 {
			t.Errorf("%d loads in %s, want 2 in 2s", loads, took)
		}
	}, WithSharedLoadWait(time.Second))
}

func TestWhoWaitsForALoadThatHangsLoadsBesideIt(t *testing.T) {
	withClient(t, &stubStore{}, func(t *testing.T, c *Client) {
		release, hung := make(chan struct{}), make(chan error, 1)
		go func() {
			_, err := Fetch(t.Context(), c, usersGet, func(context.Context) (string, error) {
				<-release
				return "late", nil
			})
			hung <- err
		}()
		synctest.Wait()
		if took := mustFetch(t.Context(), t, c, usersGet); took != time.Second {
			t.Errorf("it took %s, want 1s", took)
		}
		if took := mustFetch(t.Context(), t, c, usersGet); took != 0 {
			t.Errorf("a later caller took %s, want none", took)
		}
		close(release)
		if err := <-hung; err != nil {
			t.Error(err)
		}
	}, WithSharedLoadWait(time.Second))
}

// A caller that waited too long uses what that load has stored by then.
func TestWhoWaitedTooLongForALoadReadsTheEntryAgain(t *testing.T) {
	reads := 0
	store := &stubStore{OnRead: func(context.Context, registry.Key) (registry.Lookup, error) {
		reads++
		if reads <= 2 {
			return registry.Lookup{}, nil
		}
		return registry.Lookup{Hit: true, Payload: []byte(`"cached"`), Remaining: time.Minute}, nil
	}}
	withClient(t, store, func(t *testing.T, c *Client) {
		release := make(chan struct{})
		go func() {
			_, _ = Fetch(t.Context(), c, usersGet, func(context.Context) (string, error) {
				<-release
				return "late", nil
			})
		}()
		synctest.Wait()
		got, err := Fetch(t.Context(), c, usersGet, func(context.Context) (string, error) { return "loaded", nil })
		if got != "cached" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
		close(release)
	}, WithSharedLoadWait(time.Second))
}

func TestALoadWithinALoadIsDistinguishedFromOneOfAnotherClient(t *testing.T) {
	other, err := newStubClient(&stubStore{}, "blog")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close(context.Background())
	one, err := newStubClient(&stubStore{}, "shop")
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close(context.Background())
	source := func(context.Context) (string, error) { return "v", nil }
	through := func(c *Client, load func(context.Context) (string, error)) func(context.Context) (string, error) {
		return func(ctx context.Context) (string, error) { return Fetch(ctx, c, usersGet, load) }
	}
	if got, err := through(one, through(other, source))(t.Context()); got != "v" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	// And with each twice, around one another.
	if got, err := through(one, through(other, through(one, through(other, source))))(t.Context()); got != "v" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	_, err = through(one, through(one, through(one, source)))(t.Context())
	if !errors.Is(err, ErrLoadCycle) {
		t.Errorf("got %v, want ErrLoadCycle", err)
	}
}

// A refresh in the background is part of no load, even if a load started it.
func TestALoaderMayReadAStaleEntryWhileThatIsRefreshed(t *testing.T) {
	store := &stubStore{OnRead: func(_ context.Context, key registry.Key) (registry.Lookup, error) {
		if key.Operation != "stale" {
			return registry.Lookup{}, nil
		}
		return registry.Lookup{Hit: true, Stale: true, Payload: []byte(`"old"`)}, nil
	}}
	withClient(t, store, func(t *testing.T, c *Client) {
		stale := Key{Module: "users", Operation: "stale"}
		refreshed := make(chan error, 1)
		got, err := Fetch(t.Context(), c, usersGet, func(ctx context.Context) (string, error) {
			return Fetch(ctx, c, stale, func(ctx context.Context) (string, error) {
				_, err := Fetch(ctx, c, usersGet, func(context.Context) (string, error) { return "v", nil })
				refreshed <- err
				return "new", err
			})
		})
		if got != "old" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
		if err := <-refreshed; err != nil {
			t.Error(err)
		}
	})
}

// Loaders may fetch each other's entries, on any goroutines and from any client: each Fetch ends.
// The bubble fails if one does not.
func TestLoadersThatUseTheCacheInAnyWayNeverHang(t *testing.T) {
	const seeds, keys, callers = 60, 4, 6
	for seed := range uint64(seeds) {
		withClient(t, &stubStore{}, func(t *testing.T, one *Client) {
			two, err := newStubClient(&stubStore{}, "blog", WithSharedLoadWait(time.Hour), WithLogger(slog.New(slog.DiscardHandler)))
			if err != nil {
				t.Fatal(err)
			}
			random := rand.New(rand.NewPCG(seed, 0))
			wants := make([][]int, keys) // the entries that the loader of each fetches
			for key := range wants {
				wants[key] = random.Perm(keys)[:random.IntN(3)]
			}
			var fetchOf func(ctx context.Context, key int) error
			fetchOf = func(ctx context.Context, key int) error {
				of := []*Client{one, two}[key%2]
				_, err := Fetch(ctx, of, Key{Module: "users", Operation: "get", Params: key}, func(ctx context.Context) (int, error) {
					time.Sleep(time.Millisecond)
					var inner errgroup.Group
					for _, want := range wants[key] {
						inner.Go(func() error { return fetchOf(ctx, want) })
					}
					return key, inner.Wait()
				})
				return err
			}
			var all sync.WaitGroup
			for range callers {
				key := random.IntN(keys)
				all.Go(func() {
					if err := fetchOf(t.Context(), key); err != nil && !errors.Is(err, ErrLoadCycle) {
						t.Errorf("seed %d: %v", seed, err)
					}
				})
			}
			began := time.Now()
			all.Wait()
			if took := time.Since(began); took > time.Second {
				t.Errorf("seed %d: it took %s", seed, took)
			}
			_ = two.Close(context.Background())
		}, WithSharedLoadWait(time.Hour))
	}
}
