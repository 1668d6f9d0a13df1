// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

func hold(tb testing.TB, c cache.Holder, ttl time.Duration, on ...cache.Covered) cache.Hold {
	tb.Helper()
	held, err := c.Hold(tb.Context(), ttl, on...)
	if err != nil {
		tb.Fatal(err)
	}
	return held
}

func release(tb testing.TB, held cache.Hold) {
	tb.Helper()
	if err := held.Release(tb.Context()); err != nil {
		tb.Error(err)
	}
}

// wantCached checks whether a key is cached from its second read on.
func wantCached(tb testing.TB, c cache.Cache, key cache.Key, want bool) {
	tb.Helper()
	fetchLoaded(tb, c, key)
	if cached := !fetchLoaded(tb, c, key); cached != want {
		tb.Errorf("%v: cached is %v, want %v", key, cached, want)
	}
}

// Each row holds something, and names what that covers and what it leaves alone. Another process
// obeys the hold as well.
func TestHoldForbidsToCacheWhatItCovers(t *testing.T) {
	t.Parallel()
	get := func(module, operation, user string, params any) cache.Key {
		return cache.Key{Module: module, Operation: operation, User: user, Params: params}
	}
	ada, bob := get("users", "get", "ada", 1), get("users", "get", "bob", 1)
	list, other := get("users", "list", "", 1), get("users", "list", "", 2)
	order, orderOfAda := get("orders", "get", "", 1), get("orders", "get", "ada", 1)
	all := []cache.Key{ada, bob, list, other, order, orderOfAda}
	rows := map[string]struct {
		on      []cache.Covered
		covered []cache.Key
	}{
		"a key":                    {[]cache.Covered{list}, []cache.Key{list}},
		"a key of a user":          {[]cache.Covered{ada}, []cache.Key{ada}},
		"a module":                 {[]cache.Covered{cache.Scope{Module: "users"}}, []cache.Key{ada, bob, list, other}},
		"an operation":             {[]cache.Covered{cache.Scope{Module: "users", Operation: "list"}}, []cache.Key{list, other}},
		"a user of a module":       {[]cache.Covered{cache.Scope{Module: "users", User: "ada"}}, []cache.Key{ada}},
		"an operation of a user":   {[]cache.Covered{cache.Scope{Module: "users", Operation: "list", User: "ada"}}, []cache.Key{ada}},
		"a user in every module":   {[]cache.Covered{cache.Scope{User: "ada"}}, []cache.Key{ada, orderOfAda}},
		"keys of two modules":      {[]cache.Covered{other, order}, []cache.Key{other, order}},
		"the same in many ways":    {append(manyOperations("ada"), ada, ada, cache.Scope{Module: "users", User: "ada"}), []cache.Key{ada}},
		"what no policy caches":    {[]cache.Covered{get("unknown", "get", "", 1), cache.Scope{Module: "nobody"}}, nil},
		"more than one call holds": {manyKeys(list), []cache.Key{list, other}},
	}
	servers := map[string]func(*testing.T) func() redis.UniversalClient{
		"single": func(t *testing.T) func() redis.UniversalClient {
			server := redistest.Start(t)
			return func() redis.UniversalClient { return redis.NewClient(redisOptions(server.Addr())) }
		},
		"cluster": func(t *testing.T) func() redis.UniversalClient {
			cluster := redistest.StartCluster(t, 3)
			return func() redis.UniversalClient { return clusterClient(cluster) }
		},
	}
	for server, start := range servers {
		t.Run(server, func(t *testing.T) {
			t.Parallel()
			connect := start(t)
			admin := connect()
			for _, module := range []string{"users", "orders"} {
				applyPolicy(t, admin, module, hour())
			}
			var watch witness
			c := newCache(t, connect(), cache.WithTimeout(waitTimeout), cache.WithObserver(&watch))
			another := newCache(t, connect(), cache.WithTimeout(waitTimeout))
			for name, row := range rows {
				t.Run(name, func(t *testing.T) {
					for _, key := range all {
						wantCached(t, c, key, true)
					}
					held := hold(t, c, time.Minute, row.on...)
					for _, key := range all {
						covered := false
						for _, of := range row.covered {
							covered = covered || of == key
						}
						if loaded := fetchLoaded(t, c, key); loaded != covered {
							t.Errorf("%v: loaded is %v under the hold", key, loaded)
						}
						wantCached(t, another, key, !covered)
					}
					if err := held.Renew(t.Context(), 2*time.Minute); err != nil || held.Err() != nil {
						t.Errorf("renewing: %v, %v", err, held.Err())
					}
					release(t, held)
					if err := held.Err(); err != nil {
						t.Error(err)
					}
					for _, key := range all {
						wantCached(t, c, key, true)
					}
				})
			}
			if lost := watch.figures().HoldsLost; lost != 0 {
				t.Errorf("%d holds count as lost", lost)
			}
		})
	}
}

// manyOperations returns more operations of a user than fit into a call. They share one mark.
func manyOperations(user string) (scopes []cache.Covered) {
	for i := range 100 {
		scopes = append(scopes, cache.Scope{Module: "users", Operation: fmt.Sprint("get", i), User: user})
	}
	return scopes
}

// manyKeys returns two keys and more than fit into two calls.
func manyKeys(key cache.Key) []cache.Covered {
	var keys []cache.Covered
	for i := range 150 {
		key.Params = i
		keys = append(keys, key)
	}
	return keys
}

// protect is how a writer keeps readers from what was before its change.
type protect func(t *testing.T, c *cache.Client, key cache.Key, change func())

func withHold(t *testing.T, c *cache.Client, key cache.Key, change func()) {
	held := hold(t, c, time.Minute, cache.Scope{Module: key.Module, Operation: key.Operation})
	change()
	release(t, held)
}

func invalidateAfter(t *testing.T, c *cache.Client, key cache.Key, change func()) {
	change()
	if err := c.InvalidateOperation(t.Context(), key.Module, key.Operation); err != nil {
		t.Error(err)
	}
}

// olderReads lets processes read while another one changes the source. It returns how many reads
// got what was before a change, although it had taken effect when they began.
func olderReads(t *testing.T, protect protect) (older, hits int64) {
	t.Helper()
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	process := func() *cache.Client {
		return newCache(t, redis.NewClient(redisOptions(server.Addr())), cache.WithTimeout(waitTimeout), cache.WithInvalidationTimeout(waitTimeout))
	}
	var committed, behind, found atomic.Int64
	var stop atomic.Bool
	var readers sync.WaitGroup
	for range 4 {
		c := process()
		readers.Go(func() {
			for !stop.Load() {
				began, loaded := committed.Load(), false
				got, err := cache.Fetch(t.Context(), c, usersGet, func(context.Context) (int64, error) {
					loaded = true
					value := committed.Load()
					time.Sleep(time.Millisecond) // so that commits come while loads are under way
					return value, nil
				})
				if err != nil {
					t.Error(err)
					return
				}
				if got < began {
					behind.Add(1)
				}
				if !loaded {
					found.Add(1)
				}
			}
		})
	}
	writer := process()
	for range 150 {
		protect(t, writer, usersGet, func() {
			committed.Add(1)
			time.Sleep(2 * time.Millisecond) // a writer does not come to its next step at once
		})
		time.Sleep(2 * time.Millisecond)
	}
	stop.Store(true)
	readers.Wait()
	return behind.Load(), found.Load()
}

// With an invalidation after the commit, readers see what was before it for a moment.
func TestNoReadUnderAHoldIsOlderThanACommit(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		protect protect
		older   bool
	}{
		"hold":                       {withHold, false},
		"invalidation, as a control": {invalidateAfter, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			older, hits := olderReads(t, test.protect)
			if (older > 0) != test.older || hits == 0 {
				t.Errorf("%d reads are older than a commit, %d are hits", older, hits)
			}
		})
	}
}

// A load that began before the commit is stored neither under the hold nor after it.
func TestLoadFromBeforeAHoldIsNotStored(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	c := newCache(t, redis.NewClient(redisOptions(server.Addr())), cache.WithTimeout(waitTimeout), cache.WithInvalidationTimeout(waitTimeout))
	for _, when := range []string{"under the hold", "after the hold"} {
		key := cache.Key{Module: "users", Operation: "get", Params: when}
		began, finish := make(chan struct{}), make(chan struct{})
		var load sync.WaitGroup
		load.Go(func() {
			_, _ = cache.Fetch(t.Context(), c, key, func(context.Context) (string, error) {
				close(began)
				<-finish
				return "old", nil
			})
		})
		<-began
		held := hold(t, c, time.Minute, key)
		if when == "after the hold" {
			release(t, held)
		}
		close(finish)
		load.Wait()
		release(t, held)
		if !fetchLoaded(t, c, key) {
			t.Errorf("a fill %s was stored", when)
		}
	}
}

// What it covers is not served from memory any more when the hold begins.
func TestHoldIsObeyedByTheNearCacheOfItsProcess(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	c := newNearCache(t, redis.NewClient(redisOptions(server.Addr())), cache.NearCache{})
	key := cache.Key{Module: "users", Operation: "get", User: "ada"}
	for _, on := range []cache.Covered{
		key,
		cache.Scope{Module: "users"},
		cache.Scope{Module: "users", Operation: "get"},
		cache.Scope{Module: "users", User: "ada"},
		cache.Scope{User: "ada"},
	} {
		warm(t, server, c, key)
		held := hold(t, c, time.Minute, on)
		for range 5 {
			if !fetchLoaded(t, c, key) {
				t.Errorf("%v: found under the hold", on)
			}
		}
		release(t, held)
	}
}

// A hold says so if Redis lost a mark of it, at the renewal or at the release. What was filled in
// the meantime is invalid.
func TestHoldThatDidNotLastSaysSo(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	var watch witness
	c := newCache(t, redis.NewClient(redisOptions(server.Addr())), cache.WithTimeout(waitTimeout), cache.WithObserver(&watch))
	other := cache.Key{Module: "users", Operation: "list"}
	evict := func(t *testing.T) {
		if n := server.Client().Del(t.Context(), "cw:{shop/users}:o:get").Val(); n != 1 {
			t.Fatal("there was no mark")
		}
	}
	flush := func(t *testing.T) {
		if err := server.Client().FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		applyPolicy(t, server.Client(), "users", hour()) // the operator puts holds of its own back only
		wantCached(t, c, other, true)
	}
	renewed := func(ctx context.Context, h cache.Hold) error { return h.Renew(ctx, time.Minute) }
	released := func(ctx context.Context, h cache.Hold) error { return h.Release(ctx) }
	for i, test := range []struct {
		name string
		ttl  time.Duration
		lose func(*testing.T)
		find func(context.Context, cache.Hold) error
	}{
		{"evicted, renewed", time.Minute, evict, renewed},
		{"evicted, released", time.Minute, evict, released},
		{"flushed, renewed", time.Minute, flush, renewed},
		{"flushed, released", time.Minute, flush, released},
		{"over, released", time.Millisecond, func(t *testing.T) {
			NewWithT(t).Eventually(func() bool { return fetchLoaded(t, c, usersGet) }).WithTimeout(waitTimeout).Should(BeFalse())
		}, released},
	} {
		t.Run(test.name, func(t *testing.T) {
			wantCached(t, c, usersGet, true)
			wantCached(t, c, other, true)
			held := hold(t, c, test.ttl, cache.Scope{Module: "users", Operation: "get"})
			test.lose(t)
			wantCached(t, c, usersGet, true)
			if held.Err() != nil {
				t.Errorf("knows it already: %v", held.Err())
			}
			if err := test.find(t.Context(), held); err != nil {
				t.Error(err)
			}
			if err := held.Err(); !errors.Is(err, cache.ErrHoldLost) || !strings.Contains(err.Error(), "users") {
				t.Errorf("got %v, want ErrHoldLost", err)
			}
			if !fetchLoaded(t, c, usersGet) {
				t.Error("what was filled without a mark is still there")
			}
			release(t, held)
			if lost := watch.figures().HoldsLost; lost != int64(i+1) {
				t.Errorf("%d holds count as lost, want %d", lost, i+1)
			}
			if fetchLoaded(t, c, other) {
				t.Error("another operation was invalidated")
			}
		})
	}
}

// What Redis refuses to hold leaves no mark of what was named with it.
func TestHoldOfNamesThatAreTooLongHoldsNothing(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	c := newCache(t, redis.NewClient(redisOptions(server.Addr())), cache.WithTimeout(waitTimeout))
	for name, long := range map[string]cache.Covered{
		"operation":          cache.Scope{Module: "users", Operation: strings.Repeat("o", 129)},
		"user":               cache.Scope{Module: "users", User: strings.Repeat("u", 257)},
		"operation of a key": cache.Key{Module: "users", Operation: strings.Repeat("o", 129)},
	} {
		held, err := c.Hold(t.Context(), time.Minute, usersGet, long)
		if !errors.Is(err, registry.ErrRejected) || !errors.Is(held.Err(), err) {
			t.Errorf("%s: %v", name, err)
		}
		_ = held.Release(t.Context()) // it is refused, too
		fetchLoaded(t, c, usersGet)
		if fetchLoaded(t, c, usersGet) {
			t.Errorf("%s: what was named with it is held", name)
		}
	}
}

// The memory of more entries than a call frees at once is freed in the background, also if it is
// the release that invalidates them.
func TestMemoryOfWhatAHoldInvalidatesIsFreed(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	c := newCache(t, redis.NewClient(redisOptions(server.Addr())), cache.WithTimeout(waitTimeout))
	fill := func() {
		for i := range many {
			fetchLoaded(t, c, cache.Key{Module: "users", Operation: "get", Params: i})
		}
	}
	isFreed := func(by string) {
		t.Helper()
		NewWithT(t).Eventually(func() (int64, error) {
			stats, err := registry.New(server.Client()).Stats(t.Context(), registry.Slot{Namespace: namespace, Module: "users"})
			return stats.Pending, err
		}).WithTimeout(waitTimeout).Should(BeZero(), "what %s invalidated waits", by)
	}
	fill()
	held := hold(t, c, time.Minute, cache.Scope{Module: "users"})
	isFreed("the hold")
	server.Client().Del(t.Context(), "cw:{shop/users}:m")
	fill()
	release(t, held)
	isFreed("the release")
}

// What a hold keeps from being stored is in the statistics, apart from misses.
func TestStatsCountHeldReads(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	c := newCache(t, redis.NewClient(redisOptions(server.Addr())), cache.WithTimeout(waitTimeout))
	held := hold(t, c, time.Minute, cache.Scope{Module: "users", Operation: "get"})
	for range 3 {
		fetchLoaded(t, c, usersGet)
	}
	operation := func() cache.OperationStats {
		t.Helper()
		stats, err := c.Stats(t.Context(), "users")
		if err != nil || len(stats) != 1 || len(stats[0].Operations) != 1 {
			t.Fatalf("got %v, %v", stats, err)
		}
		return stats[0].Operations[0]
	}
	if o := operation(); o.HeldReads != 3 || o.Misses != 0 || o.Held <= 0 || o.Held > time.Minute {
		t.Errorf("under the hold: %+v", o)
	}
	release(t, held)
	fetchLoaded(t, c, usersGet)
	if o := operation(); o.HeldReads != 3 || o.Misses != 1 || o.Held != 0 {
		t.Errorf("after the hold: %+v", o)
	}
}

// A hold that fails on one node holds nothing on the others, and they are cached again at once. The
// node that hangs carries the call out late; its marks go as well, long before their ttl.
func TestHoldThatFailsOnOneNodeLeavesNoMarks(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 3)
	modules, sick := modulesByNode(t, cluster), cluster.Servers()[0]
	var on []cache.Covered
	for _, module := range modules {
		applyPolicy(t, cluster.Client(), module, hour())
		on = append(on, cache.Scope{Module: module})
	}
	key := func(module string) cache.Key { return cache.Key{Module: module, Operation: "get"} }
	c := newCache(t, clusterClient(cluster), cache.WithTimeout(waitTimeout), cache.WithInvalidationTimeout(300*time.Millisecond))
	for _, module := range modules {
		wantCached(t, c, key(module), true)
	}
	sick.Pause()
	held, err := c.Hold(t.Context(), registry.MaxHold, on...)
	if !errors.Is(err, registry.ErrUnreachable) || !errors.Is(held.Err(), registry.ErrUnreachable) {
		t.Fatalf("got %v, %v", err, held.Err())
	}
	becomesCached := func(module string) {
		t.Helper()
		NewWithT(t).Eventually(func() bool { return fetchLoaded(t, c, key(module)) }).WithTimeout(waitTimeout).Should(BeFalse())
	}
	for _, module := range modules[1:] {
		becomesCached(module)
	}
	sick.Resume()
	becomesCached(modules[0])
	late := newCache(t, clusterClient(cluster), cache.WithTimeout(waitTimeout))
	for _, module := range modules {
		NewWithT(t).Eventually(func() bool { return fetchLoaded(t, late, key(module)) }).WithTimeout(waitTimeout).Should(BeFalse())
	}
	// The writer goes on, and its Release invalidates. It is queued if another one of the hold is.
	if err := held.Release(t.Context()); err != nil && !errors.Is(err, cache.ErrQueued) {
		t.Error(err)
	}
	for _, module := range modules {
		NewWithT(t).Eventually(func() bool { return fetchLoaded(t, late, key(module)) }).WithTimeout(waitTimeout).
			Should(BeTrue(), "%s is not invalidated after the change", module)
	}
	if err := held.Renew(t.Context(), time.Minute); err == nil {
		t.Error("a hold that failed can be renewed")
	}
}

// A release that does not reach Redis waits, and is delivered. Until then this process reads past
// what it covers. The mark is gone long before its ttl.
func TestReleaseWaitsForRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	var watch witness
	c := newCache(t, redis.NewClient(redisOptions(server.Addr())), cache.WithTimeout(waitTimeout),
		cache.WithInvalidationTimeout(100*time.Millisecond), cache.WithObserver(&watch))
	held := hold(t, c, registry.MaxHold, cache.Scope{Module: "users", Operation: "get"})
	second := hold(t, c, registry.MaxHold, cache.Scope{Module: "users", Operation: "get"})
	server.Pause()
	for _, h := range []cache.Hold{held, second} {
		if err := h.Release(t.Context()); !errors.Is(err, cache.ErrQueued) {
			t.Errorf("got %v, want ErrQueued", err)
		}
		if err := h.Release(t.Context()); err != nil {
			t.Errorf("releasing again: %v", err)
		}
	}
	if !fetchLoaded(t, c, usersGet) {
		t.Error("found while the release waits")
	}
	server.Resume()
	NewWithT(t).Eventually(func() bool { return fetchLoaded(t, c, usersGet) }).WithTimeout(waitTimeout).Should(BeFalse())
	NewWithT(t).Eventually(func() int { return watch.figures().QueuedInvalidations }).WithTimeout(waitTimeout).Should(BeZero())
	if ttl := server.Client().PTTL(t.Context(), "cw:{shop/users}:o:get").Val(); ttl > 0 && ttl <= registry.MaxHold &&
		strings.HasPrefix(server.Client().Get(t.Context(), "cw:{shop/users}:o:get").Val(), "!!") {
		t.Error("the mark is still there")
	}
}

// If the writer dies, what it held is cached again when the hold ends.
func TestHoldOfAWriterThatDiesEnds(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	writer := newCache(t, redis.NewClient(redisOptions(server.Addr())), cache.WithTimeout(waitTimeout), cache.WithInvalidationTimeout(waitTimeout))
	began := time.Now()
	hold(t, writer, 200*time.Millisecond, cache.Scope{Module: "users"})
	if err := writer.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	reader := newCache(t, redis.NewClient(redisOptions(server.Addr())), cache.WithTimeout(waitTimeout))
	NewWithT(t).Eventually(func() bool { return fetchLoaded(t, reader, usersGet) }).WithTimeout(waitTimeout).Should(BeFalse())
	if took := time.Since(began); took < 200*time.Millisecond {
		t.Errorf("the hold ended after %s", took)
	}
}

// Any number of writers hold the same. It is cached again when the last hold has ended.
func TestHoldsOfTheSameEndWithTheLast(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	c := newCache(t, redis.NewClient(redisOptions(server.Addr())), cache.WithTimeout(waitTimeout), cache.WithInvalidationTimeout(waitTimeout))
	var all []cache.Hold
	for range 200 {
		all = append(all, hold(t, c, time.Minute, cache.Scope{Module: "users", Operation: "get"}))
	}
	for _, held := range all {
		wantCached(t, c, usersGet, false)
		release(t, held)
	}
	for i, held := range all {
		if lost := errors.Is(held.Err(), cache.ErrHoldLost); lost != (i >= 64) {
			t.Errorf("hold %d counts as lost: %v", i, lost)
		}
	}
	key := cache.Key{Module: "users", Operation: "list"}
	first, second := hold(t, c, time.Minute, key), hold(t, c, time.Minute, key)
	release(t, first)
	wantCached(t, c, key, false)
	release(t, second)
	wantCached(t, c, key, true)
}

// Under a hold a Set stores nothing, and a Get finds nothing.
func TestSetAndGetUnderAHold(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	c := newCache(t, redis.NewClient(redisOptions(server.Addr())), cache.WithTimeout(waitTimeout), cache.WithInvalidationTimeout(waitTimeout))
	for _, on := range []cache.Covered{usersGet, cache.Scope{Module: "users"}} {
		held := hold(t, c, time.Minute, on)
		if err := c.Set(t.Context(), usersGet, "value"); err != nil {
			t.Error(err)
		}
		var out string
		if found, err := c.Get(t.Context(), usersGet, &out); found || err != nil {
			t.Errorf("found %q under the hold, %v", out, err)
		}
		release(t, held)
		if found, err := c.Get(t.Context(), usersGet, &out); found || err != nil {
			t.Errorf("found %q after the hold, %v", out, err)
		}
	}
}

// A name that no policy lists is told, as for an invalidation: what it means is not held.
func TestHoldOfAMisspeltNameIsTold(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	m := newMisspelling(t, server.Client(), redis.NewClient(redisOptions(server.Addr())))
	for _, on := range []cache.Covered{cache.Scope{Module: "user"}, cache.Key{Module: "posts", Operation: "lst"}} {
		wantCached(t, m, cache.Key{Module: "users", Operation: "get"}, true)
		release(t, hold(t, m, time.Minute, on))
	}
	NewWithT(t).Eventually(func() []string {
		sentences, _ := m.unclaimed()
		return sentences
	}).WithTimeout(waitTimeout).Should(Equal([]string{noSuchModule, noSuchOperation}))
}
