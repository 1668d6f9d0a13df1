// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
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

func newNearCache(t testing.TB, client redis.UniversalClient, bounds cache.NearCache, opts ...cache.Option) *cache.Client {
	t.Helper()
	return newCache(t, client, append([]cache.Option{cache.WithNearCache(bounds), cache.WithTimeout(waitTimeout)}, opts...)...)
}

// mgets returns how many reads Redis has served.
func mgets(t *testing.T, server *redistest.Server) int {
	t.Helper()
	return commandCalls(t, server)["mget"]
}

// warm fetches an entry until it is kept near.
func warm(t *testing.T, server *redistest.Server, c cache.Cache, key cache.Key) {
	t.Helper()
	NewWithT(t).Eventually(func() bool {
		before := mgets(t, server)
		fetchLoaded(t, c, key)
		fetchLoaded(t, c, key)
		return mgets(t, server) == before
	}).WithTimeout(waitTimeout).Should(BeTrue(), "the entry is not kept")
}

func TestNearHitCostsNoCall(t *testing.T) {
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	c := newNearCache(t, redis.NewClient(redisOptions(server.Addr())), cache.NearCache{}, cache.WithReportInterval(time.Hour))
	for _, key := range []cache.Key{
		{Module: "users", Operation: "get"},
		{Module: "users", Operation: "get", Params: "a"},
		{Module: "users", Operation: "get", Params: 1, User: "ada"},
		{Module: "users", Operation: "get", Params: map[string]any{"page": 1}},
	} {
		warm(t, server, c, key)
		before := mgets(t, server)
		for range 100 {
			if fetchLoaded(t, c, key) {
				t.Error("loaded")
			}
			var value string
			if found, err := c.Get(t.Context(), key, &value); !found || err != nil || value != "value" {
				t.Errorf("Get: %q, %v, %v", value, found, err)
			}
		}
		if got := mgets(t, server); got != before {
			t.Errorf("%+v: %d calls for 200 near hits", key, got-before)
		}
	}
	stats, err := c.Stats(t.Context(), "users")
	if err != nil || stats[0].Operations[0].Hits < 800 {
		t.Errorf("near hits are not counted: %+v, %v", stats, err)
	}
}

// TestNearHitThroughFetchAllocatesLittle: a request as for Redis takes longer to make than the answer.
func TestNearHitThroughFetchAllocatesLittle(t *testing.T) {
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	c := newNearCache(t, redis.NewClient(redisOptions(server.Addr())), cache.NearCache{}, cache.WithReportInterval(time.Hour))
	key := cache.Key{Module: "users", Operation: "get", Params: "a"}
	warm(t, server, c, key)
	var value string
	load := func(context.Context) (any, error) { return "value", nil }
	allocated := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			if err := c.Fetch(t.Context(), key, &value, load); err != nil {
				b.Fatal(err)
			}
		}
	}).AllocedBytesPerOp()
	if allocated > 100 {
		t.Errorf("a near hit allocates %d bytes", allocated)
	}
}

func TestNearCacheObeysInvalidationsOfOthersSoonAndItsOwnAtOnce(t *testing.T) {
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	c := newNearCache(t, redis.NewClient(redisOptions(server.Addr())), cache.NearCache{})
	other := newCache(t, redis.NewClient(redisOptions(server.Addr())), cache.WithTimeout(waitTimeout))
	key := cache.Key{Module: "users", Operation: "get", Params: 1, User: "ada"}
	for name, invalidate := range map[string]func(context.Context, cache.Cache) error{
		"module":    func(ctx context.Context, c cache.Cache) error { return c.InvalidateModule(ctx, "users") },
		"operation": func(ctx context.Context, c cache.Cache) error { return c.InvalidateOperation(ctx, "users", "get") },
		"user":      func(ctx context.Context, c cache.Cache) error { return c.InvalidateUser(ctx, "ada") },
		"delete":    func(ctx context.Context, c cache.Cache) error { return c.Delete(ctx, key) },
	} {
		warm(t, server, c, key)
		if err := invalidate(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if !fetchLoaded(t, c, key) {
			t.Errorf("%s: served from memory after an invalidation by the same client", name)
		}
		warm(t, server, c, key)
		if err := invalidate(t.Context(), other); err != nil {
			t.Fatal(err)
		}
		NewWithT(t).Eventually(func() bool { return fetchLoaded(t, c, key) }).
			WithTimeout(waitTimeout).WithPolling(time.Millisecond).Should(BeTrue(), name)
	}
	warm(t, server, c, key)
	if err := c.Set(t.Context(), key, "set"); err != nil {
		t.Fatal(err)
	}
	var value string
	if found, err := c.Get(t.Context(), key, &value); !found || err != nil || value != "set" {
		t.Errorf("after a Set: %q, %v, %v", value, found, err)
	}
}

func TestSoftInvalidationOfANearEntryLetsItBeRefreshed(t *testing.T) {
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	c := newNearCache(t, redis.NewClient(redisOptions(server.Addr())), cache.NearCache{})
	warm(t, server, c, usersGet)
	if err := c.InvalidateSoftly(t.Context(), cache.Scope{Module: "users"}); err != nil {
		t.Fatal(err)
	}
	NewWithT(t).Eventually(func() string {
		value, err := cache.Fetch(t.Context(), c, usersGet, func(context.Context) (string, error) { return "new", nil })
		if err != nil {
			t.Error(err)
		}
		return value
	}).WithTimeout(waitTimeout).Should(Equal("new"))
}

func TestNearEntryOfAnotherTypeIsReadFromRedis(t *testing.T) {
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	c := newNearCache(t, redis.NewClient(redisOptions(server.Addr())), cache.NearCache{})
	if err := c.Set(t.Context(), usersGet, 7); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		var asInt int
		var asFloat float64
		if found, err := c.Get(t.Context(), usersGet, &asInt); !found || err != nil || asInt != 7 {
			t.Fatalf("got %v, %v, %v", asInt, found, err)
		}
		if found, err := c.Get(t.Context(), usersGet, &asFloat); !found || err != nil || asFloat != 7 {
			t.Fatalf("got %v, %v, %v", asFloat, found, err)
		}
	}
}

// The caller that read a value shares it with the near cache, and may use the destination again.
func TestNearEntryIsNotChangedThroughTheDestinationItWasReadInto(t *testing.T) {
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	c := newNearCache(t, redis.NewClient(redisOptions(server.Addr())), cache.NearCache{})
	type user struct{ Name string }
	keyOf := func(name string) cache.Key { return cache.Key{Module: "users", Operation: "get", User: name} }
	read := func(name string, dest **user) {
		t.Helper()
		if found, err := c.Get(t.Context(), keyOf(name), dest); !found || err != nil || (*dest).Name != name {
			t.Fatalf("%s is read as %+v, %v, %v", name, *dest, found, err)
		}
	}
	for _, name := range []string{"ada", "bob"} {
		if err := c.Set(t.Context(), keyOf(name), user{name}); err != nil {
			t.Fatal(err)
		}
	}
	NewWithT(t).Eventually(func() bool {
		var dest, fresh *user
		before := mgets(t, server)
		read("ada", &dest)
		kept := mgets(t, server) == before
		read("bob", &dest)
		read("ada", &fresh)
		return kept
	}).WithTimeout(waitTimeout).Should(BeTrue(), "nothing is kept")
}

// Params that differ in Redis differ in memory.
func TestNearEntriesAreTheirOwn(t *testing.T) {
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	c := newNearCache(t, redis.NewClient(redisOptions(server.Addr())), cache.NearCache{})
	long := strings.Repeat("long", 1000)
	params := []any{nil, "", "1", 1, true, "true", []int{1}, 9007199254740993, 9007199254740992, long, long + "er"}
	for range 20 {
		for i, p := range params {
			got, err := cache.Fetch(t.Context(), c, cache.Key{Module: "users", Operation: "get", Params: p},
				func(context.Context) (int, error) { return i, nil })
			if got != i || err != nil {
				t.Fatalf("%#v: got %d, %v, want %d", p, got, err, i)
			}
		}
	}
}

func TestNearEntryIsReadAgainAfterItsMaxAge(t *testing.T) {
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	c := newNearCache(t, redis.NewClient(redisOptions(server.Addr())), cache.NearCache{MaxAge: 200 * time.Millisecond})
	warm(t, server, c, usersGet)
	before := mgets(t, server)
	NewWithT(t).Eventually(func() int {
		fetchLoaded(t, c, usersGet)
		return mgets(t, server)
	}).WithTimeout(waitTimeout).Should(BeNumerically(">", before))
}

func TestNearCacheServesNothingWhenRedisIsGone(t *testing.T) {
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	reported := make(chan error, 1000)
	c := newCache(t, redis.NewClient(redisOptions(server.Addr())), cache.WithNearCache(cache.NearCache{}),
		cache.WithFailureHook(func(f cache.Failure) {
			select {
			case reported <- f.Err:
			default:
			}
		}))
	warm(t, server, c, usersGet)
	server.Kill()
	NewWithT(t).Eventually(func() bool { return fetchLoaded(t, c, usersGet) }).WithTimeout(waitTimeout).Should(BeTrue())
	if err := <-reported; !errors.Is(err, registry.ErrUnreachable) {
		t.Errorf("reported %v", err)
	}
	server.Restart()
	applyPolicy(t, server.Client(), "users", hour())
	warm(t, server, c, usersGet)
}

func TestNearCacheRefusesWhatCannotWork(t *testing.T) {
	ring := redis.NewRing(&redis.RingOptions{})
	defer ring.Close()
	client := redis.NewClient(&redis.Options{ContextTimeoutEnabled: true})
	defer client.Close()
	if _, err := cache.New(ring, namespace, cache.WithNearCache(cache.NearCache{})); err == nil {
		t.Error("a ring was accepted")
	}
	for name, options := range map[string]*redis.ClusterOptions{
		"ReadOnly": {ReadOnly: true}, "RouteByLatency": {RouteByLatency: true}, "RouteRandomly": {RouteRandomly: true},
	} {
		options.Addrs, options.ContextTimeoutEnabled = []string{"127.0.0.1:1"}, true
		replicas := redis.NewClusterClient(options)
		t.Cleanup(func() { _ = replicas.Close() })
		if _, err := cache.New(replicas, namespace, cache.WithNearCache(cache.NearCache{})); err == nil {
			t.Errorf("%s: reads from replicas were accepted", name)
		}
	}
	for _, bounds := range []cache.NearCache{{MaxEntries: -1}, {MaxBytes: -1}, {MaxAge: -1}} {
		if _, err := cache.New(client, namespace, cache.WithNearCache(bounds)); err == nil {
			t.Errorf("%+v was accepted", bounds)
		}
	}
}

// history records, for each key, which version of the source was invalidated when.
type history struct {
	mu    sync.Mutex
	marks map[cache.Key][]mark
}

type mark struct {
	version int64
	at      time.Time
}

func (h *history) invalidated(version int64, keys ...cache.Key) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, key := range keys {
		h.marks[key] = append(h.marks[key], mark{version, time.Now()})
	}
}

// atLeast is the least version that a read of the key may return that begins so long after an
// invalidation that it was seen everywhere.
func (h *history) atLeast(key cache.Key, now time.Time, window time.Duration) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range slices.Backward(h.marks[key]) {
		if now.Sub(m.at) >= window {
			return m.version
		}
	}
	return 0
}

// There are random invalidations from another process, connections are cut, and Redis restarts.
// What was invalidated is no longer read once there was time to report that. The source is a
// version that is raised before each invalidation. Each key has the version that was there when it
// was loaded.
func TestNearCacheReturnsNothingThatWasInvalidated(t *testing.T) {
	staysTrue(t, 60, func(writer *cache.Client, keys []cache.Key, _ *atomic.Int64) []invalidation {
		matching := func(match func(cache.Key) bool) []cache.Key {
			return slices.DeleteFunc(slices.Clone(keys), func(k cache.Key) bool { return !match(k) })
		}
		return []invalidation{
			func(ctx context.Context) ([]cache.Key, error) { return keys, writer.InvalidateModule(ctx, "users") },
			func(ctx context.Context) ([]cache.Key, error) {
				return matching(func(k cache.Key) bool { return k.Operation == "get" }), writer.InvalidateOperation(ctx, "users", "get")
			},
			func(ctx context.Context) ([]cache.Key, error) {
				return matching(func(k cache.Key) bool { return k.User == "ada" }), writer.InvalidateUser(ctx, "ada", "users")
			},
			func(ctx context.Context) ([]cache.Key, error) { return keys[:1], writer.Delete(ctx, keys[0]) },
		}
	})
}

// Nothing but entries is invalidated, and there are few other disturbances. So what is kept stays
// for long, and only the log of deletions ends it.
func TestNearCacheReturnsNothingThatWasDeleted(t *testing.T) {
	staysTrue(t, 1000, func(writer *cache.Client, keys []cache.Key, version *atomic.Int64) []invalidation {
		one := func() []cache.Key {
			at := rand.IntN(len(keys))
			return keys[at : at+1]
		}
		return []invalidation{
			func(ctx context.Context) ([]cache.Key, error) {
				key := one()
				return key, writer.Delete(ctx, key[0])
			},
			func(ctx context.Context) ([]cache.Key, error) {
				key := one()
				return key, writer.Set(ctx, key[0], version.Load())
			},
			func(ctx context.Context) ([]cache.Key, error) {
				key := one()
				held, err := writer.Hold(ctx, time.Minute, key[0])
				return key, errors.Join(err, held.Release(ctx))
			},
		}
	})
}

// invalidation invalidates entries, and returns which.
type invalidation = func(context.Context) ([]cache.Key, error)

// staysTrue is the check of both tests. Redis is disturbed with three of so many invalidations.
func staysTrue(t *testing.T, disturbedOf int, verbsOf func(*cache.Client, []cache.Key, *atomic.Int64) []invalidation) {
	t.Helper()
	const (
		// window is far more than a report takes, for a busy machine, and far less than MaxAge.
		window = 500 * time.Millisecond
		length = 6 * time.Second
	)
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	admin := server.Client()
	writer := newCache(t, redis.NewClient(redisOptions(server.Addr())), cache.WithTimeout(waitTimeout))
	keys := []cache.Key{
		{Module: "users", Operation: "get", Params: 1},
		{Module: "users", Operation: "get", Params: 1, User: "ada"},
		{Module: "users", Operation: "list", User: "ada"},
		{Module: "users", Operation: "list", User: "bob"},
	}
	var version, reads, loads atomic.Int64
	verbs := verbsOf(writer, keys, &version)
	answers := &answers{}
	past := &history{marks: make(map[cache.Key][]mark)}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var readers sync.WaitGroup
	for range 2 {
		c := newNearCache(t, redis.NewClient(redisOptions(server.Addr())), cache.NearCache{}, cache.WithObserver(answers))
		for range 2 {
			readers.Go(func() {
				for ctx.Err() == nil {
					key := keys[rand.IntN(len(keys))]
					atLeast := past.atLeast(key, time.Now(), window)
					got, err := cache.Fetch(t.Context(), c, key, func(context.Context) (int64, error) {
						loads.Add(1)
						return version.Load(), nil
					})
					if err != nil || got < atLeast {
						t.Errorf("read version %d of %+v, %v, long after version %d was invalidated", got, key, err, atLeast)
						return
					}
					reads.Add(1)
					time.Sleep(rand.N(readPause))
				}
			})
		}
	}
	for end := time.Now().Add(length); time.Now().Before(end) && !t.Failed(); {
		switch rand.IntN(disturbedOf) {
		case 0:
			_ = admin.Do(ctx, "CLIENT", "KILL", "TYPE", "pubsub").Err()
		case 1:
			_ = admin.Do(ctx, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes").Err()
		case 2:
			server.Kill()
			server.Restart()
			applyPolicy(t, server.Client(), "users", hour())
		}
		now := version.Add(1)
		covered, err := verbs[rand.IntN(len(verbs))](ctx)
		if err == nil {
			past.invalidated(now, covered...)
		}
		time.Sleep(rand.N(40 * time.Millisecond)) // the load of the test, not its measure
	}
	stop()
	readers.Wait()
	t.Logf("%d reads, %d of them from memory, %d loads, %d versions", reads.Load(), answers.near.Load(), loads.Load(), version.Load())
	if answers.near.Load() < reads.Load()/20 || loads.Load() < 10 {
		t.Error("the test did not test: it reads from memory and loads too seldom")
	}
}
