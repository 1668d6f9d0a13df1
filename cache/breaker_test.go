// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachewright/cachewright/registry"
)

func TestDeadRedisIsAskedThreeTimesThenOncePerPause(t *testing.T) {
	down := true
	store := &stubStore{OnRead: func(context.Context, registry.Key) (registry.Lookup, error) {
		if down {
			return registry.Lookup{}, errDown
		}
		return registry.Lookup{}, nil
	}}
	withClient(t, store, func(t *testing.T, c *Client) {
		fetchMany := func(wantReads int) {
			t.Helper()
			before := store.Called("read")
			for range 100 {
				mustFetch(t.Context(), t, c, usersGet)
				synctest.Wait()
			}
			if got := store.Called("read") - before; got != wantReads {
				t.Errorf("Redis was asked %d times, want %d", got, wantReads)
			}
		}
		fetchMany(breakerFailures)
		fetchMany(0)
		time.Sleep(breakerPause + 1)
		fetchMany(1)
		down = false
		fetchMany(0)
		time.Sleep(breakerPause + 1)
		fetchMany(1 + 99) // the first one fails, but starts the trial
	})
}

// No caller waits for a trial of Redis, and there is one trial for all callers in that time.
func TestTrialIsMadeInTheBackground(t *testing.T) {
	hanging := func(ctx context.Context, _ registry.Key) (registry.Lookup, error) {
		return registry.Lookup{}, hang(ctx)
	}
	for name, store := range map[string]*stubStore{
		"read":  {OnRead: hanging},
		"lease": {OnLease: hanging},
		"set": {OnSet: func(ctx context.Context, _ registry.Key) (registry.Filled, error) {
			return registry.Filled{}, hang(ctx)
		}},
	} {
		withClient(t, store, func(t *testing.T, c *Client) {
			for range breakerFailures {
				mustFetch(t.Context(), t, c, usersGet)
			}
			before, began := store.Called(name), time.Now()
			const trials = 20
			for time.Since(began) < trials*(breakerPause+defaultTimeout) {
				if took := mustFetch(t.Context(), t, c, usersGet); took != 0 {
					t.Errorf("%s: a caller waited %s", name, took)
					break
				}
				time.Sleep(5 * time.Millisecond)
			}
			if got := store.Called(name) - before; got < trials/2 || got > trials {
				t.Errorf("%s: Redis was tried %d times, want %d", name, got, trials)
			}
		})
	}
}

func TestNobodyComesNobodyTries(t *testing.T) {
	store := &stubStore{OnRead: func(context.Context, registry.Key) (registry.Lookup, error) { return registry.Lookup{}, errDown }}
	withClient(t, store, func(t *testing.T, c *Client) {
		for range breakerFailures {
			mustFetch(t.Context(), t, c, usersGet)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := store.Called("read"); got != breakerFailures {
			t.Errorf("Redis was asked %d times, want %d", got, breakerFailures)
		}
	})
}

func TestClosedClientTriesAgain(t *testing.T) {
	down := true
	store := &stubStore{OnRead: func(context.Context, registry.Key) (registry.Lookup, error) {
		if down {
			return registry.Lookup{}, errDown
		}
		return registry.Lookup{Hit: true, Payload: []byte(`"cached"`)}, nil
	}}
	withClient(t, store, func(t *testing.T, c *Client) {
		for range breakerFailures {
			mustFetch(t.Context(), t, c, usersGet)
		}
		_ = c.Close(t.Context())
		down = false
		time.Sleep(breakerPause + 1)
		if got := fetched(t, c, usersGet); got != "cached" {
			t.Errorf("got %q", got)
		}
	})
}

// answersAfter returns a Redis that answers after a delay.
func answersAfter(delay *time.Duration) *stubStore {
	wait := func(ctx context.Context) error {
		select {
		case <-time.After(*delay):
			return nil
		case <-ctx.Done():
			return hang(ctx)
		}
	}
	return &stubStore{
		OnRead: func(ctx context.Context, _ registry.Key) (registry.Lookup, error) {
			return registry.Lookup{}, wait(ctx)
		},
		OnLease: func(ctx context.Context, _ registry.Key) (registry.Lookup, error) {
			return registry.Lookup{Token: "token", Cacheable: true}, wait(ctx)
		},
		OnSet: func(ctx context.Context, _ registry.Key) (registry.Filled, error) {
			return registry.Filled{Outcome: registry.Stored}, wait(ctx)
		},
	}
}

func TestAnswersThatTakeMostOfTheTimeoutOpenTheBreaker(t *testing.T) {
	delay := 90 * time.Millisecond
	withClient(t, answersAfter(&delay), func(t *testing.T, c *Client) {
		for range breakerFailures {
			mustFetch(t.Context(), t, c, usersGet)
		}
		for range 1000 {
			if took := mustFetch(t.Context(), t, c, usersGet); took != 0 {
				t.Errorf("it took %s", took)
				break
			}
			time.Sleep(time.Millisecond)
		}
	})
}

func TestAFetchWaitsForOneTimeoutInAll(t *testing.T) {
	for delay := range 10 {
		delay := time.Duration(delay) * 10 * time.Millisecond
		withClient(t, answersAfter(&delay), func(t *testing.T, c *Client) {
			for range 10 {
				if took := mustFetch(t.Context(), t, c, usersGet); took > defaultTimeout {
					t.Errorf("with answers after %s it took %s", delay, took)
				}
			}
		})
	}
}

// A stall of this process, or of Redis, is one slow answer to each of many callers.
func TestOneStallOfManyCallersDoesNotOpenTheBreaker(t *testing.T) {
	delay := time.Duration(0)
	store := answersAfter(&delay)
	withClient(t, store, func(t *testing.T, c *Client) {
		for range breakerFailures - 1 {
			delay = 90 * time.Millisecond
			var callers sync.WaitGroup
			for range 64 {
				callers.Go(func() { mustFetch(t.Context(), t, c, usersGet) })
			}
			callers.Wait()
		}
		delay = 0
		before := store.Called("read")
		mustFetch(t.Context(), t, c, usersGet)
		if store.Called("read") != before+1 {
			t.Error("the breaker is open")
		}
	})
}

// A primary that has become a replica answers reads, and go-redis tries each write again and again.
func TestReadsThatSucceedDoNotHideWritesThatFail(t *testing.T) {
	store := &stubStore{OnLease: func(ctx context.Context, _ registry.Key) (registry.Lookup, error) {
		return registry.Lookup{}, hang(ctx)
	}}
	withClient(t, store, func(t *testing.T, c *Client) {
		for range 100 {
			mustFetch(t.Context(), t, c, usersGet)
		}
		if got := store.Called("lease"); got != breakerFailures {
			t.Errorf("%d leases were asked for, want %d", got, breakerFailures)
		}
		if got := store.Called("read"); got != 100 {
			t.Errorf("%d reads, want 100", got)
		}
	})
}

func TestOneFailureAmongAnswersIsForgotten(t *testing.T) {
	calls := 0
	store := &stubStore{OnRead: func(context.Context, registry.Key) (registry.Lookup, error) {
		calls++
		if calls%2 == 0 {
			return registry.Lookup{}, errDown
		}
		return registry.Lookup{}, nil
	}}
	withClient(t, store, func(t *testing.T, c *Client) {
		for range 100 {
			mustFetch(t.Context(), t, c, usersGet)
		}
		if calls != 100 {
			t.Errorf("Redis was asked %d times, want 100", calls)
		}
	})
}

// An error reply about a call is an answer: Redis is there, and serves others.
func TestRejectionsDoNotOpenTheBreaker(t *testing.T) {
	for _, rejection := range []error{registry.ErrRejected, registry.ErrUnexpected} {
		store := &stubStore{OnLease: func(context.Context, registry.Key) (registry.Lookup, error) { return registry.Lookup{}, rejection }}
		withClient(t, store, func(t *testing.T, c *Client) {
			for range 10 {
				mustFetch(t.Context(), t, c, usersGet)
			}
			if got := store.Called("lease"); got != 10 {
				t.Errorf("%v: Redis was asked %d times, want 10", rejection, got)
			}
		})
	}
}

// A Redis that is full answers everything except fills. Then misses take no lease either: nothing
// can be filled, and other processes would wait for it.
func TestFullRedisIsReadButNotFilled(t *testing.T) {
	for _, refusal := range []error{registry.ErrOutOfMemory, registry.ErrUnauthorized, registry.ErrUnreachable} {
		full := true
		store := &stubStore{OnSet: func(context.Context, registry.Key) (registry.Filled, error) {
			if full {
				return registry.Filled{}, refusal
			}
			return registry.Filled{Outcome: registry.Stored}, nil
		}}
		withClient(t, store, func(t *testing.T, c *Client) {
			for range 100 {
				mustFetch(t.Context(), t, c, usersGet)
			}
			for call, want := range map[string]int{"read": 100, "lease": breakerFailures, "set": breakerFailures} {
				if got := store.Called(call); got != want {
					t.Errorf("%v: %s was called %d times, want %d", refusal, call, got, want)
				}
			}
			full = false
			time.Sleep(breakerPause + 1)
			mustFetch(t.Context(), t, c, usersGet)
			synctest.Wait()
			before := store.Called("set")
			mustFetch(t.Context(), t, c, usersGet)
			if store.Called("set") != before+1 {
				t.Errorf("%v: Redis has room again, and is not filled", refusal)
			}
		})
	}
}

// A call that the user may not make is not tried for each caller.
func TestRedisThatRefusesTheUserIsLeftAlone(t *testing.T) {
	for _, refusal := range []error{registry.ErrUnauthorized, registry.ErrUnsupported} {
		store := &stubStore{
			OnRead:  func(context.Context, registry.Key) (registry.Lookup, error) { return registry.Lookup{}, refusal },
			OnLease: func(context.Context, registry.Key) (registry.Lookup, error) { return registry.Lookup{}, refusal },
		}
		withClient(t, store, func(t *testing.T, c *Client) {
			for range 100 {
				mustFetch(t.Context(), t, c, usersGet)
			}
			if got := store.Called("read"); got != breakerFailures {
				t.Errorf("%v: Redis was asked %d times, want %d", refusal, got, breakerFailures)
			}
		})
	}
}

// Modules are on different nodes of a cluster.
func TestBreakerOfOneModuleDoesNotOpenThatOfAnother(t *testing.T) {
	store := &stubStore{OnRead: func(_ context.Context, key registry.Key) (registry.Lookup, error) {
		if key.Module == "users" {
			return registry.Lookup{}, errDown
		}
		return registry.Lookup{}, nil
	}}
	withClient(t, store, func(t *testing.T, c *Client) {
		for range 10 {
			mustFetch(t.Context(), t, c, usersGet)
			mustFetch(t.Context(), t, c, Key{Module: "posts", Operation: "get"})
		}
		if got := store.Called("read"); got != breakerFailures+10 {
			t.Errorf("Redis was asked %d times, want %d", got, breakerFailures+10)
		}
	})
}

func TestRedisThatHangsCostsOneTimeout(t *testing.T) {
	read := func(ctx context.Context, _ registry.Key) (registry.Lookup, error) {
		return registry.Lookup{}, hang(ctx)
	}
	lease := read
	set := func(ctx context.Context, _ registry.Key) (registry.Filled, error) {
		return registry.Filled{}, hang(ctx)
	}
	for name, store := range map[string]*stubStore{
		"reading": {OnRead: read, OnLease: lease, OnSet: set},
		"leasing": {OnLease: lease, OnSet: set},
		"filling": {OnSet: set},
	} {
		t.Run(name, func(t *testing.T) {
			withClient(t, store, func(t *testing.T, c *Client) {
				if took := mustFetch(t.Context(), t, c, usersGet); took != 30*time.Millisecond {
					t.Errorf("it took %s, want the timeout", took)
				}
			}, WithTimeout(30*time.Millisecond))
		})
	}
}

func TestRedisThatHangsLeavesTheCallerHalfOfItsTime(t *testing.T) {
	store := &stubStore{OnRead: func(ctx context.Context, _ registry.Key) (registry.Lookup, error) {
		return registry.Lookup{}, hang(ctx)
	}}
	withClient(t, store, func(t *testing.T, c *Client) {
		for _, want := range []time.Duration{30 * time.Millisecond, 30 * time.Millisecond, 30 * time.Millisecond, 0} {
			ctx, cancel := context.WithTimeout(t.Context(), 60*time.Millisecond)
			if took := mustFetch(ctx, t, c, usersGet); took != want {
				t.Errorf("it took %s, want %s", took, want)
			}
			cancel()
		}
	})
}

func TestCallersWithShortTimeoutsDoNotOpenTheBreaker(t *testing.T) {
	store := &stubStore{OnRead: func(ctx context.Context, _ registry.Key) (registry.Lookup, error) {
		select {
		case <-time.After(2 * time.Millisecond):
			return registry.Lookup{}, nil
		case <-ctx.Done():
			return registry.Lookup{}, hang(ctx)
		}
	}}
	withClient(t, store, func(t *testing.T, c *Client) {
		for range 10 {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Millisecond)
			mustFetch(ctx, t, c, usersGet)
			cancel()
		}
		mustFetch(t.Context(), t, c, usersGet)
		if got := store.Called("read"); got != 11 {
			t.Errorf("Redis was asked %d times, want 11", got)
		}
	})
}

func TestInvalidationIsTriedWhateverTheBreakerSays(t *testing.T) {
	store := &stubStore{
		OnRead:       func(context.Context, registry.Key) (registry.Lookup, error) { return registry.Lookup{}, errDown },
		OnInvalidate: func(context.Context, registry.Slot, registry.Scope) error { return errDown },
	}
	withClient(t, store, func(t *testing.T, c *Client) {
		for range 5 {
			mustFetch(t.Context(), t, c, usersGet)
		}
		for operation := range 5 {
			if err := c.InvalidateOperation(t.Context(), "users", fmt.Sprint("get", operation)); !errors.Is(err, registry.ErrUnreachable) {
				t.Errorf("got %v, want ErrUnreachable", err)
			}
		}
		if got := store.Called("invalidate users"); got != 5 {
			t.Errorf("Redis was asked %d times, want 5", got)
		}
	})
}

func TestInvalidationIsBounded(t *testing.T) {
	store := &stubStore{OnInvalidate: func(ctx context.Context, _ registry.Slot, _ registry.Scope) error { return hang(ctx) }}
	withClient(t, store, func(t *testing.T, c *Client) {
		start := time.Now()
		if err := c.InvalidateModule(t.Context(), "users"); !errors.Is(err, registry.ErrUnreachable) {
			t.Errorf("got %v, want ErrUnreachable", err)
		}
		if took := time.Since(start); took != time.Minute {
			t.Errorf("it took %s, want the timeout", took)
		}
	}, WithInvalidationTimeout(time.Minute))
}

// Without Redis it is unknown whether a load that is under way began before an invalidation.
func TestCallersDoNotJoinWithoutALease(t *testing.T) {
	store := &stubStore{OnRead: func(context.Context, registry.Key) (registry.Lookup, error) { return registry.Lookup{}, errDown }}
	withClient(t, store, func(t *testing.T, c *Client) {
		if loads := concurrentLoads(t, c, usersGet); loads != 10 {
			t.Errorf("%d loads, want 10", loads)
		}
	})
}

func TestValueWithoutAUserIsSharedOnlyIfThePolicyLetItPass(t *testing.T) {
	for name, test := range map[string]struct {
		filled    registry.Filled
		err       error
		user      string
		wantLoads int
	}{
		"stored":               {filled: registry.Filled{Outcome: registry.Stored}, wantLoads: 1},
		"fenced":               {filled: registry.Filled{Outcome: registry.Fenced}, wantLoads: 1},
		"refused":              {filled: registry.Filled{Outcome: registry.Refused}, wantLoads: 10},
		"disabled":             {filled: registry.Filled{Outcome: registry.Disabled}, wantLoads: 10},
		"not answered":         {err: errDown, wantLoads: 10},
		"refused to a user":    {filled: registry.Filled{Outcome: registry.Refused}, user: "ada", wantLoads: 1},
		"not answered, a user": {err: errDown, user: "ada", wantLoads: 1},
	} {
		store := &stubStore{OnSet: func(context.Context, registry.Key) (registry.Filled, error) { return test.filled, test.err }}
		withClient(t, store, func(t *testing.T, c *Client) {
			key := usersGet
			key.User = test.user
			if loads := concurrentLoads(t, c, key); loads != test.wantLoads {
				t.Errorf("%s: %d loads, want %d", name, loads, test.wantLoads)
			}
		})
	}
}

// A load that took longer than its callers waited is worth storing for the next one.
func TestLoadIsStoredEvenIfItsCallersHaveLeft(t *testing.T) {
	var ctxErr error
	store := &stubStore{OnSet: func(ctx context.Context, _ registry.Key) (registry.Filled, error) {
		ctxErr = ctx.Err()
		return registry.Filled{Outcome: registry.Stored}, nil
	}}
	withClient(t, store, func(t *testing.T, c *Client) {
		ctx, cancel := context.WithCancel(t.Context())
		release := make(chan struct{})
		time.AfterFunc(time.Second, cancel)
		_, err := Fetch(ctx, c, usersGet, func(context.Context) (string, error) {
			<-release
			return "v", nil
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		close(release)
		synctest.Wait()
		if got := store.Called("set"); got != 1 || ctxErr != nil {
			t.Errorf("stored %d times, with a context that is %v", got, ctxErr)
		}
	})
}

// concurrentLoads fetches ten times at once and returns how often that loaded.
func concurrentLoads(t *testing.T, c *Client, key Key) int {
	t.Helper()
	var mu sync.Mutex
	loads := 0
	release := make(chan struct{})
	var callers sync.WaitGroup
	for range 10 {
		callers.Go(func() {
			_, err := Fetch(t.Context(), c, key, func(context.Context) (string, error) {
				mu.Lock()
				loads++
				mu.Unlock()
				<-release
				return "v", nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	synctest.Wait()
	close(release)
	callers.Wait()
	return loads
}
