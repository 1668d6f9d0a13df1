// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache_test

import (
	"context"
	"fmt"
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

// calls counts the calls of functions by name, also in pipelines.
type calls struct {
	mu sync.Mutex
	of map[string]int
}

func (c *calls) add(cmds ...redis.Cmder) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, cmd := range cmds {
		if cmd.Name() == "fcall" {
			c.of[fmt.Sprint(cmd.Args()[1])]++
		}
	}
}

// take returns the counts, and begins again.
func (c *calls) take() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	taken := c.of
	c.of = map[string]int{}
	return taken
}

func (c *calls) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *calls) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.add(cmd)
		return next(ctx, cmd)
	}
}

func (c *calls) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		c.add(cmds...)
		return next(ctx, cmds)
	}
}

// newCounted returns a client whose calls are counted.
func newCounted(t *testing.T, options *redis.Options, opts ...cache.Option) (*cache.Client, *calls) {
	t.Helper()
	client, counted := redis.NewClient(options), &calls{of: map[string]int{}}
	client.AddHook(counted)
	opts = append([]cache.Option{cache.WithTimeout(waitTimeout), cache.WithReportInterval(time.Hour)}, opts...)
	return newCache(t, client, opts...), counted
}

func numbered(i int) cache.Key { return cache.Key{Module: "users", Operation: "get", Params: i} }

// quickly makes loads of an operation known as quick, as a busy machine may need more than one.
func quickly(t *testing.T, c *cache.Client, counted *calls) {
	t.Helper()
	from := -1
	NewWithT(t).Eventually(func() int {
		counted.take()
		fetchLoaded(t, c, numbered(from))
		from--
		return counted.take()["cw_get"]
	}).WithTimeout(waitTimeout).WithPolling(time.Millisecond).Should(BeZero())
}

// A miss whose load is quick takes two calls: an MGET and a fill. It is counted nevertheless.
func TestQuickLoadsTakeNoLease(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	c, counted := newCounted(t, redisOptions(server.Addr()))
	quickly(t, c, counted)
	before, err := c.Stats(t.Context(), "users")
	if err != nil {
		t.Fatal(err)
	}
	counted.take()
	const entries = 20
	for i := range entries {
		if !fetchLoaded(t, c, numbered(i)) || fetchLoaded(t, c, numbered(i)) {
			t.Errorf("entry %d is not stored by its first load", i)
		}
	}
	called := counted.take()
	if called["cw_get"] > entries/2 || called["cw_set"] != entries { // a machine that stood still makes a load slow
		t.Errorf("%v for %d quick loads", called, entries)
	}
	after, err := c.Stats(t.Context(), "users")
	if err != nil {
		t.Fatal(err)
	}
	if got, was := after[0].Operations[0], before[0].Operations[0]; got.Misses-was.Misses != entries || got.Hits-was.Hits != entries {
		t.Errorf("%+v before, %+v after %d misses and hits", was, got, entries)
	}
}

// Many at once are read by one MGET, and filled without a lease.
func TestQuickLoadsOfManyTakeNoLease(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	c, counted := newCounted(t, redisOptions(server.Addr()))
	const entries = 50
	fetchMany := func(from int) (loaded int) {
		ids := make([]int, entries)
		for i := range ids {
			ids[i] = from + i
		}
		got, err := cache.FetchMany(t.Context(), c, ids, numbered, func(_ context.Context, missing []int) (map[int]int, error) {
			found := map[int]int{}
			for _, id := range missing {
				found[id] = id
			}
			loaded = len(missing)
			return found, nil
		})
		if err != nil || len(got) != entries {
			t.Errorf("%d values (%v)", len(got), err)
		}
		return loaded
	}
	at := 0
	NewWithT(t).Eventually(func() map[string]int {
		at += entries
		quickly(t, c, counted)
		fetchMany(at)
		return counted.take()
	}).WithTimeout(waitTimeout).WithPolling(time.Millisecond).Should(Equal(map[string]int{"cw_set": entries}))
	if loaded := fetchMany(at); loaded != 0 {
		t.Errorf("%d of %d entries are not stored", loaded, entries)
	}
}

// A purge leaves no heads, so the next load takes a lease. So does one of what is held.
func TestWithoutHeadsALoadTakesALease(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	c, counted := newCounted(t, redisOptions(server.Addr()))
	for name, purge := range map[string]func() error{
		"the module":    func() error { return c.InvalidateModule(t.Context(), "users") },
		"the operation": func() error { return c.InvalidateOperation(t.Context(), "users", "get") },
	} {
		quickly(t, c, counted)
		if err := purge(); err != nil {
			t.Fatal(err)
		}
		counted.take()
		if !fetchLoaded(t, c, numbered(0)) || counted.take()["cw_get"] != 1 {
			t.Errorf("%s was purged, and the next load took no lease", name)
		}
	}
}

// An older library that must not be replaced gets leases, and nobody hears of a failure.
func TestWithAnOlderLibraryQuickLoadsTakeLeases(t *testing.T) {
	t.Parallel()
	_, options := withOlderLibrary(t)
	c, counted := newCounted(t, options, cache.WithFailureHook(func(f cache.Failure) { t.Error(f.Err) }))
	const entries = 20
	stored := 0
	for i := range entries {
		fetchLoaded(t, c, numbered(i))
		if !fetchLoaded(t, c, numbered(i)) {
			stored++
		}
	}
	called := counted.take()
	// The first load takes a lease, a later one tries without, and all others take leases again.
	if stored < entries-1 || called["cw_get"] < entries-1 {
		t.Errorf("%d of %d entries are stored, by %v", stored, entries, called)
	}
}

// Processes wait for each other where loads take long, whatever they know of the operation.
func TestSlowLoadsOfManyProcessesAreFew(t *testing.T) {
	t.Parallel()
	const processes, loadTime = 8, 200 * time.Millisecond
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", registry.Policy{Operations: []registry.OperationPolicy{{Name: "get", TTL: time.Hour}}})
	var all []*cache.Client
	for range processes {
		all = append(all, newCache(t, redis.NewClient(redisOptions(server.Addr())),
			cache.WithTimeout(waitTimeout), cache.WithLoadWait(longWait)))
	}
	loadsOf := func(key cache.Key) int32 {
		var loads atomic.Int32
		var group sync.WaitGroup
		for _, c := range all {
			group.Go(func() {
				got, err := cache.Fetch(t.Context(), c, key, func(context.Context) (string, error) {
					loads.Add(1)
					time.Sleep(loadTime)
					return "value", nil
				})
				if got != "value" || err != nil {
					t.Errorf("got %q (%v)", got, err)
				}
			})
		}
		group.Wait()
		return loads.Load()
	}
	if loads := loadsOf(usersGet); loads > processes {
		t.Errorf("%d loads of what nobody had read", loads)
	}
	for i, c := range all { // now each knows how long they take
		_, _ = cache.Fetch(t.Context(), c, numbered(i), func(context.Context) (string, error) {
			time.Sleep(loadTime)
			return "value", nil
		})
	}
	const few = 2
	for name, end := range map[string]func(){
		"expired": func() {
			for _, entry := range server.Client().Keys(t.Context(), "*:e:*").Val() {
				server.Client().Unlink(t.Context(), entry)
			}
		},
		"was purged": func() {
			if err := all[0].InvalidateModule(t.Context(), "users"); err != nil {
				t.Fatal(err)
			}
		},
	} {
		end()
		if loads := loadsOf(usersGet); loads > few {
			t.Errorf("%d loads of what just %s, want %d at most", loads, name, few)
		}
	}
}
