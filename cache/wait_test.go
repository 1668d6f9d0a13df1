// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachewright/cachewright/registry"
)

// lockedStore is one where another process loads each entry, and stores it after so long.
func lockedStore(stored time.Duration) *stubStore {
	var begin time.Time
	return &stubStore{
		OnRead: func(context.Context, registry.Key) (registry.Lookup, error) {
			if begin.IsZero() {
				begin = time.Now()
			}
			if time.Since(begin) < stored {
				return registry.Lookup{}, nil
			}
			return registry.Lookup{Hit: true, Payload: []byte(`"theirs"`)}, nil
		},
		OnLease: func(context.Context, registry.Key) (registry.Lookup, error) {
			return registry.Lookup{Token: "1token", Cacheable: true, Wait: 10 * time.Second}, nil
		},
	}
}

func TestLoadOfAnotherProcessIsWaitedFor(t *testing.T) {
	const stored = 300 * time.Millisecond
	store := lockedStore(stored)
	withClient(t, store, func(t *testing.T, c *Client) {
		start := time.Now()
		got, err := Fetch(t.Context(), c, usersGet, func(context.Context) (string, error) { return "ours", nil })
		if got != "theirs" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
		if took := time.Since(start); took > stored+2*maxWait {
			t.Errorf("it took %s to see what was stored after %s", took, stored)
		}
		if reads := store.Called("read"); reads > 20 {
			t.Errorf("%d reads while waiting", reads)
		}
	})
}

// The process that loads may have died.
func TestWaitIsBounded(t *testing.T) {
	for name, test := range map[string]struct {
		lock, option, deadline, want time.Duration
	}{
		"by the lock":     {lock: 200 * time.Millisecond, option: time.Second, deadline: time.Hour, want: 200 * time.Millisecond},
		"by the option":   {lock: time.Minute, option: 300 * time.Millisecond, deadline: time.Hour, want: 300 * time.Millisecond},
		"by half the ctx": {lock: time.Minute, option: time.Minute, deadline: 800 * time.Millisecond, want: 400 * time.Millisecond},
	} {
		store := &stubStore{OnLease: func(context.Context, registry.Key) (registry.Lookup, error) {
			return registry.Lookup{Token: "1token", Cacheable: true, Wait: test.lock}, nil
		}}
		withClient(t, store, func(t *testing.T, c *Client) {
			ctx, cancel := context.WithTimeout(t.Context(), test.deadline)
			defer cancel()
			if took := mustFetch(ctx, t, c, usersGet); took != test.want {
				t.Errorf("%s: it took %s, want %s", name, took, test.want)
			}
			if store.Called("set") != 1 || store.Called("unlock") != 0 {
				t.Errorf("%s: %d fills, %d unlocks, want one fill, and the lock left to its owner", name, store.Called("set"), store.Called("unlock"))
			}
		}, WithLoadWait(test.option))
	}
}

// A load may end without anything stored: the loader failed, or the policy refused its value.
func TestWaitEndsWithTheLoadThatIsWaitedFor(t *testing.T) {
	const ended = 300 * time.Millisecond
	endsUnstored := func() *stubStore {
		store, begin := lockedStore(time.Hour), time.Time{}
		store.Held = func() bool {
			if begin.IsZero() {
				begin = time.Now()
			}
			return time.Since(begin) < ended
		}
		wait := store.OnLease
		store.OnLease = func(ctx context.Context, key registry.Key) (registry.Lookup, error) {
			if begin.IsZero() || store.Held() {
				return wait(ctx, key)
			}
			return registry.Lookup{Token: "2other", Cacheable: true}, nil
		}
		return store
	}
	t.Run("the first to see it loads", func(t *testing.T) {
		store := endsUnstored()
		withClient(t, store, func(t *testing.T, c *Client) {
			if took := mustFetch(t.Context(), t, c, usersGet); took > ended+2*maxWait {
				t.Errorf("it took %s to see that a load ended after %s", took, ended)
			}
			if reads, leases := store.Called("read"), store.Called("lease"); reads > 20 || leases != 2 {
				t.Errorf("%d reads and %d leases, want few, and one lease before and after", reads, leases)
			}
			if token := store.FilledWith(); token != "2other" || store.Called("set") != 1 {
				t.Errorf("filled %d times, with the token %q, want that which came with the lock", store.Called("set"), token)
			}
		}, WithLoadWait(time.Minute))
	})
	t.Run("and gives the lock back if it stores nothing either", func(t *testing.T) {
		store := endsUnstored()
		withClient(t, store, func(t *testing.T, c *Client) {
			_, _ = Fetch(t.Context(), c, usersGet, func(context.Context) (string, error) { return "", errors.New("no") })
			synctest.Wait()
			if got := store.Called("unlock"); got != 1 {
				t.Errorf("%d unlocks", got)
			}
		}, WithLoadWait(time.Minute))
	})
	t.Run("or finds what another has stored since", func(t *testing.T) {
		store := endsUnstored()
		store.OnLease = storedAtTheSecondLook(store.OnLease, registry.Lookup{Hit: true, Payload: []byte(`"loaded"`)})
		withClient(t, store, func(t *testing.T, c *Client) {
			mustFetch(t.Context(), t, c, usersGet)
			if store.Called("set") != 0 || store.Called("unlock") != 0 {
				t.Error("it loaded, or gave back a lock that it has not")
			}
		}, WithLoadWait(time.Minute))
	})
	t.Run("which may be stale already, and another's to refresh", func(t *testing.T) {
		store := endsUnstored()
		stale := registry.Lookup{Hit: true, Stale: true, Payload: []byte(`"loaded"`), Token: "2other", Cacheable: true}
		store.OnLease = storedAtTheSecondLook(store.OnLease, stale)
		withClient(t, store, func(t *testing.T, c *Client) {
			mustFetch(t.Context(), t, c, usersGet)
			synctest.Wait()
			if store.Called("set") != 0 || store.Called("unlock") != 1 {
				t.Error("the turn to refresh it was kept")
			}
		}, WithLoadWait(time.Minute))
	})
	t.Run("and the policy may have changed meanwhile", func(t *testing.T) {
		store := endsUnstored()
		store.OnLease = storedAtTheSecondLook(store.OnLease, registry.Lookup{Token: "0"})
		withClient(t, store, func(t *testing.T, c *Client) {
			if took := mustFetch(t.Context(), t, c, usersGet); took > ended+2*maxWait {
				t.Errorf("it took %s", took)
			}
			synctest.Wait()
			if store.Called("unlock") != 0 {
				t.Error("it gave back a lock that it has not")
			}
		}, WithLoadWait(time.Minute))
	})
}

// storedAtTheSecondLook makes what a lease finds after the first one.
func storedAtTheSecondLook(
	first func(context.Context, registry.Key) (registry.Lookup, error), second registry.Lookup,
) func(context.Context, registry.Key) (registry.Lookup, error) {
	leased := false
	return func(ctx context.Context, key registry.Key) (registry.Lookup, error) {
		if leased {
			return second, nil
		}
		leased = true
		return first(ctx, key)
	}
}

func TestWaitEndsWhenRedisFails(t *testing.T) {
	store := lockedStore(time.Hour)
	answer := store.OnRead
	store.OnRead = func(ctx context.Context, key registry.Key) (registry.Lookup, error) {
		if store.Called("read") > 1 {
			return registry.Lookup{}, errDown
		}
		return answer(ctx, key)
	}
	withClient(t, store, func(t *testing.T, c *Client) {
		if took := mustFetch(t.Context(), t, c, usersGet); took > 2*firstWait {
			t.Errorf("it took %s", took)
		}
	})
}

func TestLoneMissTakesNoMoreCallsThanWithoutALock(t *testing.T) {
	store := &stubStore{}
	withClient(t, store, func(t *testing.T, c *Client) {
		if took := mustFetch(t.Context(), t, c, usersGet); took != 0 {
			t.Errorf("it took %s", took)
		}
		synctest.Wait()
		for _, call := range []string{"read", "lease", "set"} {
			if store.Called(call) != 1 {
				t.Errorf("%d calls of %s, want 1", store.Called(call), call)
			}
		}
		if store.Called("unlock") != 0 {
			t.Error("a lock that the fill released is released again")
		}
	})
}

func TestLoadThatFailsGivesTheLockBack(t *testing.T) {
	for name, load := range map[string]func(context.Context) (string, error){
		"an error": func(context.Context) (string, error) { return "", errors.New("no") },
		"a panic":  func(context.Context) (string, error) { panic("no") },
	} {
		store := &stubStore{}
		withClient(t, store, func(t *testing.T, c *Client) {
			func() {
				defer func() { _ = recover() }()
				_, _ = Fetch(t.Context(), c, usersGet, load)
			}()
			synctest.Wait()
			if got := store.Called("unlock"); got != 1 {
				t.Errorf("%s: %d unlocks", name, got)
			}
		})
	}
	store := &stubStore{OnSet: func(context.Context, registry.Key) (registry.Filled, error) {
		return registry.Filled{Outcome: registry.Refused}, nil
	}}
	withClient(t, store, func(t *testing.T, c *Client) {
		mustFetch(t.Context(), t, c, usersGet)
		synctest.Wait()
		if got := store.Called("unlock"); got != 1 {
			t.Errorf("after a fill that was refused: %d unlocks", got)
		}
	})
}

// firstWaits is a store where the first lease says that another has the load lock, and later ones
// get it.
func firstWaits() *stubStore {
	store := lockedStore(time.Hour)
	store.OnLease = storedAtTheSecondLook(store.OnLease, registry.Lookup{Token: "2token", Cacheable: true})
	return store
}

// A caller may get the load lock while another of this process waits for it. The load of another
// process just ended, or the caller with the lock was slower to begin.
func TestCallerThatHasTheLoadLockEndsTheWaitOfAnother(t *testing.T) {
	store := firstWaits()
	withClient(t, store, func(t *testing.T, c *Client) {
		start, first := time.Now(), make(chan time.Duration)
		go func() { first <- mustFetch(t.Context(), t, c, usersGet) }()
		synctest.Wait()
		mustFetch(t.Context(), t, c, usersGet)
		<-first
		if took := time.Since(start); took != 0 {
			t.Errorf("it took %s, though the process has the lock", took)
		}
		synctest.Wait()
		if token := store.FilledWith(); token != "2token" || store.Called("set") != 1 || store.Called("unlock") != 0 {
			t.Errorf("%d fills, with the token %q, and %d unlocks; want one fill, which releases the lock",
				store.Called("set"), token, store.Called("unlock"))
		}
	}, WithLoadWait(time.Minute))
}

// A load that began without the lock does not need it any more, and others might wait for it.
func TestLoadLockThatComesTooLateIsGivenBack(t *testing.T) {
	for name, err := range map[string]error{"stored": nil, "failed": errors.New("no")} {
		store := firstWaits()
		withClient(t, store, func(t *testing.T, c *Client) {
			begun, release, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
			load := func(context.Context) (string, error) {
				close(begun)
				<-release
				return "loaded", err
			}
			go func() {
				defer close(ended)
				_, _ = Fetch(t.Context(), c, usersGet, load)
			}()
			<-begun // after the wait
			joined := make(chan struct{})
			go func() {
				defer close(joined)
				_, _ = Fetch(t.Context(), c, usersGet, load)
			}()
			synctest.Wait()
			close(release)
			<-ended
			<-joined
			synctest.Wait()
			if got := store.Called("unlock"); got != 1 {
				t.Errorf("%s: %d unlocks, want 1", name, got)
			}
		}, WithLoadWait(time.Second))
	}
}

// A fill releases the load lock. Another process may take it and give it back before a second
// caller leases, who then has it, and joins the load that ends.
func TestALoadLockThatComesDuringAFillIsGivenBack(t *testing.T) {
	var filled chan struct{}
	store := &stubStore{
		OnLease: func(context.Context, registry.Key) (registry.Lookup, error) {
			return registry.Lookup{Token: "1token", Cacheable: true}, nil
		},
		OnSet: func(context.Context, registry.Key) (registry.Filled, error) {
			<-filled
			return registry.Filled{Outcome: registry.Stored}, nil
		},
	}
	withClient(t, store, func(t *testing.T, c *Client) {
		filled = make(chan struct{})
		var callers sync.WaitGroup
		for range 2 {
			callers.Go(func() { mustFetch(t.Context(), t, c, usersGet) })
			synctest.Wait() // the first fills, and the second waits for it
		}
		close(filled)
		callers.Wait()
		synctest.Wait()
		wantCalls(t, store, map[string]int{"read": 2, "lease": 2, "set": 1, "unlock": 1})
	})
}

func TestLoadLockCanBeSwitchedOff(t *testing.T) {
	store := &stubStore{}
	withClient(t, store, func(t *testing.T, c *Client) {
		_, _ = Fetch(t.Context(), c, usersGet, func(context.Context) (string, error) { return "", errors.New("no") })
		synctest.Wait()
		if store.Called("locked") != 0 || store.Called("unlock") != 0 {
			t.Error("a lock was taken")
		}
	}, WithLoadWait(0))
}
