// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachewright/cachewright/registry"
)

// heldStore is a Redis in which everything is held.
func heldStore() *stubStore {
	return &stubStore{OnLease: func(context.Context, registry.Key) (registry.Lookup, error) {
		return registry.Lookup{Token: "0", Held: time.Minute}, nil
	}}
}

// source changes all the time: each load gets the moment at which it began.
type changing struct{ loads atomic.Int64 }

func (s *changing) load(context.Context) (time.Time, error) {
	s.loads.Add(1)
	now := time.Now()
	time.Sleep(10 * time.Millisecond)
	return now, nil
}

// However many callers read what is held: one load runs, one waits, and nobody gets a value from
// before it came. Redis is not asked to store anything, and no caller waits for a load lock.
func TestCallersOfAHeldEntryShareLoadsThatBeginAfterThem(t *testing.T) {
	for name, entry := range map[string]Key{
		"shared by users": {Module: "users", Operation: "get"},
		"of a user":       {Module: "users", Operation: "get", User: "ada"},
	} {
		t.Run(name, func(t *testing.T) {
			store, source := heldStore(), &changing{}
			withClient(t, store, func(t *testing.T, c *Client) {
				var callers sync.WaitGroup
				for i := range 1000 {
					callers.Go(func() {
						time.Sleep(time.Duration(i) * 100 * time.Microsecond)
						came := time.Now()
						got, err := Fetch(t.Context(), c, entry, source.load)
						if err != nil || got.Before(came) {
							t.Errorf("came at %s, got %s, %v", came, got, err)
						}
						if waited := time.Since(came); waited > 20*time.Millisecond {
							t.Errorf("waited for %s", waited)
						}
					})
				}
				callers.Wait()
				if n := source.loads.Load(); n < 10 || n > 12 {
					t.Errorf("%d loads of 10ms each in 100ms", n)
				}
				if n := store.Called("set"); n > 0 {
					t.Errorf("%d fills", n)
				}
			})
		})
	}
}

// What a policy does not cache, or only for each user, is held by nobody, and nothing is shared.
func TestCallersOfWhatIsNotCachedShareNothing(t *testing.T) {
	store, source := heldStore(), &changing{}
	store.OnLease = func(context.Context, registry.Key) (registry.Lookup, error) {
		return registry.Lookup{Token: "0"}, nil
	}
	withClient(t, store, func(t *testing.T, c *Client) {
		var callers sync.WaitGroup
		for range 10 {
			callers.Go(func() { _, _ = Fetch(t.Context(), c, usersGet, source.load) })
		}
		callers.Wait()
		if n := source.loads.Load(); n != 10 {
			t.Errorf("%d loads for 10 callers", n)
		}
	})
}

func TestEachCallerOfAHeldEntryGetsAValueOfItsOwn(t *testing.T) {
	withClient(t, heldStore(), func(t *testing.T, c *Client) {
		values := make([][]int, 3)
		var callers sync.WaitGroup
		for i := range values {
			callers.Go(func() {
				values[i], _ = Fetch(t.Context(), c, usersGet, func(context.Context) ([]int, error) {
					time.Sleep(time.Millisecond)
					return []int{1}, nil
				})
			})
		}
		callers.Wait()
		for i, value := range values {
			if len(value) != 1 || value[0] != 1 {
				t.Fatalf("caller %d got %v", i, value)
			}
			value[0] = 2
		}
	})
}

// A failure reaches those who share the load, a panic its caller alone. What cannot be encoded is
// not shared.
func TestFailedLoadOfAHeldEntry(t *testing.T) {
	failure := errors.New("no such row")
	for name, test := range map[string]struct {
		load  func() (any, error)
		want  error
		panic bool
		loads int64 // with one that runs before, and three callers that share the next one
	}{
		"error":             {func() (any, error) { return nil, failure }, failure, false, 2},
		"not found":         {func() (any, error) { return nil, fmt.Errorf("row: %w", ErrNotFound) }, ErrNotFound, false, 2},
		"panic":             {func() (any, error) { panic("broken") }, nil, true, 4},
		"cannot be encoded": {func() (any, error) { return func() {}, nil }, nil, false, 4},
	} {
		t.Run(name, func(t *testing.T) {
			withClient(t, heldStore(), func(t *testing.T, c *Client) {
				var loads, panics atomic.Int64
				first := make(chan struct{})
				fetch := func() {
					defer func() {
						if recover() != nil {
							panics.Add(1)
						}
					}()
					var out any
					err := c.Fetch(t.Context(), usersGet, &out, func(context.Context) (any, error) {
						if loads.Add(1) == 1 {
							<-first
						}
						return test.load()
					})
					if !errors.Is(err, test.want) {
						t.Errorf("got %v, want %v", err, test.want)
					}
				}
				var callers sync.WaitGroup
				for range 4 {
					callers.Go(fetch)
					synctest.Wait()
				}
				close(first)
				callers.Wait()
				if n := loads.Load(); n != test.loads {
					t.Errorf("%d loads, want %d", n, test.loads)
				}
				if (panics.Load() > 0) != test.panic {
					t.Errorf("%d callers panicked", panics.Load())
				}
			})
		})
	}
}

// Loads that wait for themselves do not wait under a hold either.
func TestLoadOfAHeldEntryDoesNotWaitForItself(t *testing.T) {
	withClient(t, heldStore(), func(t *testing.T, c *Client) {
		var load func(context.Context) (string, error)
		load = func(ctx context.Context) (string, error) { return Fetch(ctx, c, usersGet, load) }
		began := time.Now()
		if _, err := Fetch(t.Context(), c, usersGet, load); !errors.Is(err, ErrLoadCycle) {
			t.Errorf("got %v, want ErrLoadCycle", err)
		}
		got, err := Fetch(t.Context(), c, usersGet, func(ctx context.Context) (string, error) {
			return Fetch(ctx, c, usersGet, func(context.Context) (string, error) { return "inner", nil })
		})
		if got != "inner" || err != nil || time.Since(began) > 0 {
			t.Errorf("got %q, %v after %s", got, err, time.Since(began))
		}
		load = func(context.Context) (string, error) { return Fetch(context.Background(), c, usersGet, load) }
		if _, err := Fetch(t.Context(), c, usersGet, load); !errors.Is(err, ErrLoadStuck) || time.Since(began) > 2*defaultSharedLoadWait {
			t.Errorf("with another context: got %v after %s, want ErrLoadStuck", err, time.Since(began))
		}
	})
}

// A load that hangs delays others for a bounded time, and a caller no longer than its context.
func TestLoadOfAHeldEntryThatHangsIsNotWaitedForWithoutEnd(t *testing.T) {
	withClient(t, heldStore(), func(t *testing.T, c *Client) {
		hung := make(chan struct{})
		var hanging sync.WaitGroup
		hanging.Go(func() {
			_, _ = Fetch(t.Context(), c, usersGet, func(context.Context) (string, error) {
				<-hung
				return "late", nil
			})
		})
		synctest.Wait()
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := Fetch(ctx, c, usersGet, func(context.Context) (string, error) { return "", nil }); !errors.Is(err, context.DeadlineExceeded) ||
			time.Since(began) != time.Second {
			t.Errorf("got %v after %s", err, time.Since(began))
		}
		if took := mustFetch(t.Context(), t, c, usersGet); took != defaultSharedLoadWait {
			t.Errorf("waited for %s", took)
		}
		close(hung)
		hanging.Wait()
	})
}

// The others of a load would get less than the source has.
func TestCallersOfAHeldEntryDoNotShareWhatDoesNotSurvive(t *testing.T) {
	type account struct {
		Name string
		pin  string
	}
	withClient(t, heldStore(), func(t *testing.T, c *Client) {
		var callers sync.WaitGroup
		for range 20 {
			callers.Go(func() {
				got, err := Fetch(t.Context(), c, usersGet, func(context.Context) (account, error) {
					time.Sleep(10 * time.Millisecond)
					return account{"ada", "1234"}, nil
				})
				if got.pin != "1234" || err != nil {
					t.Errorf("got %+v, %v", got, err)
				}
			})
		}
		callers.Wait()
	})
}
