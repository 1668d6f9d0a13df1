// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cachetest_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/cache/cachetest"
	"github.com/cachewright/cachewright/registry"
)

const longHold = 5 * time.Minute

// mustHold holds something.
func mustHold(t *testing.T, s subject, ttl time.Duration, on ...cache.Covered) cache.Hold {
	t.Helper()
	h, err := s.Cache.(cache.Holder).Hold(t.Context(), ttl, on...)
	must(t, err)
	return h
}

// loads reports whether a Fetch calls its loader.
func loads(t *testing.T, c cache.Cache, key cache.Key) bool {
	t.Helper()
	loader, calls := load("value")
	fetch(t, c, key, loader)
	return calls.count() > 0
}

func TestNothingThatIsHeldIsServedOrStored(t *testing.T) {
	forEachCache(t, func(t *testing.T, s subject) {
		s.setPolicy("users", everything(time.Hour))
		key := cache.Key{Module: "users", Operation: "get", Params: 1}
		loads(t, s.Cache, key)
		before := begin(t, s.Cache, cache.Key{Module: "users", Operation: "get", Params: 2}, "from before")
		h := mustHold(t, s, longHold, cache.Scope{Module: "users", Operation: "get"})
		if cached(t, s.Cache, key) {
			t.Error("what was cached before is served")
		}
		for range 2 {
			if !loads(t, s.Cache, key) || !loads(t, s.newer, key) {
				t.Error("a load was stored")
			}
		}
		must(t, s.Set(t.Context(), key, "set"))
		if cached(t, s.Cache, key) {
			t.Error("Set stored a value")
		}
		during := begin(t, s.Cache, cache.Key{Module: "users", Operation: "get", Params: 3}, "from during")
		must(t, h.Release(t.Context()))
		for params, of := range map[int]heldLoad{2: before, 3: during} {
			of.end()
			if cached(t, s.Cache, cache.Key{Module: "users", Operation: "get", Params: params}) {
				t.Errorf("the load %d, which began before the release, was stored", params)
			}
		}
		if !loads(t, s.Cache, key) || loads(t, s.Cache, key) {
			t.Error("nothing is cached after the release")
		}
		if err := h.Err(); err != nil {
			t.Error(err)
		}
		must(t, h.Release(t.Context()))
		if loads(t, s.Cache, key) {
			t.Error("a second release did something")
		}
	})
}

func TestAHoldCoversExactlyWhatItNames(t *testing.T) {
	keys := map[string]cache.Key{
		"shared":             {Module: "users", Operation: "get", Params: 1},
		"other params":       {Module: "users", Operation: "get", Params: 2},
		"another operation":  {Module: "users", Operation: "list"},
		"ada's":              {Module: "users", Operation: "get", Params: 1, User: "ada"},
		"ada's, another one": {Module: "users", Operation: "list", User: "ada"},
		"bob's":              {Module: "users", Operation: "get", Params: 1, User: "bob"},
		"another module":     {Module: "posts", Operation: "get", Params: 1},
		"ada's elsewhere":    {Module: "posts", Operation: "get", Params: 1, User: "ada"},
	}
	for name, test := range map[string]struct {
		on   cache.Covered
		held []string
	}{
		"a key":        {keys["shared"], []string{"shared"}},
		"a user's key": {keys["ada's"], []string{"ada's"}},
		"a module": {
			cache.Scope{Module: "users"},
			[]string{"shared", "other params", "another operation", "ada's", "ada's, another one", "bob's"},
		},
		"an operation":           {cache.Scope{Module: "users", Operation: "get"}, []string{"shared", "other params", "ada's", "bob's"}},
		"a user":                 {cache.Scope{Module: "users", User: "ada"}, []string{"ada's", "ada's, another one"}},
		"an operation of a user": {cache.Scope{Module: "users", Operation: "get", User: "ada"}, []string{"ada's", "ada's, another one"}},
		"a user everywhere":      {cache.Scope{User: "ada"}, []string{"ada's", "ada's, another one", "ada's elsewhere"}},
	} {
		t.Run(name, func(t *testing.T) {
			forEachCache(t, func(t *testing.T, s subject) {
				for _, module := range []string{"users", "posts"} {
					s.setPolicy(module, everything(time.Hour))
				}
				for _, key := range keys {
					loads(t, s.Cache, key)
				}
				h := mustHold(t, s, longHold, test.on)
				wantLoads := func(when string, of []string) {
					t.Helper()
					for name, key := range keys {
						if got, want := loads(t, s.Cache, key), slices.Contains(of, name); got != want {
							t.Errorf("%s, %s: loaded is %v, want %v", name, when, got, want)
						}
					}
				}
				wantLoads("held", test.held)
				wantLoads("held still", test.held)
				must(t, h.Release(t.Context()))
				wantLoads("released", test.held)
				wantLoads("cached again", nil)
			})
		})
	}
}

func TestAHoldEndsByItself(t *testing.T) {
	forEachCache(t, func(t *testing.T, s subject) {
		const ttl = 300 * time.Millisecond
		s.setPolicy("users", everything(time.Hour))
		key := cache.Key{Module: "users", Operation: "get"}
		h := mustHold(t, s, ttl, key)
		s.elapse(ttl)
		NewWithT(t).Eventually(func() bool { return loads(t, s.Cache, key) }).WithTimeout(waitTimeout).Should(BeFalse())
		if err := h.Renew(t.Context(), longHold); err != nil || !errors.Is(h.Err(), cache.ErrHoldLost) {
			t.Errorf("a renewal that comes too late: %v, and the hold says %v", err, h.Err())
		}
		if !loads(t, s.Cache, key) || !loads(t, s.other, key) {
			t.Error("it does not hold after the renewal")
		}
		must(t, h.Renew(t.Context(), ttl)) // an earlier end
		s.elapse(ttl)
		NewWithT(t).Eventually(func() bool { return loads(t, s.Cache, key) }).WithTimeout(waitTimeout).Should(BeFalse())
		must(t, h.Release(t.Context()))
		if !loads(t, s.Cache, key) {
			t.Error("the release of a hold that had ended invalidated nothing")
		}
		late := mustHold(t, s, ttl, key)
		s.elapse(ttl)
		NewWithT(t).Eventually(func() bool { return loads(t, s.Cache, key) }).WithTimeout(waitTimeout).Should(BeFalse())
		if err := late.Release(t.Context()); err != nil || !errors.Is(late.Err(), cache.ErrHoldLost) {
			t.Errorf("a release that comes too late: %v, and the hold says %v", err, late.Err())
		}
	})
}

func TestOneOfTwoHoldsGoesOn(t *testing.T) {
	forEachCache(t, func(t *testing.T, s subject) {
		s.setPolicy("users", everything(time.Hour))
		key := cache.Key{Module: "users", Operation: "get"}
		first, second := mustHold(t, s, longHold, key), mustHold(t, s, longHold, cache.Scope{Module: "users"}, key)
		must(t, first.Release(t.Context()))
		if !loads(t, s.Cache, key) || !loads(t, s.other, key) {
			t.Error("the release of another hold ended it")
		}
		must(t, second.Release(t.Context()))
		if !loads(t, s.Cache, key) || loads(t, s.Cache, key) {
			t.Error("it is not cached after both")
		}
		for _, h := range []cache.Hold{first, second} {
			if h.Err() != nil || h.Renew(t.Context(), longHold) == nil {
				t.Errorf("a released hold says %v, and can be renewed", h.Err())
			}
		}
	})
}

func TestHoldsThatCannotBeAreRefused(t *testing.T) {
	forEachCache(t, func(t *testing.T, s subject) {
		s.setPolicy("users", everything(time.Hour))
		key := cache.Key{Module: "users", Operation: "get"}
		for name, test := range map[string]struct {
			ttl time.Duration
			on  []cache.Covered
		}{
			"of no time":          {0, []cache.Covered{key}},
			"of too much time":    {registry.MaxHold + 1, []cache.Covered{key}},
			"of nothing":          {longHold, nil},
			"of nil":              {longHold, []cache.Covered{nil}},
			"of a pointer":        {longHold, []cache.Covered{&key}},
			"of no module":        {longHold, []cache.Covered{key, cache.Scope{Operation: "get"}}},
			"of no operation":     {longHold, []cache.Covered{cache.Key{Module: "users"}}},
			"of a key of no name": {longHold, []cache.Covered{cache.Key{Module: "users", Operation: "get", Params: math.NaN()}}},
		} {
			h, err := s.Cache.(cache.Holder).Hold(t.Context(), test.ttl, test.on...)
			if err == nil || h == nil || !errors.Is(h.Err(), err) {
				t.Errorf("%s: %v, %v", name, h, err)
				continue
			}
			loads(t, s.Cache, key)
			if loads(t, s.Cache, key) {
				t.Errorf("%s: it is held", name)
			}
			_ = h.Release(t.Context())
		}
	})
}

func TestAHoldOfWhatHasNoPolicyIsHarmless(t *testing.T) {
	forEachCache(t, func(t *testing.T, s subject) {
		key := cache.Key{Module: "nowhere", Operation: "get"}
		h := mustHold(t, s, longHold, key, cache.Scope{Module: "nowhere"})
		if !loads(t, s.Cache, key) {
			t.Error("it is cached")
		}
		must(t, h.Release(t.Context()))
		s.setPolicy("nowhere", everything(time.Hour))
		if h.Err() != nil || !loads(t, s.Cache, key) || loads(t, s.other, key) {
			t.Errorf("it is not cached after the release; the hold says %v", h.Err())
		}
	})
}

// One call to Redis takes 64 things.
func TestAHoldOfManyThings(t *testing.T) {
	forEachCache(t, func(t *testing.T, s subject) {
		s.setPolicy("users", everything(time.Hour))
		var on []cache.Covered
		for i := range 150 {
			on = append(on, cache.Key{Module: "users", Operation: "get", Params: i})
		}
		h := mustHold(t, s, longHold, on...)
		for _, held := range []bool{true, false} {
			for _, thing := range []cache.Covered{on[0], on[64], on[149]} {
				key := thing.(cache.Key)
				loads(t, s.Cache, key)
				if loads(t, s.other, key) != held {
					t.Errorf("%v: held is %v, want %v", key.Params, !held, held)
				}
			}
			must(t, h.Release(t.Context()))
		}
		if h.Err() != nil {
			t.Error(h.Err())
		}
	})
}

// What is held may change at any moment, so nobody gets what was loaded before it came.
func TestCallersOfWhatIsHeldShareLoadsThatBeginAfterThem(t *testing.T) {
	forEachCache(t, func(t *testing.T, s subject) {
		s.setPolicy("users", everything(time.Hour))
		key := cache.Key{Module: "users", Operation: "get"}
		mustHold(t, s, longHold, key)
		var moment, calls atomic.Int64
		var callers sync.WaitGroup
		for range 50 {
			callers.Go(func() {
				came := moment.Add(1)
				got, err := cache.Fetch(t.Context(), s.Cache, key, func(context.Context) (int64, error) {
					calls.Add(1)
					now := moment.Add(1)
					time.Sleep(10 * time.Millisecond)
					return now, nil
				})
				if err != nil || got < came {
					t.Errorf("came at %d, got %d, %v", came, got, err)
				}
			})
		}
		callers.Wait()
		if calls.Load() > 40 {
			t.Errorf("%d loads for 50 callers", calls.Load())
		}
	})
}

func TestHeldReadsAreCounted(t *testing.T) {
	for name, on := range map[string]cache.Scope{
		"a module": {Module: "users"}, "an operation": {Module: "users", Operation: "get"},
	} {
		t.Run(name, func(t *testing.T) {
			forEachCache(t, func(t *testing.T, s subject) {
				s.setPolicy("users", registry.Policy{Operations: []registry.OperationPolicy{{Name: "get", TTL: time.Hour}}})
				for _, ttl := range []time.Duration{time.Minute, longHold, time.Minute} {
					mustHold(t, s, ttl, on)
				}
				for range 3 {
					loads(t, s.Cache, cache.Key{Module: "users", Operation: "get"})
				}
				stats, err := s.Stats(t.Context(), "users")
				must(t, err)
				o := stats[0].Operations[0]
				if o.HeldReads != 3 || o.Misses != 0 || o.Held <= longHold-time.Minute || o.Held > longHold {
					t.Errorf("got %+v", o)
				}
			})
		})
	}
}

// What a hold covers and the policy does not cache is no read that the hold refused, and no miss.
func TestReadsOfWhatIsNotCachedAreNotCounted(t *testing.T) {
	forEachCache(t, func(t *testing.T, s subject) {
		s.setPolicy("users", registry.Policy{Operations: []registry.OperationPolicy{
			{Name: "never"}, {Name: "ofUsers", TTL: time.Hour, Scope: registry.ScopeUser},
		}})
		loads(t, s.Cache, cache.Key{Module: "users", Operation: "never"})
		mustHold(t, s, longHold, cache.Scope{Module: "users"})
		for _, operation := range []string{"never", "ofUsers"} {
			loads(t, s.Cache, cache.Key{Module: "users", Operation: operation})
		}
		stats, err := s.Stats(t.Context(), "users")
		must(t, err)
		for _, o := range stats[0].Operations {
			if o.HeldReads != 0 || o.Misses != 0 {
				t.Errorf("got %+v", o)
			}
		}
	})
}

func TestHoldsOfAFakeThatFails(t *testing.T) {
	fake := cachetest.New(cachetest.WithDefaultTTL(time.Hour))
	key := cache.Key{Module: "users", Operation: "get"}
	loads(t, fake, key)
	h, err := fake.Hold(t.Context(), longHold, key)
	must(t, err)
	down := errors.New("down")
	fake.Fail(down)
	if err := h.Renew(t.Context(), longHold); !errors.Is(err, down) || h.Err() != nil {
		t.Errorf("Renew: %v, Err: %v", err, h.Err())
	}
	if err := h.Release(t.Context()); !errors.Is(err, cache.ErrQueued) {
		t.Errorf("Release: %v, want ErrQueued", err)
	}
	failed, err := fake.Hold(t.Context(), longHold, key)
	if !errors.Is(err, down) {
		t.Errorf("Hold: %v", err)
	}
	fake.Fail(nil)
	if !loads(t, fake, key) || loads(t, fake, key) {
		t.Error("what was held is not cached after the release")
	}
	must(t, failed.Release(t.Context()))
	if !loads(t, fake, key) {
		t.Error("the release of a hold that failed invalidated nothing")
	}
	var methods []string
	for _, call := range fake.Calls() {
		if len(call.Covered) > 0 {
			methods = append(methods, call.Method)
			if call.Covered[0] != cache.Covered(key) {
				t.Errorf("%s is recorded of %v", call.Method, call.Covered)
			}
		}
	}
	NewWithT(t).Expect(methods).To(Equal([]string{"Hold", "Renew", "Release", "Hold", "Release"}))
}
