// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache_test

import (
	"context"
	"errors"
	"os"
	"regexp"
	"strconv"
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

// putReads is how many reads are made while a writer writes. PUT_READS sets it.
func putReads(t *testing.T) int64 {
	t.Helper()
	text, given := os.LookupEnv("PUT_READS")
	if !given {
		return 4000
	}
	reads, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatalf("PUT_READS: %v", err)
	}
	return reads
}

// Of reads beside a writer, each finds a value, and none finds one from before a Set that had
// returned.
func TestReadersBesideASetNeverFindNothing(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	writer := newCache(t, redis.NewClient(redisOptions(server.Addr())), cache.WithTimeout(waitTimeout))
	must := func(err error) {
		if err != nil {
			t.Error(err)
		}
	}
	must(writer.Set(t.Context(), usersGet, 0))
	var reads, nothing, old, written atomic.Int64
	most := putReads(t)
	var group sync.WaitGroup
	for range 4 {
		reader := newCache(t, redis.NewClient(redisOptions(server.Addr())), cache.WithTimeout(waitTimeout))
		group.Go(func() {
			for reads.Add(1) <= most {
				floor, value := written.Load(), int64(0)
				found, err := reader.Get(t.Context(), usersGet, &value)
				must(err)
				if !found {
					nothing.Add(1)
				} else if value < floor {
					old.Add(1)
				}
			}
		})
	}
	sets := 0
	for ; reads.Load() < most; sets++ {
		must(writer.Set(t.Context(), usersGet, sets))
		written.Store(int64(sets))
	}
	group.Wait()
	t.Logf("%d reads beside %d writes", most, sets)
	if nothing.Load() > 0 || old.Load() > 0 {
		t.Errorf("%d reads found nothing, %d found an old value", nothing.Load(), old.Load())
	}
}

// What a process has in memory ends when another one sets the entry.
func TestASetReachesTheNearCachesOfOthers(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	reader := newCache(t, redis.NewClient(redisOptions(server.Addr())), cache.WithTimeout(waitTimeout), cache.WithNearCache(cache.NearCache{}))
	writer := newCache(t, redis.NewClient(redisOptions(server.Addr())), cache.WithTimeout(waitTimeout))
	get := func() (value int) {
		if found, err := reader.Get(t.Context(), usersGet, &value); !found || err != nil {
			t.Errorf("found %v (%v)", found, err)
		}
		return value
	}
	for i := range 20 {
		if err := writer.Set(t.Context(), usersGet, i); err != nil {
			t.Fatal(err)
		}
		NewWithT(t).Eventually(get).WithTimeout(waitTimeout).WithPolling(time.Millisecond).Should(Equal(i))
	}
}

// A near cache keeps an entry no longer than its loader said.
func TestANearCacheObeysTheLimitOfALoader(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", registry.Policy{Operations: []registry.OperationPolicy{
		{Name: "get", TTL: time.Hour, StaleFor: time.Hour},
	}})
	c := newCache(t, redis.NewClient(redisOptions(server.Addr())), cache.WithTimeout(waitTimeout), cache.WithNearCache(cache.NearCache{}))
	loads := 0
	fetch := func() int {
		n, err := cache.Fetch(t.Context(), c, usersGet, func(ctx context.Context) (int, error) {
			cache.LimitTTL(ctx, 300*time.Millisecond)
			loads++
			return loads, nil
		})
		if err != nil {
			t.Error(err)
		}
		return n
	}
	began := time.Now()
	fetch()
	for fetch() == 1 {
		if time.Since(began) > waitTimeout {
			t.Fatal("it is kept on")
		}
		time.Sleep(time.Millisecond)
	}
	if took := time.Since(began); took < 290*time.Millisecond {
		t.Errorf("it was gone after %s", took)
	}
}

// olderLibrary is the function library without what came with version 5.
func olderLibrary(t *testing.T) string {
	t.Helper()
	older := registry.Library
	for now, before := range map[string]string{
		`local VERSION = \d+\n`:                            "local VERSION = 4\n",
		`register\('cw_(fence|put)',.*\n`:                  "",
		`'schema', 'heads'\}`:                              "'schema'}",
		`function fill.options_with_ttl\(text\)\n`:         "function fill.options_with_ttl()\n  if true then return nil end\n",
		`(or the words negative, ')(?s:.*?)in this order'`: "$1 .. 'room, schema, in this order'",
	} {
		if !regexp.MustCompile(now).MatchString(older) {
			t.Fatalf("the library has no %s", now)
		}
		older = regexp.MustCompile(now).ReplaceAllString(older, before)
	}
	return older
}

// withOlderLibrary starts a server that keeps an older library, and returns options for a user who
// may load no other.
func withOlderLibrary(t *testing.T) (*redistest.Server, *redis.Options) {
	t.Helper()
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	if err := server.Client().FunctionLoadReplace(t.Context(), olderLibrary(t)).Err(); err != nil {
		t.Fatal(err)
	}
	server.ApplyACL(redistest.ACLOf(t, runbook, namespace))
	options := redisOptions(server.Addr())
	options.Username, options.Password = namespace, "secret"
	return server, options
}

func TestSetWorksWithAnOlderLibrary(t *testing.T) {
	t.Parallel()
	server, options := withOlderLibrary(t)
	c := newCache(t, redis.NewClient(options), cache.WithTimeout(waitTimeout), cache.WithFailureHook(func(f cache.Failure) { t.Error(f.Err) }))
	for i := range 5 {
		var value int
		if err := c.Set(t.Context(), usersGet, i); err != nil {
			t.Fatal(err)
		}
		if found, err := c.Get(t.Context(), usersGet, &value); !found || err != nil || value != i {
			t.Errorf("found %v, %d (%v), want %d", found, value, err, i)
		}
	}
	if n := server.Client().FCallRO(t.Context(), "cw_version", nil).Val(); n != int64(4) {
		t.Errorf("the library has version %v now", n)
	}
}

// Without the limit the entry would be kept for too long.
func TestWithAnOlderLibraryWhatHasALimitIsNotStored(t *testing.T) {
	t.Parallel()
	_, options := withOlderLibrary(t)
	var failures atomic.Int64
	c := newCache(t, redis.NewClient(options), cache.WithTimeout(waitTimeout), cache.WithFailureHook(func(f cache.Failure) {
		if !errors.Is(f.Err, registry.ErrLibraryTooOld) {
			t.Error(f.Err)
		}
		failures.Add(1)
	}))
	for i := range 10 {
		n, err := cache.Fetch(t.Context(), c, usersGet, func(ctx context.Context) (int, error) {
			cache.LimitTTL(ctx, time.Minute)
			return i, nil
		})
		if n != i || err != nil {
			t.Errorf("got %d (%v), want the loaded %d", n, err, i)
		}
	}
	if failures.Load() == 0 {
		t.Error("nobody is told")
	}
	if !fetchLoaded(t, c, cache.Key{Module: "users", Operation: "get", Params: 2}) || fetchLoaded(t, c, cache.Key{Module: "users", Operation: "get", Params: 2}) {
		t.Error("others are not cached")
	}
}

// What could not be replaced must not stay.
func TestASetThatAFullRedisRefusesRemovesTheEntry(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	c := newCache(t, redis.NewClient(redisOptions(server.Addr())), cache.WithTimeout(waitTimeout))
	for i := range 8 { // and while the breaker is open
		if err := server.Client().ConfigSet(t.Context(), "maxmemory", "0").Err(); err != nil {
			t.Fatal(err)
		}
		id, err := cache.ID(i)
		if err != nil {
			t.Fatal(err)
		}
		key := registry.Key{Slot: usersSlot, Operation: "get", ID: id}
		r := registry.New(server.Client())
		if _, err := r.Put(t.Context(), key, []byte(`"old"`), registry.FillOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := server.Client().ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
			t.Fatal(err)
		}
		if err := c.Set(t.Context(), cache.Key{Module: "users", Operation: "get", Params: i}, "new"); err == nil {
			t.Error("it is stored")
		}
		if found, err := r.Read(t.Context(), key); err != nil || found.Hit {
			t.Errorf("round %d: %q is still there (%v)", i, found.Payload, err)
		}
	}
}
