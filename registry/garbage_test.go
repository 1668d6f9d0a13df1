// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/internal/redistest"
)

// A tenant may write anything into the keys of its modules, and functions run with its rights. Whatever stands there: each call
// ends within its bound, and a purge takes effect.

// impatient is a registry that gives up soon on a call that does not end.
func impatient(t *testing.T) (*Registry, *redis.Client) {
	t.Helper()
	_, client := newRegistry(t)
	options := *client.Options()
	options.ReadTimeout, options.MaxRetries = 20*time.Second, -1
	hasty := redis.NewClient(&options)
	t.Cleanup(func() { _ = hasty.Close() })
	return New(hasty), hasty
}

// boundOfGarbage is how many commands a call may run where a module has a few operations.
const boundOfGarbage = 1500

func wantBounded(t *testing.T, client *redis.Client, what string, call func() error) {
	t.Helper()
	before := commandsRun(t, client)
	if err := call(); err != nil {
		t.Errorf("%s: %v", what, err)
	}
	if took := commandsRun(t, client) - before; took > boundOfGarbage {
		t.Errorf("%s takes %d commands", what, took)
	}
}

// everyCall makes the calls that go through what a slot holds.
func everyCall(t *testing.T, r *Registry, client *redis.Client) {
	t.Helper()
	ctx := t.Context()
	key := entry("list", "a", "u")
	wantBounded(t, client, "a lease", func() error { _, err := r.LeaseLocked(ctx, key, time.Minute); return err })
	wantBounded(t, client, "a fill", func() error {
		lookup, err := r.Lease(ctx, entry("list", "new", "u"))
		return errors.Join(err, setOnly(ctx, r, entry("list", "new", "u"), lookup.Token))
	})
	wantBounded(t, client, "a deletion", func() error { _, err := r.Delete(ctx, key); return err })
	wantBounded(t, client, "figures", func() error { _, err := r.Stats(ctx, users); return err })
	wantBounded(t, client, "the hash", func() error { _, err := r.PolicyHashes(ctx, []Slot{users}); return err })
	wantBounded(t, client, "reclaim", func() error { _, err := r.Reclaim(ctx, users, 200); return err })
	for _, mode := range []Mode{ModeDry, ModeSoft, ModeHard} {
		for _, scope := range []Scope{{Operation: "list", User: "u"}, {User: "u"}, {Operation: "list"}, {}} {
			wantBounded(t, client, fmt.Sprintf("%s %+v", mode, scope), func() error {
				_, err := r.Invalidate(ctx, users, scope, mode, "")
				return err
			})
		}
	}
	wantBounded(t, client, "a policy", func() error { _, err := r.ApplyPolicy(ctx, users, editedPolicy()); return err })
}

func setOnly(ctx context.Context, r *Registry, key Key, token Token) error {
	if token == "" {
		return nil
	}
	_, err := r.Set(ctx, key, []byte("x"), token)
	return err
}

func indexOf(t *testing.T, client *redis.Client) string {
	t.Helper()
	return users.key() + ":i:" + client.GetRange(t.Context(), users.key()+":o:list", 0, epochLen-1).Val()
}

// Slices that this library would not write, numbers of chunks that are none: the calls end, and drop them.
func TestCallsEndWhateverAnIndexSays(t *testing.T) {
	garbage := map[string]func(*testing.T, *redis.Client, string, string){
		"an open chunk that no index reaches": func(t *testing.T, c *redis.Client, index, slice string) {
			c.HSet(t.Context(), index, slice, "9007199254740990 5")
		},
		"more closed members than chunks": func(t *testing.T, c *redis.Client, index, slice string) {
			c.HSet(t.Context(), index, slice, "2 900719925474099")
		},
		"many empty chunks": func(t *testing.T, c *redis.Client, index, slice string) {
			c.HSet(t.Context(), index, slice, "65535 0")
		},
		"no numbers": func(t *testing.T, c *redis.Client, index, slice string) {
			c.HSet(t.Context(), index, slice, "", "0x10", "1 1", "-1", "1 1", "1e3", "1 1", "9007199254740990", "5 5", "007", "0 0", "", "1 1", "x", "y", "63", "0 0")
		},
		"a hundred thousand slices": func(t *testing.T, c *redis.Client, index, _ string) { manyFields(t, c, index, "%d") },
		"a slice of a megabyte": func(t *testing.T, c *redis.Client, index, _ string) {
			c.HSet(t.Context(), index, "1", strings.Repeat("1", 1<<20))
		},
	}
	for name, write := range garbage {
		t.Run(name, func(t *testing.T) {
			r, client := impatient(t)
			apply(t, r, users, editedPolicy())
			fillAll(t, r, entry("list", "a", "u"), entry("list", "b", ""))
			index := indexOf(t, client)
			write(t, client, index, client.HKeys(t.Context(), index).Val()[0])
			everyCall(t, r, client)
			fillAll(t, r, entry("list", "c", ""))
			if result := invalidate(t, r, users, Scope{}); result.Keys != 1 || isHit(t, r, entry("list", "c", "")) {
				t.Errorf("after it all a purge says %+v", result)
			}
		})
	}
}

func manyFields(t *testing.T, client *redis.Client, key, format string) {
	t.Helper()
	pipe := client.Pipeline()
	for i := range 100_000 {
		pipe.HSet(t.Context(), key, fmt.Sprintf(format, 1_000_000+i), "1 1")
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// A chunk may be as long as a tenant likes: it is not read, but dropped.
func TestAHugeChunkIsDropped(t *testing.T) {
	for name, member := range map[string]string{"of many members": "0::x", "of large members": strings.Repeat("x", 1<<20)} {
		t.Run(name, func(t *testing.T) {
			r, client := impatient(t)
			apply(t, r, users, editedPolicy())
			fillAll(t, r, entry("list", "a", "u"), entry("list", "b", ""))
			for _, key := range keysOf(t, client, users) {
				if strings.HasPrefix(key, "i:") && strings.HasSuffix(key, ":0") {
					repeatPush(t, client, users.key()+":"+key, member)
				}
			}
			everyCall(t, r, client)
			reclaimAll(t, r, users)
			if chunks := keyCount(t, client, users, "i:"); chunks > 2 {
				t.Errorf("%d keys of indexes are left: %q", chunks, keysOf(t, client, users))
			}
		})
	}
}

func repeatPush(t *testing.T, client *redis.Client, list, member string) {
	t.Helper()
	count := 1 << 20 / len(member) * 4
	members := make([]any, count)
	for i := range members {
		members[i] = member
	}
	if err := client.RPush(t.Context(), list, members...).Err(); err != nil {
		t.Fatal(err)
	}
}

// What is pending may be anything, and so many: what is no work goes, and the rest is done.
func TestStrangePendingWorkIsDropped(t *testing.T) {
	r, client := impatient(t)
	apply(t, r, users, editedPolicy())
	fillMany(t, r, "list", "", 300)
	pending := users.key() + ":pending"
	epoch := "MMMMMMMMMMM"
	client.RPush(t.Context(), pending, "", "x", "z:1:1:x", "o:1:1:", "o:9007199254740993:1:"+epoch+":list", "t:1:1:"+epoch+":-999:list",
		"s:1:1:"+epoch+":0x10:0:0:list", "s:1:1:"+epoch+":1:0:99999999:list", "s:1:1:x", "t:1:1:", "u:1:1:", strings.Repeat("o", 1<<20))
	invalidate(t, r, users, Scope{Operation: "list"})
	client.RPush(t.Context(), pending, "o:-1:1:", "\x00")
	if stats, err := r.Stats(t.Context(), users); err != nil || stats.Pending < 1 {
		t.Errorf("%d wait (%v)", stats.Pending, err)
	}
	if freed := reclaimAll(t, r, users); freed != 300 {
		t.Errorf("%d were freed", freed)
	}

	members := make([]any, 20_000)
	for i := range members {
		members[i] = "o:1:1:" + epoch + ":list"
	}
	client.RPush(t.Context(), pending, members...)
	wantBounded(t, client, "reclaim", func() error { _, err := r.Reclaim(t.Context(), users, 200); return err })
	if left := client.Exists(t.Context(), pending).Val(); left != 0 {
		t.Error("more pieces of work than there can be were kept")
	}
}

// Counters of operations that are invented do not make figures take longer, and go; those that are no numbers begin anew.
func TestStrangeCountersAreDropped(t *testing.T) {
	r, client := impatient(t)
	apply(t, r, users, caching())
	counters := users.key() + ":counters"
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

// A purge of a user, or of an operation of it, takes effect before anything else of the slot can be in its way.
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
					damage(t, c, users.key()+":"+key)
				}
			}
		},
	} {
		for _, scope := range []Scope{{User: "u"}, {User: "u", Operation: "list"}} {
			t.Run(fmt.Sprintf("%s %+v", name, scope), func(t *testing.T) {
				r, client := impatient(t)
				apply(t, r, users, caching())
				fillAll(t, r, entry("list", "a", "u"), entry("other", "a", "v"))
				write(t, client, users.key()+":iu:u")
				wantBounded(t, client, "the purge", func() error { _, err := r.Invalidate(t.Context(), users, scope, ModeHard, ""); return err })
				if isHit(t, r, entry("list", "a", "u")) || !isHit(t, r, entry("other", "a", "v")) {
					t.Error("it took something else")
				}
				everyCall(t, r, client)
			})
		}
	}
}

// Keys of another type, each key of a slot in its turn: each call makes its way, and what is cached after that works.
func TestEachCallMakesItsWayThroughKeysOfAnotherType(t *testing.T) {
	r, client := impatient(t)
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
		damage(t, client, users.key()+":"+names[i])
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

// A log of deletions that others wrote, or that is long, fences loads and stands in the way of nothing.
func TestAStrangeDeletionLogFencesLoads(t *testing.T) {
	for name, write := range map[string]func(redis.UniversalClient, string){
		"a list of a million": func(c redis.UniversalClient, log string) {
			c.Del(t.Context(), log)
			pushed := make([]any, 1_000_000)
			for i := range pushed {
				pushed[i] = "FFFFFFFFFFF0123456789abcdef"
			}
			c.RPush(t.Context(), log, pushed...)
		},
		"no records": func(c redis.UniversalClient, log string) { c.Set(t.Context(), log, "x", time.Hour) },
		"a megabyte of it": func(c redis.UniversalClient, log string) {
			c.Set(t.Context(), log, strings.Repeat("x", 1<<20), time.Hour)
		},
		"records of others": func(c redis.UniversalClient, log string) {
			c.Set(t.Context(), log, strings.Repeat("x", 27*500), time.Hour)
		},
	} {
		r, client := impatient(t)
		apply(t, r, users, caching())
		key, log := entry("list", "a", ""), users.key()+":d:list"
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

// A rule that was edited to what no policy says is none.
func TestARuleOutOfBoundsIsNoRule(t *testing.T) {
	r, client := impatient(t)
	for _, rule := range []string{
		"99999999999999 0 0 0 Any 1", "60000 99999999999999 0 0 Any 9", "60000 0 99999999999999 0 Any 9", "60000 0 0 51 Any 9",
		"60000 0 0 0 Tenant 9", "60000 0 0 0 Any 99999999999999", "1e3 0 0 0 Any 9", "-1 0 0 0 Any 9", "", "60000", strings.Repeat("9", 1<<20),
	} {
		apply(t, r, users, editedPolicy())
		client.HSet(t.Context(), users.policyKey(), "o:mine", rule)
		if lookup := lease(t, r, entry("mine", "a", "")); lookup.Cacheable {
			t.Errorf("%.50q lets entries be cached", rule)
		}
		everyCall(t, r, client)
	}
	manyFields(t, client, users.policyKey(), "o:%d")
	everyCall(t, r, client)
	if got := hashOf(t, r, users); got != editedPolicy().Hash() {
		t.Errorf("the policy was not put right: %q", got)
	}
}

// Answers that others recorded are none.
func TestAStrangeRecordedAnswerIsNone(t *testing.T) {
	r, client := impatient(t)
	apply(t, r, users, caching())
	for _, answer := range []string{"", "x", "1", "1 2 3 4", "99999999999999999999 0", "-1 0", strings.Repeat("1", 1<<20) + " 0"} {
		fillAll(t, r, entry("list", "a", ""))
		client.Set(t.Context(), users.requestKey("again"), answer, time.Hour)
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
	if !errors.Is(err, ErrForbidden) || !strings.Contains(err.Error(), fromLibrary) || ConcernsStore(err) {
		t.Errorf("got %v", err)
	}
}
