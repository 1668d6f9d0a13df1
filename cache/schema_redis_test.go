// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
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

// Two versions of a value. JSON decodes either as the other, and loses what it says.
type (
	valueV1 struct{ One int64 }
	valueV2 struct{ Two int64 }
)

// version is an application of one version.
type version struct {
	*cache.Client

	fetch func(ctx context.Context, key cache.Key, load func() int64) (int64, error)
}

func newVersion[T any](
	t *testing.T, server *redistest.Server, value func(int64) T, number func(T) int64, opts ...cache.Option,
) version {
	t.Helper()
	c := newCache(t, redis.NewClient(redisOptions(server.Addr())), append([]cache.Option{cache.WithTimeout(waitTimeout)}, opts...)...)
	return version{Client: c, fetch: func(ctx context.Context, key cache.Key, load func() int64) (int64, error) {
		got, err := cache.Fetch(ctx, c, key, func(context.Context) (T, error) { return value(load()), nil })
		return number(got), err
	}}
}

func newV1(t *testing.T, server *redistest.Server, opts ...cache.Option) version {
	t.Helper()
	return newVersion(t, server, func(n int64) valueV1 { return valueV1{n} }, func(v valueV1) int64 { return v.One }, opts...)
}

func newV2(t *testing.T, server *redistest.Server, opts ...cache.Option) version {
	t.Helper()
	return newVersion(t, server, func(n int64) valueV2 { return valueV2{n} }, func(v valueV2) int64 { return v.Two },
		append([]cache.Option{cache.WithSchema("v2")}, opts...)...)
}

// One version writes, deletes and invalidates while both read. No reader gets a value of another
// version, or one that was loaded before a deletion or invalidation.
func TestNothingStaleOrOfAnotherVersionIsRead(t *testing.T) {
	for name, writerOf := range map[string]func(*testing.T, *redistest.Server, ...cache.Option) version{
		"version 1 writes": newV1, "version 2 writes": newV2,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const rounds = 150
			server := redistest.Start(t)
			applyPolicy(t, server.Client(), "users", hour())
			writer := writerOf(t, server)
			readers := []version{newV1(t, server), newV2(t, server), newV1(t, server), newV2(t, server)}
			key := cache.Key{Module: "users", Operation: "get", Params: 1, User: "ada"}

			var current, deleted atomic.Int64
			var hits, loads [2]atomic.Int64
			current.Store(1)
			stop := make(chan struct{})
			var all sync.WaitGroup
			for i := range 16 {
				reader, of := readers[i%len(readers)], i%2
				all.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
						}
						atLeast, loaded := max(1, deleted.Load()), false
						got, err := reader.fetch(t.Context(), key, func() int64 {
							loaded = true
							now := current.Load()
							runtime.Gosched()
							return now
						})
						if err != nil || got < atLeast {
							t.Errorf("version %d reads %d, %v, after %d was invalidated", 1+of, got, err, atLeast)
							return
						}
						if loaded {
							loads[of].Add(1)
						} else {
							hits[of].Add(1)
						}
						time.Sleep(rand.N(readPause)) // leaves time to the writer
					}
				})
			}
			verbs := []func() error{
				func() error { return writer.Delete(t.Context(), key) },
				func() error { return writer.InvalidateModule(t.Context(), key.Module) },
				func() error { return writer.Delete(t.Context(), key) },
				func() error { return writer.InvalidateOperation(t.Context(), key.Module, key.Operation) },
				func() error { return writer.InvalidateUser(t.Context(), key.User, key.Module) },
			}
			for i := range rounds {
				now := current.Add(1)
				if err := verbs[i%len(verbs)](); err != nil {
					t.Fatal(err)
				}
				deleted.Store(now)
				if got, err := writer.fetch(t.Context(), key, current.Load); err != nil || got != now {
					t.Fatalf("the writer reads %d, %v, want %d", got, err, now)
				}
			}
			close(stop)
			all.Wait()
			for of := range 2 {
				if hits[of].Load() == 0 || loads[of].Load() == 0 {
					t.Errorf("version %d had %d hits and %d loads: the test did not test", 1+of, hits[of].Load(), loads[of].Load())
				}
			}
		})
	}
}

// While two versions are rolled out, each fill is a miss of the other version. They load the entry
// one after the other, so the source has one load of it at a time, however many read.
func TestTwoVersionsLoadAnEntryOneAfterTheOther(t *testing.T) {
	const loadTime = 2 * time.Millisecond
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	// A caller that gives a lease up loads alone, and leaves the load lock that it took.
	unhurried := []cache.Option{cache.WithTimeout(waitTimeout), cache.WithLoadWait(longWait)}
	var processes []version
	for range 2 {
		processes = append(processes, newV1(t, server, unhurried...), newV2(t, server, unhurried...))
	}
	var loading, most, loads, reads atomic.Int64
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Second)
	defer stop()
	began := time.Now()
	var all sync.WaitGroup
	for i := range 24 {
		all.Go(func() {
			for ctx.Err() == nil {
				got, err := processes[i%len(processes)].fetch(t.Context(), usersGet, func() int64 {
					now := loading.Add(1)
					defer loading.Add(-1)
					for seen := most.Load(); now > seen && !most.CompareAndSwap(seen, now); {
						seen = most.Load()
					}
					loads.Add(1)
					time.Sleep(loadTime)
					return 1
				})
				if err != nil || got != 1 {
					t.Errorf("read %d, %v", got, err)
				}
				reads.Add(1)
			}
		})
	}
	all.Wait()
	t.Logf("%d reads, %d loads, one of which takes %v, in %v", reads.Load(), loads.Load(), loadTime, time.Since(began).Round(time.Millisecond))
	if most.Load() != 1 {
		t.Errorf("%d loads at a time, want 1", most.Load())
	}
	if loads.Load() < 10 || reads.Load() < 2*loads.Load() {
		t.Errorf("%d reads, %d loads: want fewer loads than reads, and many of both", reads.Load(), loads.Load())
	}
}

// Whatever way an entry came there, one of another version is a miss.
func TestEntriesOfAnotherSchemaAreMisses(t *testing.T) {
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", registry.Policy{Operations: []registry.OperationPolicy{
		{Name: "get", TTL: time.Hour, StaleFor: time.Hour, NegativeTTL: time.Hour},
	}})
	one, two := newV1(t, server), newV2(t, server)
	get := func(c cache.Cache) (any, bool, error) {
		var value any
		found, err := c.Get(t.Context(), usersGet, &value)
		return value, found, err
	}
	for name, store := range map[string]func(c *cache.Client) error{
		"stored": func(c *cache.Client) error { return c.Set(t.Context(), usersGet, "of another") },
		"loaded": func(c *cache.Client) error { fetchLoaded(t, c, usersGet); return nil },
		"stale": func(c *cache.Client) error {
			err := c.Set(t.Context(), usersGet, "of another")
			return errors.Join(err, c.InvalidateSoftly(t.Context(), cache.Scope{Module: "users"}))
		},
		"not found": func(c *cache.Client) error {
			_, err := cache.Fetch(t.Context(), c, usersGet, func(context.Context) (string, error) { return "", cache.ErrNotFound })
			if !errors.Is(err, cache.ErrNotFound) {
				t.Errorf("Fetch: %v", err)
			}
			return nil
		},
	} {
		for _, pair := range [][2]*cache.Client{{one.Client, two.Client}, {two.Client, one.Client}} {
			ours, other := pair[0], pair[1]
			if err := errors.Join(other.InvalidateModule(t.Context(), "users"), store(other)); err != nil {
				t.Fatal(err)
			}
			if _, found, err := get(other); !found && !errors.Is(err, cache.ErrNotFound) {
				t.Errorf("%s: the version that stored it does not find it: %v", name, err)
			}
			if value, found, err := get(ours); found || err != nil {
				t.Errorf("%s: read %v, %v, of another version", name, value, err)
			}
			if !fetchLoaded(t, ours, usersGet) || fetchLoaded(t, ours, usersGet) {
				t.Errorf("%s: it is not loaded, or not stored in place of that of another version", name)
			}
			if value, found, err := get(other); found || err != nil {
				t.Errorf("%s: read %v, %v, of another version", name, value, err)
			}
			if err := other.Set(t.Context(), usersGet, "theirs"); err != nil {
				t.Fatal(err)
			}
			if value, found, _ := get(other); !found || value != "theirs" {
				t.Errorf("%s: read %v after Set in place of another version", name, value)
			}
			if err := ours.Delete(t.Context(), usersGet); err != nil {
				t.Fatal(err)
			}
			if _, found, _ := get(other); found {
				t.Errorf("%s: it survived the deletion by another version", name)
			}
		}
	}
}

// Operations have schemas of their own.
func TestASchemaCoversItsOperations(t *testing.T) {
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	process := func(opts ...cache.Option) *cache.Client {
		return newCache(t, redis.NewClient(redisOptions(server.Addr())), append(opts, cache.WithTimeout(waitTimeout))...)
	}
	plain, some := process(), process(cache.WithSchema("v2", cache.Operation{Module: "users", Name: "get"}))
	list := cache.Key{Module: "users", Operation: "list"}
	if !fetchLoaded(t, plain, list) || fetchLoaded(t, some, list) {
		t.Error("an operation without a schema is not shared")
	}
	if !fetchLoaded(t, plain, usersGet) || !fetchLoaded(t, some, usersGet) {
		t.Error("an operation with a schema is shared")
	}
}

// A near cache keeps what its own version stored, and obeys deletions by the other version.
func TestNearCachesAreOfOneVersion(t *testing.T) {
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	near := cache.WithNearCache(cache.NearCache{})
	one, two := newV1(t, server, near), newV2(t, server, near)
	load := func(n int64) func() int64 { return func() int64 { return n } }
	isNear := func(v version, want int64) func() bool {
		return func() bool {
			before := mgets(t, server)
			got, err := v.fetch(t.Context(), usersGet, load(want))
			if err != nil || got != want {
				t.Errorf("read %d, %v, want %d", got, err, want)
			}
			return mgets(t, server) == before
		}
	}
	NewWithT(t).Eventually(isNear(one, 1)).WithTimeout(waitTimeout).Should(BeTrue(), "version 1 keeps nothing")
	NewWithT(t).Eventually(isNear(two, 2)).WithTimeout(waitTimeout).Should(BeTrue(), "version 2 keeps nothing")
	if !isNear(one, 1)() {
		t.Error("a fill by version 2 takes from version 1 what it keeps")
	}
	if err := one.Delete(t.Context(), usersGet); err != nil {
		t.Fatal(err)
	}
	NewWithT(t).Eventually(func() int64 {
		got, _ := two.fetch(t.Context(), usersGet, load(3))
		return got
	}).WithTimeout(waitTimeout).Should(Equal(int64(3)), "version 2 keeps what version 1 deleted")
}
