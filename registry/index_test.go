// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/onsi/gomega"
	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"
)

// Whatever is filled, filled again, deleted, invalidated or shortened: the count is what lives.
func TestCountsAreExact(t *testing.T) {
	r, _ := newRegistry(t)
	runs := 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		slot := Slot{Namespace: "shop", Module: fmt.Sprint("counted", runs)}
		policy := Policy{Operations: []OperationPolicy{{Name: "list", TTL: time.Hour, StaleFor: time.Hour, JitterPercent: 50}}}
		apply(t, r, slot, policy)
		live := map[Key]bool{}
		id, user := rapid.IntRange(0, 40), rapid.SampledFrom([]string{"", "", "u", "v"})
		tokens := map[Key]Token{} // of loads in progress
		key := func(rt *rapid.T) Key {
			return Key{Slot: slot, Operation: "list", ID: strconv.Itoa(id.Draw(rt, "id")), User: user.Draw(rt, "user")}
		}
		forget := func(scope Scope) {
			invalidate(t, r, slot, scope)
			maps.DeleteFunc(live, func(k Key, _ bool) bool { return covers(slot, scope, k) })
		}
		rt.Repeat(map[string]func(*rapid.T){
			"fill":                   func(rt *rapid.T) { k := key(rt); fill(t, r, k, "x"); live[k] = true },
			"fill what may be there": func(rt *rapid.T) { k := key(rt); refill(t, r, k); live[k] = true },
			"begin to load": func(rt *rapid.T) {
				k := key(rt)
				if lookup := lease(t, r, k); !lookup.Hit {
					tokens[k] = lookup.Token
				}
			},
			"fill what was loaded": func(rt *rapid.T) {
				for k, token := range tokens {
					filled, err := r.Set(t.Context(), k, []byte("loaded"), token)
					if err != nil || filled.Outcome != Stored && filled.Outcome != Fenced {
						rt.Fatalf("filling %v: %v (%v)", k, filled.Outcome, err)
					}
					live[k] = live[k] || filled.Outcome == Stored
				}
				clear(tokens)
				maps.DeleteFunc(live, func(_ Key, there bool) bool { return !there })
			},
			"delete": func(rt *rapid.T) {
				k := key(rt)
				if deleted, err := r.Delete(t.Context(), k); err != nil || deleted != live[k] {
					rt.Fatalf("deleted %v (%v), it was there: %v", deleted, err, live[k])
				}
				delete(live, k)
			},
			"invalidate a user":             func(*rapid.T) { forget(Scope{User: "u"}) },
			"invalidate a user's operation": func(*rapid.T) { forget(Scope{User: "v", Operation: "list"}) },
			"invalidate the operation":      func(*rapid.T) { forget(Scope{Operation: "list"}) },
			"invalidate the module":         func(*rapid.T) { forget(Scope{}) },
			"make the operation stale":      func(*rapid.T) { _, _ = r.Invalidate(t.Context(), slot, Scope{Operation: "list"}, ModeSoft, "") },
			"let entries live less, or more": func(rt *rapid.T) {
				policy.Operations[0].TTL = rapid.SampledFrom([]time.Duration{time.Minute, time.Hour, 10 * time.Hour}).Draw(rt, "ttl")
				apply(t, r, slot, policy)
			},
			"reclaim": func(*rapid.T) { reclaimAll(t, r, slot) },
			"": func(rt *rapid.T) {
				stats, err := r.Stats(t.Context(), slot)
				if err != nil || stats.Keys != int64(len(live)) || stats.Operations["list"].Keys != int64(len(live)) {
					rt.Fatalf("%d keys (%v), want the %d of %v", stats.Keys, err, len(live), slices.Collect(maps.Keys(live)))
				}
				for _, scope := range []Scope{{User: "u"}, {User: "v"}, {Operation: "list", User: "u"}} {
					want := int64(0)
					for k := range live {
						if covers(slot, scope, k) {
							want++
						}
					}
					if counted, err := r.Invalidate(t.Context(), slot, scope, ModeDry, ""); err != nil || counted.Keys != want {
						rt.Fatalf("%+v: %d keys (%v), want %d", scope, counted.Keys, err, want)
					}
				}
			},
		})
	})
}

// refill fills an entry, whether or not it is there.
func refill(t *testing.T, r *Registry, key Key) {
	t.Helper()
	another := key
	another.ID = "never filled"
	filled, err := r.Set(t.Context(), key, []byte("again"), lease(t, r, another).Token)
	if err != nil || filled.Outcome != Stored {
		t.Fatalf("filling %q again: %v, %v", key, filled.Outcome, err)
	}
}

// Chunks that are full are counted too, and give up members.
func TestCountsOfManyAreExact(t *testing.T) {
	r, _ := newRegistry(t)
	apply(t, r, users, caching())
	fillMany(t, r, "list", "", 3000)
	for i := range 100 {
		refill(t, r, entry("list", fmt.Sprint(i*7), ""))
	}
	for i := range 1000 {
		if _, err := r.Delete(t.Context(), entry("list", fmt.Sprint(i*2), "")); err != nil {
			t.Fatal(err)
		}
	}
	apply(t, r, users, Policy{Operations: []OperationPolicy{{Name: "list", TTL: time.Second * 3000}}})
	for {
		stats, err := r.Stats(t.Context(), users)
		if err != nil || stats.Keys != 2000 {
			t.Fatalf("%d keys, %d pending (%v), want 2000", stats.Keys, stats.Pending, err)
		}
		if stats.Pending == 0 {
			break
		}
		if _, err := r.Reclaim(t.Context(), users, 200); err != nil {
			t.Fatal(err)
		}
	}
	if result := invalidate(t, r, users, Scope{Operation: "list"}); result != (Invalidated{Keys: 2000, Pending: 2000}) {
		t.Errorf("got %+v", result)
	}
}

// A primary that returns goes on with chunks that another has filled in between.
func TestCountsAreExactAfterAFailoverAndBack(t *testing.T) {
	t.Parallel()
	servers := replicated(t)
	filled := 0
	fillAt := func(at, count int) {
		t.Helper()
		r := New(servers[at].Client())
		token := lease(t, r, entry("list", "token", "")).Token
		for range count {
			set(t, r, entry("list", fmt.Sprint(filled), ""), token)
			filled++
		}
		servers[at].WaitReplicated()
		if stats, err := r.Stats(t.Context(), users); err != nil || stats.Keys != int64(filled) {
			t.Fatalf("%d keys (%v), want %d", stats.Keys, err, filled)
		}
	}
	apply(t, registryOn(t, servers[0].Client()), users, Policy{DefaultTTL: new(time.Hour)})
	fillAt(0, 10)
	promote(t, servers, 1)
	fillAt(1, 600)
	promote(t, servers, 0)
	fillAt(0, 10)
	fillAt(0, 600)
}

// When the module's head is evicted, what operations list is not live any more, nor is it counted.
func TestCountsLeaveOutWhatAnEvictedHeadCovered(t *testing.T) {
	r, client := newRegistry(t)
	apply(t, r, users, caching())
	fillMany(t, r, "list", "", 10)
	fillMany(t, r, "other", "", 5)
	client.Del(t.Context(), keyOf(users)+":m")
	fillAll(t, r, entry("list", "again", ""))
	fillAll(t, r, entry("other", "again", ""))
	if stats, err := r.Stats(t.Context(), users); err != nil || stats.Keys != 2 {
		t.Errorf("%d keys (%v), want 2", stats.Keys, err)
	}
	if freed := reclaimAll(t, r, users); freed != 15 {
		t.Errorf("%d were freed, want 15", freed)
	}
}

// While entries expire, the count goes with them: never more than were there a moment ago, never
// fewer than are there a moment later.
func TestCountsFollowExpiry(t *testing.T) {
	r, client := newRegistry(t)
	apply(t, r, users, Policy{Operations: []OperationPolicy{{Name: "list", TTL: time.Second, JitterPercent: 50}}})
	fillMany(t, r, "list", "", 200)
	gomega.NewWithT(t).Eventually(func() int64 {
		before := keyCount(t, client, users, "e:")
		stats, err := r.Stats(t.Context(), users)
		after := keyCount(t, client, users, "e:")
		if err != nil || stats.Keys > int64(before) || stats.Keys < int64(after) {
			t.Errorf("%d keys (%v) between %d and %d", stats.Keys, err, before, after)
		}
		return stats.Keys
	}).WithTimeout(10 * time.Second).WithPolling(time.Millisecond).Should(gomega.BeZero())
}

// An entry that is deleted and filled again and again is listed once.
func TestAnIndexDoesNotGrowWithDeletions(t *testing.T) {
	r, client := newRegistry(t)
	apply(t, r, users, caching())
	hot := entry("list", "hot", "")
	for range 600 {
		fill(t, r, hot, "x")
		if _, err := r.Delete(t.Context(), hot); err != nil {
			t.Fatal(err)
		}
	}
	fill(t, r, hot, "x")
	if listed := listedMembers(t, client, users); listed != 1 {
		t.Errorf("the index lists %d members, want 1", listed)
	}
}

func listedMembers(t *testing.T, client *redis.Client, slot Slot) (members int64) {
	t.Helper()
	for _, key := range keysOf(t, client, slot) {
		if strings.HasPrefix(key, "i:") && client.Type(t.Context(), keyOf(slot)+":"+key).Val() == "list" {
			members += client.LLen(t.Context(), keyOf(slot)+":"+key).Val()
		}
	}
	return members
}

// What the index takes for each entry, keys and all: less than half of what a sorted set takes.
func TestAnIndexTakesLessThan64BytesAnEntry(t *testing.T) {
	const entries = 20_000
	r, client := newRegistry(t)
	apply(t, r, users, caching())
	pipe, token := client.Pipeline(), leaseAnew(t, r, entry("list", "token", ""))
	for i := range entries {
		id := fmt.Sprintf("%024d", i) // as long as those of package cache
		pipe.Do(t.Context(), "FCALL", "cw_set", 1, keyOf(users), "list", id, "", "x", string(token))
		if pipe.Len() == 1000 {
			if _, err := pipe.Exec(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if listed := listedMembers(t, client, users); listed != entries {
		t.Fatalf("%d are listed", listed)
	}
	before := usedMemory(t, client)
	for _, key := range keysOf(t, client, users) {
		if strings.HasPrefix(key, "i:") {
			client.Del(t.Context(), keyOf(users)+":"+key)
		}
	}
	each := float64(before-usedMemory(t, client)) / entries
	t.Logf("%.1f bytes an entry", each)
	if each >= 64 || each < 24 {
		t.Errorf("%.1f bytes an entry, want less than 64", each)
	}
}

func usedMemory(t testing.TB, client *redis.Client) int64 {
	t.Helper()
	info := client.InfoMap(context.Background(), "memory")
	bytes, err := strconv.ParseInt(info.Item("Memory", "used_memory"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return bytes
}
