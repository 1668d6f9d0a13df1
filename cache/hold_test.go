// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachewright/cachewright/registry"
)

// marks is a Redis that knows the holds of each module, and that can be switched off.
type marks struct {
	outage

	// Guarded by outage.mu.

	holds    map[string]bool
	hangs    bool          // calls get no answer.
	runs     int           // calls that run at the same time
	together bool          // a call met another one
	late     chan struct{} // not nil: calls to hold are carried out when it is closed
}

func (m *marks) store() *stubStore {
	store := m.outage.store()
	store.OnHold = func(ctx context.Context, slot registry.Slot, _ registry.HoldID, _ time.Duration) (int64, error) {
		defer m.begin()()
		hangs, late := m.behaviour()
		if late != nil {
			go func() {
				<-late
				m.mark(slot.Module, true)
			}()
		}
		if hangs || late != nil {
			return 0, hang(ctx)
		}
		if err := m.reach("hold " + slot.Module); err != nil {
			return 0, err
		}
		return m.mark(slot.Module, true), nil
	}
	store.OnRelease = func(ctx context.Context, slot registry.Slot, _ registry.HoldID) (int64, error) {
		defer m.begin()()
		if hangs, _ := m.behaviour(); hangs {
			return 0, hang(ctx)
		}
		if err := m.reach("release " + slot.Module); err != nil {
			return 0, err
		}
		return m.mark(slot.Module, false), nil
	}
	return store
}

func (m *marks) behaviour() (hangs bool, late <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.hangs, m.late
}

// hang makes calls get no answer, or not any more.
func (m *marks) hang(hangs bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hangs = hangs
}

// delay makes calls to hold get no answer. They are carried out when the result is closed.
func (m *marks) delay() chan<- struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.late = make(chan struct{})
	return m.late
}

func (m *marks) begin() (end func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.runs++
	m.together = m.together || m.runs > 1
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.runs--
	}
}

// mark makes a mark stand or not, and returns how many stood.
func (m *marks) mark(module string, stands bool) (stood int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.holds == nil {
		m.holds = map[string]bool{}
	}
	if m.holds[module] {
		stood = 1
	}
	m.holds[module] = stands
	return stood
}

func (m *marks) standing() (modules []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for module, stands := range m.holds {
		if stands {
			modules = append(modules, module)
		}
	}
	slices.Sort(modules)
	return modules
}

func (m *marks) carriedOut(what string) (times int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, done := range m.reached {
		if done == what {
			times++
		}
	}
	return times
}

var users = Scope{Module: "users"}

// Each row is a mistake. The hold says what to do, makes no call, and can be released all the same.
func TestHoldSaysWhatItCannotDo(t *testing.T) {
	for name, test := range map[string]struct {
		ttl  time.Duration
		on   []Covered
		want string
		is   error
	}{
		"no time":                   {0, []Covered{users}, "must be more than 0 and at most 10m0s, not 0s", nil},
		"less than no time":         {-1, []Covered{users}, "more than 0", nil},
		"too much time":             {registry.MaxHold + 1, []Covered{users}, "renew a hold that must last longer", nil},
		"nothing":                   {time.Minute, nil, "name keys or scopes", nil},
		"no module":                 {time.Minute, []Covered{Scope{Operation: "get", User: "ada"}}, "the module is empty; name one", nil},
		"not even a scope":          {time.Minute, []Covered{users, Scope{}}, "the module is empty; name one", nil},
		"a pointer":                 {time.Minute, []Covered{&users}, "types Key and Scope, not *cache.Scope", nil},
		"nil":                       {time.Minute, []Covered{nil}, "types Key and Scope, not <nil>", nil},
		"params that name no entry": {time.Minute, []Covered{Key{Module: "users", Operation: "get", Params: func() {}}}, "func()", ErrParams},
	} {
		t.Run(name, func(t *testing.T) {
			var redis marks
			store := redis.store()
			withClient(t, store, func(t *testing.T, c *Client) {
				hold, err := c.Hold(t.Context(), test.ttl, test.on...)
				if err == nil || !strings.Contains(err.Error(), test.want) || test.is != nil && !errors.Is(err, test.is) {
					t.Errorf("got %v, want an error about %s", err, test.want)
				}
				if !strings.Contains(err.Error(), "call Release after it") || !errors.Is(hold.Err(), err) {
					t.Errorf("does not say what to do: %v, %v", err, hold.Err())
				}
				if n := store.Called("hold users"); n != 0 {
					t.Errorf("%d calls were made", n)
				}
				if err := hold.Renew(t.Context(), time.Minute); err == nil {
					t.Error("it can be renewed")
				}
				if err := hold.Release(t.Context()); err != nil {
					t.Errorf("it cannot be released: %v", err)
				}
				if c.holder.Lost() != 0 {
					t.Error("it counts as lost")
				}
			})
		})
	}
	var none *Client
	hold, err := none.Hold(t.Context(), time.Minute, users)
	if err == nil || !strings.Contains(err.Error(), "make one with New") || hold.Release(t.Context()) != nil {
		t.Errorf("a Client that is nil: %v", err)
	}
}

// One call holds 64 things at most: it takes Redis time, and nobody else is served meanwhile.
func TestHoldIsCutIntoCallsOf64Things(t *testing.T) {
	for things, calls := range map[int]int{1: 1, 64: 1, 65: 2, 150: 3} {
		var redis marks
		store := redis.store()
		withClient(t, store, func(t *testing.T, c *Client) {
			var on []Covered
			for i := range things {
				on = append(on, Key{Module: "users", Operation: "get", Params: i})
			}
			if _, err := c.Hold(t.Context(), time.Minute, append(on, on...)...); err != nil {
				t.Error(err)
			}
			if n := store.Called("hold users"); n != calls {
				t.Errorf("%d calls for %d things, want %d", n, things, calls)
			}
		})
	}
}

// A user in every module is held in those that are known to have a policy. If their list is out of
// reach, nothing is held, and the release invalidates what it can.
func TestHoldOfAUserNeedsTheListOfModules(t *testing.T) {
	var redis marks
	store := redis.store()
	store.OnRead = nil
	unknown := true
	store.OnModules = func() ([]string, error) {
		if unknown {
			return nil, registry.ErrModulesUnknown
		}
		return []string{"posts", "users"}, nil
	}
	withClient(t, store, func(t *testing.T, c *Client) {
		ada := Scope{User: "ada"}
		mustFetch(t.Context(), t, c, usersGet)
		failed, err := c.Hold(t.Context(), time.Minute, ada)
		if !errors.Is(err, registry.ErrModulesUnknown) || len(redis.standing()) > 0 {
			t.Errorf("got %v, want ErrModulesUnknown; held %s", err, redis.standing())
		}
		if err := failed.Release(t.Context()); !errors.Is(err, registry.ErrModulesUnknown) {
			t.Errorf("got %v, want ErrModulesUnknown", err)
		}
		unknown = false
		hold, err := c.Hold(t.Context(), time.Minute, ada)
		if standing := redis.standing(); err != nil || !slices.Equal(standing, []string{"posts", "users"}) {
			t.Errorf("held %s, %v", standing, err)
		}
		if err := hold.Release(t.Context()); err != nil || hold.Err() != nil {
			t.Errorf("releasing: %v, %v", err, hold.Err())
		}
	})
}

// A Redis that hangs holds a writer up for one timeout. It carries the call out later, and nothing
// is held in it in the end.
func TestHoldWithoutAnAnswerIsReleasedTwice(t *testing.T) {
	var redis marks
	withClient(t, redis.store(), func(t *testing.T, c *Client) {
		carryOut := redis.delay()
		began := time.Now()
		_, err := c.Hold(t.Context(), time.Minute, users)
		if !errors.Is(err, registry.ErrUnreachable) || time.Since(began) != defaultInvalidationTimeout {
			t.Errorf("got %v after %s", err, time.Since(began))
		}
		time.Sleep(defaultInvalidationTimeout / 2)
		synctest.Wait()
		if n := redis.carriedOut("release users"); n != 1 {
			t.Errorf("released %d times after a moment, want once", n)
		}
		close(carryOut) // now Redis carries the call out
		synctest.Wait()
		if len(redis.standing()) != 1 {
			t.Fatal("the test does not test")
		}
		time.Sleep(defaultInvalidationTimeout)
		synctest.Wait()
		if n := redis.carriedOut("release users"); n != 2 || len(redis.standing()) > 0 {
			t.Errorf("released %d times in the end, want twice; held %s", n, redis.standing())
		}
		time.Sleep(time.Minute)
		if n := redis.carriedOut("release users"); n != 2 {
			t.Errorf("released %d times in all", n)
		}
	})
}

// The writer makes its change, and its Release invalidates.
func TestHoldFailsAtOnceWhileRedisDoesNotServe(t *testing.T) {
	var redis marks
	redis.set(true)
	store := redis.store()
	withClient(t, store, func(t *testing.T, c *Client) {
		for range breakerFailures {
			if _, err := c.Hold(t.Context(), time.Minute, users); !errors.Is(err, registry.ErrUnreachable) {
				t.Fatalf("got %v", err)
			}
		}
		calls := store.Called("hold users")
		began := time.Now()
		hold, err := c.Hold(t.Context(), time.Minute, users)
		if !errors.Is(err, registry.ErrUnreachable) || store.Called("hold users") > calls || time.Since(began) > 0 {
			t.Errorf("got %v after %s", err, time.Since(began))
		}
		if err := hold.Release(t.Context()); !errors.Is(err, ErrQueued) {
			t.Errorf("got %v, want ErrQueued", err)
		}
		redis.set(false)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if redis.carriedOut("users") == 0 || c.outbox.Waiting() {
			t.Error("what was to be held is not invalidated")
		}
	})
}

// A hold of much takes longer than a read. That does not count against Redis.
func TestSlowHoldsLeaveReadsAlone(t *testing.T) {
	var redis marks
	store := redis.store()
	store.OnRead = nil
	hold := store.OnHold
	store.OnHold = func(ctx context.Context, slot registry.Slot, id registry.HoldID, ttl time.Duration) (int64, error) {
		time.Sleep(defaultInvalidationTimeout / 4)
		return hold(ctx, slot, id, ttl)
	}
	withClient(t, store, func(t *testing.T, c *Client) {
		for range 2 * breakerFailures {
			if _, err := c.Hold(t.Context(), time.Minute, users); err != nil {
				t.Fatal(err)
			}
		}
		mustFetch(t.Context(), t, c, usersGet)
		if store.Called("set") != 1 {
			t.Error("Redis is not used")
		}
	})
}

// A hold that reached some modules leaves nothing there. Modules after the first failure are not
// even tried.
func TestHoldThatFailsIsReleasedWhereItReached(t *testing.T) {
	var redis marks
	store := redis.store()
	hold := store.OnHold
	store.OnHold = func(ctx context.Context, slot registry.Slot, id registry.HoldID, ttl time.Duration) (int64, error) {
		if slot.Module == "m7" {
			return 0, fmt.Errorf("m7: %w", registry.ErrUnauthorized)
		}
		return hold(ctx, slot, id, ttl)
	}
	withClient(t, store, func(t *testing.T, c *Client) {
		var on []Covered
		for i := range 100 {
			on = append(on, Scope{Module: fmt.Sprint("m", i)})
		}
		held, err := c.Hold(t.Context(), time.Minute, on...)
		if !errors.Is(err, registry.ErrUnauthorized) {
			t.Fatalf("got %v", err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if standing := redis.standing(); len(standing) > 0 {
			t.Errorf("still held: %s", standing)
		}
		if n := store.Called("hold m99"); n > 0 {
			t.Error("modules are tried after a failure")
		}
		_ = held.Release(t.Context())
		for i := range 100 {
			if module := fmt.Sprint("m", i); store.Called("release "+module) == 0 {
				t.Errorf("%s is not invalidated after the change", module)
			}
		}
	})
}

// However many modules it covers: a Redis that hangs delays a release for a moment only.
func TestReleaseIsBoundedInTime(t *testing.T) {
	var redis marks
	withClient(t, redis.store(), func(t *testing.T, c *Client) {
		var on []Covered
		for i := range 100 {
			on = append(on, Scope{Module: fmt.Sprint("m", i)})
		}
		hold, err := c.Hold(t.Context(), time.Minute, on...)
		if err != nil {
			t.Fatal(err)
		}
		redis.hang(true)
		began := time.Now()
		if err := hold.Renew(t.Context(), time.Minute); !errors.Is(err, registry.ErrUnreachable) || !strings.Contains(err.Error(), "renew it again before it ends") {
			t.Errorf("renewing: %v", err)
		}
		if took := time.Since(began); took > 2*defaultInvalidationTimeout {
			t.Errorf("renewing took %s", took)
		}
		began = time.Now()
		if err := hold.Release(t.Context()); !errors.Is(err, ErrQueued) || len(err.Error()) > 2000 {
			t.Errorf("releasing: %v", err)
		}
		if took := time.Since(began); took > 2*defaultInvalidationTimeout {
			t.Errorf("releasing took %s", took)
		}
		synctest.Wait()
		redis.hang(false)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if standing := redis.standing(); len(standing) > 0 {
			t.Errorf("still held: %s", standing)
		}
	})
}

// A renewal that Redis carries out late may put the mark again after the release.
func TestReleaseAfterARenewalWithoutAnAnswerIsSentTwice(t *testing.T) {
	var redis marks
	withClient(t, redis.store(), func(t *testing.T, c *Client) {
		hold, err := c.Hold(t.Context(), time.Minute, users)
		if err != nil {
			t.Fatal(err)
		}
		carryOut := redis.delay()
		if err := hold.Renew(t.Context(), time.Minute); !errors.Is(err, registry.ErrUnreachable) {
			t.Errorf("got %v", err)
		}
		if err := hold.Release(t.Context()); err != nil || hold.Err() != nil {
			t.Errorf("got %v, %v", err, hold.Err())
		}
		close(carryOut)
		synctest.Wait()
		if len(redis.standing()) != 1 {
			t.Fatal("the test does not test")
		}
		time.Sleep(2 * defaultInvalidationTimeout)
		synctest.Wait()
		if standing := redis.standing(); len(standing) > 0 {
			t.Errorf("still held: %s", standing)
		}
	})
}

// A release waits for a renewal. If its caller does not, it is carried out after the renewal.
func TestRenewalAndReleaseNeverOverlap(t *testing.T) {
	for name, patient := range map[string]bool{"a caller that waits": true, "a caller that does not": false} {
		t.Run(name, func(t *testing.T) {
			var redis marks
			withClient(t, redis.store(), func(t *testing.T, c *Client) {
				hold, err := c.Hold(t.Context(), time.Minute, users)
				if err != nil {
					t.Fatal(err)
				}
				redis.hang(true)
				var renewal sync.WaitGroup
				renewal.Go(func() { _ = hold.Renew(t.Context(), time.Minute) })
				synctest.Wait()
				redis.hang(false)
				ctx := t.Context()
				if !patient {
					ended, cancel := context.WithCancel(ctx)
					cancel()
					ctx = ended
				}
				if err := hold.Release(ctx); patient && err != nil || !patient && !errors.Is(err, ErrQueued) {
					t.Errorf("got %v", err)
				}
				renewal.Wait()
				time.Sleep(2 * defaultInvalidationTimeout)
				synctest.Wait()
				if redis.together || len(redis.standing()) > 0 || redis.carriedOut("release users") == 0 {
					t.Errorf("calls met: %v; still held: %s", redis.together, redis.standing())
				}
				if err := hold.Renew(t.Context(), time.Minute); err == nil || !strings.Contains(err.Error(), "make another one") {
					t.Errorf("renewed after its release: %v", err)
				}
			})
		})
	}
}

// A Client that is closed holds and releases, but nobody tries again. It says so.
func TestHoldOfAClosedClient(t *testing.T) {
	var redis marks
	withClient(t, redis.store(), func(t *testing.T, c *Client) {
		if err := c.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		hold, err := c.Hold(t.Context(), time.Minute, users)
		if err != nil {
			t.Fatal(err)
		}
		redis.set(true)
		if err := hold.Release(t.Context()); errors.Is(err, ErrQueued) || err == nil || !strings.Contains(err.Error(), "it ends with its ttl") {
			t.Errorf("got %v", err)
		}
		if _, err := c.Hold(t.Context(), time.Minute, users); !errors.Is(err, registry.ErrUnreachable) {
			t.Errorf("got %v", err)
		}
		if c.outbox.Waiting() {
			t.Error("what nobody delivers is queued, so reads would load for ever")
		}
	})
}

// The context of a writer may have ended before it releases.
func TestReleaseOfACallerThatHasLeftIsDelivered(t *testing.T) {
	var redis marks
	store := redis.store()
	release := store.OnRelease
	store.OnRelease = func(ctx context.Context, slot registry.Slot, id registry.HoldID) (int64, error) {
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		return release(ctx, slot, id)
	}
	withClient(t, store, func(t *testing.T, c *Client) {
		hold, err := c.Hold(t.Context(), time.Minute, users)
		if err != nil {
			t.Fatal(err)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := hold.Release(ended); !errors.Is(err, ErrQueued) || !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if standing := redis.standing(); len(standing) > 0 || c.outbox.Waiting() {
			t.Errorf("still held: %s", standing)
		}
		if _, err := c.Hold(ended, time.Minute, users); !errors.Is(err, context.Canceled) {
			t.Errorf("held for a caller that has left: %v", err)
		}
	})
}
