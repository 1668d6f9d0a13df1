// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"fmt"
	"testing"
	"time"

	"github.com/onsi/gomega"
)

func softly(t testing.TB, r *Registry, scope Scope) Invalidated {
	t.Helper()
	result, err := r.Invalidate(t.Context(), users, scope, ModeSoft, "")
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// After its TTL an entry is stale for staleFor: each reader gets it, and one of them gets a token
// to reload it.
func TestStaleWhileRevalidate(t *testing.T) {
	r, _ := newRegistry(t)
	apply(t, r, users, Policy{Operations: []OperationPolicy{{Name: "list", TTL: 100 * time.Millisecond, StaleFor: time.Hour}}})
	key := entry("list", "a", "u")
	fill(t, r, key, "old")
	eventually(t, func() bool {
		lookup, err := r.Read(t.Context(), key)
		return err == nil && lookup.Hit && lookup.Stale
	}).Should(gomega.BeTrue())

	refresh := lease(t, r, key)
	if !refresh.Hit || !refresh.Stale || string(refresh.Payload) != "old" || refresh.Token == "" {
		t.Fatalf("the first reader got %+v, want the old value and a token", refresh)
	}
	if other := lease(t, r, key); !other.Hit || !other.Stale || other.Token != "" {
		t.Fatalf("the second reader got %+v, want the old value and no token", other)
	}
	if filled, err := r.Set(t.Context(), key, []byte("new"), refresh.Token); err != nil || filled.Outcome != Stored {
		t.Fatalf("the refresh was %v (%v)", filled.Outcome, err)
	}
	if lookup, err := r.Read(t.Context(), key); err != nil || string(lookup.Payload) != "new" {
		t.Errorf("got %+v (%v)", lookup, err)
	}
}

// A soft invalidation makes exactly what it names stale and fences loads in progress.
func TestSoftInvalidationMakesStaleExactlyWhatItNames(t *testing.T) {
	r, _ := newRegistry(t)
	apply(t, r, users, caching())
	keys := []Key{
		entry("list", "a", ""), entry("list", "a", "u"), entry("list", "a", "v"),
		entry("profile", "a", ""), entry("profile", "a", "u"), entry("profile", "a", "v"),
	}
	for _, scope := range []Scope{{}, {Operation: "list"}, {User: "u"}, {Operation: "list", User: "u"}} {
		t.Run(fmt.Sprintf("%+v", scope), func(t *testing.T) {
			invalidate(t, r, users, Scope{})
			fillAll(t, r, keys...)
			loading := entry("list", "loading", "u")
			token := leaseAnew(t, r, loading)
			want := int64(0)
			for _, key := range keys {
				if covers(users, scope, key) {
					want++
				}
			}
			if result := softly(t, r, scope); result != (Invalidated{Keys: want}) {
				t.Errorf("got %+v, want %d keys", result, want)
			}
			for _, key := range keys {
				lookup, err := r.Read(t.Context(), key)
				if err != nil || !lookup.Hit || lookup.Stale != covers(users, scope, key) {
					t.Errorf("%q: hit %v, stale %v (%v)", key, lookup.Hit, lookup.Stale, err)
				}
			}
			if filled, err := r.Set(t.Context(), loading, []byte("x"), token); err != nil || filled.Outcome != Fenced {
				t.Errorf("a load that began before was %v (%v)", filled.Outcome, err)
			}
			for _, key := range keys {
				lookup := lease(t, r, key)
				if lookup.Token == "" {
					continue
				}
				if filled, err := r.Set(t.Context(), key, []byte("new"), lookup.Token); err != nil || filled.Outcome != Stored {
					t.Errorf("the refresh of %q was %v (%v)", key, filled.Outcome, err)
				}
			}
			for _, key := range keys {
				if lookup, err := r.Read(t.Context(), key); err != nil || !lookup.Hit || lookup.Stale {
					t.Errorf("%q after its refresh: %+v (%v)", key, lookup, err)
				}
			}
		})
	}
}

// Whatever is evicted, a soft invalidation leaves nothing fresh that it covers.
func TestEvictionBeforeASoftInvalidationLeavesNothingFresh(t *testing.T) {
	r, client := newRegistry(t)
	keys := []Key{entry("list", "a", ""), entry("list", "b", "u"), entry("profile", "c", "u")}
	prepare := func() {
		if err := client.FlushDB(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		apply(t, r, users, caching())
		fillAll(t, r, keys...)
	}
	prepare()
	for _, evicted := range keysOf(t, client, users) {
		for _, scope := range []Scope{{}, {Operation: "list"}, {User: "u"}, {Operation: "list", User: "u"}} {
			prepare()
			client.Del(t.Context(), keyOf(users)+":"+evicted)
			softly(t, r, scope)
			for _, key := range keys {
				lookup, err := r.Read(t.Context(), key)
				if err != nil || lookup.Hit && !lookup.Stale && covers(users, scope, key) {
					t.Errorf("%q evicted, %+v: %q is fresh (%v)", evicted, scope, key, err)
				}
			}
		}
	}
}

// One caller gets the load lock, the others learn how long it lasts; its end is bounded.
func TestLoadLock(t *testing.T) {
	r, _ := newRegistry(t)
	apply(t, r, users, caching())
	key := entry("list", "a", "")
	locked := func(lock time.Duration) Lookup {
		t.Helper()
		lookup, err := r.LeaseLocked(t.Context(), key, lock)
		if err != nil {
			t.Fatal(err)
		}
		return lookup
	}
	owner, other := locked(time.Minute), locked(time.Minute)
	if owner.Wait != 0 || other.Wait <= 0 || other.Wait > time.Minute || other.Token == "" {
		t.Fatalf("the owner got %+v, the other %+v", owner, other)
	}
	if filled, err := r.Set(t.Context(), key, []byte("x"), owner.Token); err != nil || filled.Outcome != Stored {
		t.Fatal(filled, err)
	}
	if lookup := locked(time.Minute); !lookup.Hit {
		t.Error("the waiter finds nothing")
	}

	invalidate(t, r, users, Scope{})
	fenced := locked(time.Minute)
	invalidate(t, r, users, Scope{})
	if filled, err := r.Set(t.Context(), key, []byte("x"), fenced.Token); err != nil || filled.Outcome != Fenced {
		t.Fatal(filled, err)
	}
	// Nobody waits for a load that will be fenced.
	locked(time.Minute)
	invalidate(t, r, users, Scope{Operation: "list"})
	if locked(time.Minute).Wait != 0 {
		t.Error("a lock outlived the invalidation of what is being loaded")
	}
	if err := r.Unlock(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	failed := locked(time.Minute)
	if failed.Wait != 0 {
		t.Error("a fenced fill kept the lock")
	}
	if err := r.Unlock(t.Context(), key); err != nil || locked(50*time.Millisecond).Wait != 0 {
		t.Error("a lock that was released is held")
	}
	eventually(t, func() time.Duration { return locked(50 * time.Millisecond).Wait }).Should(gomega.BeZero())
}

// Those who wait see by a read what LeaseLocked would tell them.
func TestReadShowsWhetherALoadLockIsHeld(t *testing.T) {
	for _, user := range []string{"", "ada"} {
		r, _ := newRegistry(t)
		apply(t, r, users, caching())
		key := entry("list", "a", user)
		lease := func() Lookup {
			t.Helper()
			lookup, err := r.LeaseLocked(t.Context(), key, time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			return lookup
		}
		expect := func(when string, hit, held bool) {
			t.Helper()
			lookup, locked, err := r.ReadLocked(t.Context(), key)
			if err != nil || lookup.Hit != hit || locked != held {
				t.Errorf("user %q, %s: hit %v, locked %v, %v, want hit %v, locked %v", user, when, lookup.Hit, locked, err, hit, held)
			}
		}
		expect("before anything", false, false)
		lease()
		expect("while somebody loads", false, true)
		fill(t, r, entry("list", "b", user), "payload")
		if deleted, err := r.Delete(t.Context(), entry("list", "b", user)); !deleted || err != nil {
			t.Fatal(deleted, err)
		}
		expect("when another entry was deleted", false, true)
		if err := r.Unlock(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		expect("after the lock was released", false, false)

		lease()
		invalidate(t, r, users, Scope{Operation: "list"})
		expect("after an invalidation", false, false)
		token := lease().Token
		expect("while somebody reloads", false, true)
		if _, err := r.Set(t.Context(), key, []byte("payload"), token); err != nil {
			t.Fatal(err)
		}
		expect("after the fill", true, false)
		lookup, _, err := r.ReadLocked(t.Context(), key)
		if byRead, readErr := r.Read(t.Context(), key); err != nil || readErr != nil || string(lookup.Payload) != string(byRead.Payload) {
			t.Errorf("got %q, %v, by Read %q, %v", lookup.Payload, err, byRead.Payload, readErr)
		}
	}
}

func TestNegativeEntries(t *testing.T) {
	r, _ := newRegistry(t)
	apply(t, r, users, Policy{Operations: []OperationPolicy{
		{Name: "getById", TTL: time.Hour, StaleFor: time.Hour, NegativeTTL: time.Minute}, {Name: "list", TTL: time.Hour},
	}})
	key := entry("getById", "nobody", "")
	filled, err := r.SetNegative(t.Context(), key, nil, lease(t, r, key).Token)
	if err != nil || filled != (Filled{Outcome: Stored, TTL: time.Minute}) {
		t.Fatalf("got %+v (%v)", filled, err)
	}
	if lookup, err := r.Read(t.Context(), key); err != nil || !lookup.Hit || !lookup.Negative || lookup.Remaining > time.Minute {
		t.Errorf("by MGET: %+v (%v)", lookup, err)
	}
	if lookup := lease(t, r, key); !lookup.Hit || !lookup.Negative {
		t.Errorf("by the library: %+v", lookup)
	}
	key = entry("list", "a", "")
	if filled, err := r.SetNegative(t.Context(), key, nil, lease(t, r, key).Token); err != nil || filled.Outcome != Disabled {
		t.Errorf("without a negative TTL: %+v (%v)", filled, err)
	}
}

// Where the time an entry may be there stays, but it may not be fresh for so long, it turns stale.
func TestALoweredTTLUnderALongerStaleForMakesStale(t *testing.T) {
	r, _ := newRegistry(t)
	policy := func(ttl, stale time.Duration) Policy {
		return Policy{Operations: []OperationPolicy{{Name: "list", TTL: ttl, StaleFor: stale}}}
	}
	apply(t, r, users, policy(time.Hour, 0))
	key := entry("list", "a", "")
	fillAll(t, r, key)
	apply(t, r, users, policy(time.Minute, 2*time.Hour))
	if lookup, err := r.Read(t.Context(), key); err != nil || !lookup.Hit || !lookup.Stale {
		t.Errorf("got %+v (%v), want a stale entry", lookup, err)
	}
	fill(t, r, entry("list", "b", ""), "x")
	apply(t, r, users, policy(time.Second, time.Hour))
	if lookup, err := r.Read(t.Context(), entry("list", "b", "")); err != nil || lookup.Remaining > time.Second {
		t.Errorf("got %+v (%v), want at most a second of freshness", lookup, err)
	}
}
