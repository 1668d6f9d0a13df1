// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry/internal/fault"
	"github.com/cachewright/cachewright/registry/internal/keyspace"
)

// Invented counters of operations do not make statistics slower, and are dropped; those that are
// not numbers restart.
func TestStrangeCountersAreDropped(t *testing.T) {
	r, client := bounded(t)
	apply(t, r, users, caching())
	counters := keyOf(users) + ":counters"
	manyFields(t, client, counters, "misses:%d")
	if stats, err := r.Stats(t.Context(), users); err != nil || len(stats.Operations) > 0 {
		t.Errorf("figures of %d operations (%v)", len(stats.Operations), err)
	}
	everyCall(t, r, client)
	if fields := client.HLen(t.Context(), counters).Val(); fields > 100 {
		t.Errorf("%d fields are left", fields)
	}

	key := entry("list", "a", "")
	fillAll(t, r, key)
	client.HSet(t.Context(), counters, "hits:list", "many", "unlisted", "x", "fills:list", "9223372036854775807", "nan:list", "1", "misses:"+strings.Repeat("x", 200), "1")
	for range 3 {
		lease(t, r, key)
	}
	refill(t, r, key)
	invalidate(t, r, users, Scope{User: "u"})
	stats, err := r.Stats(t.Context(), users)
	if got := stats.Operations["list"]; err != nil || got.Hits != 3 || got.Fills != 1 || len(stats.Operations) != 2 {
		t.Errorf("got %+v (%v)", stats, err)
	}
}

// A purge of a user, or of an operation of it, takes effect before anything else of the slot can be
// in its way.
func TestAUsersPurgeTakesEffectAmidGarbage(t *testing.T) {
	for name, write := range map[string]func(*testing.T, *redis.Client, string){
		"an index of another type": func(t *testing.T, c *redis.Client, index string) { damage(t, c, index) },
		"strange members": func(t *testing.T, c *redis.Client, index string) {
			for _, member := range []string{"", "x", "4:list", "4:list:", "9999999999:list:0::a", "4:list:1:u:", "04:list:1:u:a", strings.Repeat("x", 1<<20)} {
				c.ZAdd(t.Context(), index, redis.Z{Score: 1e18, Member: member})
			}
		},
		"scores without an end": func(t *testing.T, c *redis.Client, index string) {
			c.ZAdd(t.Context(), index, redis.Z{Score: 1e308, Member: "4:list:1:u:b"})
		},
		"a hundred thousand members": func(t *testing.T, c *redis.Client, index string) {
			members := make([]redis.Z, 100_000)
			for i := range members {
				members[i] = redis.Z{Score: float64(i), Member: fmt.Sprintf("4:list:1:u:%d", i)}
			}
			c.ZAdd(t.Context(), index, members...)
		},
		"chunks of another type": func(t *testing.T, c *redis.Client, _ string) {
			for _, key := range keysOf(t, c, users) {
				if strings.HasPrefix(key, "i:") {
					damage(t, c, keyOf(users)+":"+key)
				}
			}
		},
	} {
		for _, scope := range []Scope{{User: "u"}, {User: "u", Operation: "list"}} {
			t.Run(fmt.Sprintf("%s %+v", name, scope), func(t *testing.T) {
				r, client := bounded(t)
				apply(t, r, users, caching())
				fillAll(t, r, entry("list", "a", "u"), entry("other", "a", "v"))
				write(t, client, keyOf(users)+":iu:u")
				wantBounded(t, client, "the purge", func() error { _, err := r.Invalidate(t.Context(), users, scope, ModeHard, ""); return err })
				if isHit(t, r, entry("list", "a", "u")) || !isHit(t, r, entry("other", "a", "v")) {
					t.Error("it took something else")
				}
				everyCall(t, r, client)
			})
		}
	}
}

// Keys of another type, each key of a slot in its turn: each call makes its way, and what is cached
// after that works.
func TestEachCallMakesItsWayThroughKeysOfAnotherType(t *testing.T) {
	r, client := bounded(t)
	ctx := t.Context()
	fillUp := func() {
		client.FlushDB(ctx)
		apply(t, r, users, editedPolicy())
		fillMany(t, r, "one", "", 200)
		invalidate(t, r, users, Scope{Operation: "one"})
		fillAll(t, r, entry("list", "a", "u"), entry("list", "b", ""), entry("one", "b", ""))
		if _, err := r.LeaseLocked(ctx, entry("list", "c", "u"), time.Minute); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Delete(ctx, entry("list", "b", "")); err != nil {
			t.Fatal(err)
		}
		fillAll(t, r, entry("list", "b", ""))
	}
	for i := 0; ; i++ {
		fillUp()
		names := keysOf(t, client, users)
		sortByKind(names)
		if i == len(names) {
			break
		}
		if strings.HasPrefix(names[i], "e:3:one:0::") && i%20 != 0 {
			continue
		}
		damage(t, client, keyOf(users)+":"+names[i])
		everyCall(t, r, client)
		key := entry("list", "new", "w")
		fillAll(t, r, key)
		if !isHit(t, r, key) {
			t.Errorf("%s: nothing is cached", names[i])
		}
	}
}

// sortByKind sorts names so that epochs, which differ each time, do not matter.
func sortByKind(names []string) {
	kind := func(name string) string {
		if strings.HasPrefix(name, "i:") {
			return fmt.Sprint("i:", strings.Count(name, ":"))
		}
		return name
	}
	for i := range names {
		for j := i; j > 0 && kind(names[j]) < kind(names[j-1]); j-- {
			names[j], names[j-1] = names[j-1], names[j]
		}
	}
}

// A log of deletions that others wrote, or that is long, fences loads and stands in the way of
// nothing.
func TestAStrangeDeletionLogFencesLoads(t *testing.T) {
	for name, write := range map[string]func(redis.UniversalClient, string){
		"a list of a million": func(c redis.UniversalClient, log string) {
			c.Del(t.Context(), log)
			pushTimes(t, c, log, "FFFFFFFFFFF0123456789abcdef", 1_000_000)
		},
		"no records": func(c redis.UniversalClient, log string) { c.Set(t.Context(), log, "x", time.Hour) },
		"a megabyte of it": func(c redis.UniversalClient, log string) {
			c.Set(t.Context(), log, strings.Repeat("x", 1<<20), time.Hour)
		},
		"records of others": func(c redis.UniversalClient, log string) {
			c.Set(t.Context(), log, strings.Repeat("x", 27*500), time.Hour)
		},
	} {
		r, client := bounded(t)
		apply(t, r, users, caching())
		key, log := entry("list", "a", ""), keyOf(users)+":d:list"
		token := lease(t, r, key).Token
		if _, err := r.Delete(t.Context(), entry("list", "b", "")); err != nil {
			t.Fatal(err)
		}
		write(client, log)
		if filled, err := r.Set(t.Context(), key, nil, token); err != nil || filled.Outcome != Fenced {
			t.Errorf("%s: the load was %s (%v)", name, filled.Outcome, err)
		}
		for range 300 {
			if _, err := r.Delete(t.Context(), entry("list", "b", "")); err != nil {
				t.Fatal(err)
			}
		}
		if length := client.StrLen(t.Context(), log).Val(); length > 256*27 {
			t.Errorf("%s: it has %d bytes", name, length)
		}
		token = lease(t, r, key).Token
		if _, err := r.Delete(t.Context(), entry("list", "b", "")); err != nil {
			t.Fatal(err)
		}
		if filled, err := r.Set(t.Context(), key, nil, token); err != nil || filled.Outcome != Stored {
			t.Errorf("%s: in the end a load was %s (%v)", name, filled.Outcome, err)
		}
	}
}

// A rule that was edited to an impossible value does not count.
func TestARuleOutOfBoundsIsNoRule(t *testing.T) {
	r, client := bounded(t)
	for _, rule := range []string{
		"99999999999999 0 0 0 Any 1", "60000 99999999999999 0 0 Any 9", "60000 0 99999999999999 0 Any 9", "60000 0 0 51 Any 9",
		"60000 0 0 0 Tenant 9", "60000 0 0 0 Any 99999999999999", "1e3 0 0 0 Any 9", "-1 0 0 0 Any 9", "", "60000", strings.Repeat("9", 1<<20),
	} {
		apply(t, r, users, editedPolicy())
		client.HSet(t.Context(), policyKey(users), "o:mine", rule)
		if lookup := lease(t, r, entry("mine", "a", "")); lookup.Cacheable {
			t.Errorf("%.50q lets entries be cached", rule)
		}
		everyCall(t, r, client)
	}
	manyFields(t, client, policyKey(users), "o:%d")
	everyCall(t, r, client)
	if got := hashOf(t, r, users); got != editedPolicy().Hash() {
		t.Errorf("the policy was not put right: %q", got)
	}
}

// Invalid recorded answers do not count.
func TestAStrangeRecordedAnswerIsNone(t *testing.T) {
	r, client := bounded(t)
	apply(t, r, users, caching())
	for _, answer := range []string{"", "x", "1", "1 2 3 4", "99999999999999999999 0", "-1 0", strings.Repeat("1", 1<<20) + " 0"} {
		fillAll(t, r, entry("list", "a", ""))
		client.Set(t.Context(), keyspace.RequestKey(users, "again"), answer, time.Hour)
		result, err := r.Invalidate(t.Context(), users, Scope{}, ModeHard, "again")
		if err != nil || result.Keys != 1 || isHit(t, r, entry("list", "a", "")) {
			t.Errorf("%.20q: got %+v (%v)", answer, result, err)
		}
	}
}

// Whatever fails within a call, its error begins with CACHEWRIGHT, and is known for what it is.
func TestErrorsWithinACallBeginWithCACHEWRIGHT(t *testing.T) {
	server := redistest.Start(t)
	admin := server.Client()
	apply(t, registryOn(t, admin), users, caching())
	if err := admin.Do(t.Context(), "ACL", "SETUSER", "reader", "on", ">secret", "~cw:{shop*", "+fcall").Err(); err != nil {
		t.Fatal(err)
	}
	r := New(server.ClientAs("reader", "secret"))
	_, err := r.Lease(t.Context(), entry("list", "a", ""))
	if !errors.Is(err, ErrForbidden) || !strings.Contains(err.Error(), fault.FromLibrary) || ConcernsStore(err) {
		t.Errorf("got %v", err)
	}
}
