// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

const (
	namespace   = "shop"
	waitTimeout = 20 * time.Second
)

var usersGet = cache.Key{Module: "users", Operation: "get", Params: 1}

// options of a Redis client that would wait without end, without the bounds of the cache itself.
func redisOptions(addr string) *redis.Options {
	return &redis.Options{
		Addr: addr, ContextTimeoutEnabled: true, ReadTimeout: -1, WriteTimeout: -1,
		// As registry.ClientFromEnv does: otherwise connections that open at the same time race in
		// go-redis.
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

func newCache(tb testing.TB, client redis.UniversalClient, opts ...cache.Option) *cache.Client {
	tb.Helper()
	opts = append([]cache.Option{cache.WithLogger(slog.New(slog.DiscardHandler))}, opts...)
	c, err := cache.New(client, namespace, opts...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), waitTimeout)
		defer cancel()
		_ = c.Close(ctx) // in some tests Redis is gone
		_ = client.Close()
	})
	return c
}

func applyPolicy(tb testing.TB, client redis.UniversalClient, module string, policy registry.Policy) {
	tb.Helper()
	slot := registry.Slot{Namespace: namespace, Module: module}
	if _, err := registry.New(client).ApplyPolicy(tb.Context(), slot, policy); err != nil {
		tb.Fatal(err)
	}
}

func hour() registry.Policy { return registry.Policy{DefaultTTL: new(time.Hour)} }

// fetchLoaded fetches an entry and reports whether that called the loader.
func fetchLoaded(tb testing.TB, c cache.Cache, key cache.Key) (loaded bool) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), waitTimeout)
	defer cancel()
	got, err := cache.Fetch(ctx, c, key, func(ctx context.Context) (string, error) {
		loaded = true
		return "value", ctx.Err()
	})
	if got != "value" || err != nil {
		tb.Errorf("Fetch: got %q, %v", got, err)
	}
	return loaded
}

// Each row is a failure of Redis, and how it ends.
func TestApplicationIsServedWhateverRedisDoes(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fail    func(*testing.T, *redistest.Server)
		restore func(*testing.T, *redistest.Server)
	}{
		"killed": {
			func(_ *testing.T, s *redistest.Server) { s.Kill() },
			func(t *testing.T, s *redistest.Server) {
				s.Restart()
				applyPolicy(t, s.Client(), "users", hour()) // as the operator does
			},
		},
		"hanging": {
			func(_ *testing.T, s *redistest.Server) { s.Pause() },
			func(_ *testing.T, s *redistest.Server) { s.Resume() },
		},
		"refusing access": {
			command("CONFIG", "SET", "requirepass", "secret"),
			func(t *testing.T, s *redistest.Server) {
				admin := redis.NewClient(&redis.Options{Addr: s.Addr(), Password: "secret"})
				defer admin.Close()
				if err := admin.ConfigSet(t.Context(), "requirepass", "").Err(); err != nil {
					t.Fatal(err)
				}
			},
		},
		"out of memory":        {command("CONFIG", "SET", "maxmemory", "1"), command("CONFIG", "SET", "maxmemory", "0")},
		"a replica, read only": {command("REPLICAOF", "127.0.0.1", "1"), command("REPLICAOF", "NO", "ONE")},
		"without the library":  {command("FUNCTION", "FLUSH"), command("PING")},
		"emptied": {
			command("FLUSHALL"),
			func(t *testing.T, s *redistest.Server) { applyPolicy(t, s.Client(), "users", hour()) },
		},
	} {
		served := func(t *testing.T, server *redistest.Server, c *cache.Client) {
			t.Helper()
			applyPolicy(t, server.Client(), "users", hour())
			// Not at once: on a machine that halts, a call takes longer than its timeout.
			NewWithT(t).Eventually(func() bool { return fetchLoaded(t, c, usersGet) }).
				WithTimeout(waitTimeout).Should(BeFalse(), "nothing is cached to begin with")

			test.fail(t, server)
			for i := range 20 {
				fetchLoaded(t, c, cache.Key{Module: "users", Operation: "get", Params: fmt.Sprint("new", i)})
				fetchLoaded(t, c, usersGet)
			}
			test.restore(t, server)
			NewWithT(t).Eventually(func() bool { return fetchLoaded(t, c, usersGet) }).
				WithTimeout(waitTimeout).Should(BeFalse(), "caching does not resume")
		}
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			served(t, server, newCache(t, redis.NewClient(redisOptions(server.Addr()))))
		})
		t.Run(name+", pipelined", func(t *testing.T) {
			server := redistest.Start(t)
			options := redisOptions(server.Addr())
			options.ReadTimeout, options.MaxRetries = 200*time.Millisecond, -1
			served(t, server, newCache(t, redis.NewClient(options), cache.WithAutoPipelining(registry.HalfDuplex)))
		})
	}
}

func command(args ...any) func(*testing.T, *redistest.Server) {
	return func(t *testing.T, s *redistest.Server) {
		t.Helper()
		if err := s.Client().Do(t.Context(), args...).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestVerbsSayThatRedisIsDown(t *testing.T) {
	server := redistest.Start(t)
	c := newCache(t, redis.NewClient(redisOptions(server.Addr())), cache.WithInvalidationTimeout(100*time.Millisecond))
	server.Kill()
	ctx := t.Context()
	var dest string
	_, getErr := c.Get(ctx, usersGet, &dest)
	_, ttlErr := c.TTL(ctx, "users", "get")
	_, statsErr := c.Stats(ctx)
	for verb, err := range map[string]error{
		"Get": getErr, "Set": c.Set(ctx, usersGet, "v"), "Delete": c.Delete(ctx, usersGet), "TTL": ttlErr, "Stats": statsErr,
		"InvalidateModule":    c.InvalidateModule(ctx, "users"),
		"InvalidateOperation": c.InvalidateOperation(ctx, "users", "get"),
		"InvalidateUser":      c.InvalidateUser(ctx, "ada"),
		"InvalidateSoftly":    c.InvalidateSoftly(ctx, cache.Scope{Module: "users"}),
	} {
		if !errors.Is(err, registry.ErrUnreachable) {
			t.Errorf("%s: %v, want ErrUnreachable", verb, err)
		}
		if isInvalidation := verb == "Delete" || strings.HasPrefix(verb, "Invalidate"); errors.Is(err, cache.ErrQueued) != isInvalidation {
			t.Errorf("%s: %v; it should be ErrQueued: %v", verb, err, isInvalidation)
		}
	}
}

// Redis hangs, so that its memory survives. The invalidations made meanwhile reach it when it is
// back.
func TestInvalidationsThatCouldNotReachRedisAreDelivered(t *testing.T) {
	t.Parallel()
	for name, invalidate := range map[string]func(context.Context, cache.Cache, cache.Key) error{
		"module": func(ctx context.Context, c cache.Cache, k cache.Key) error { return c.InvalidateModule(ctx, k.Module) },
		"operation": func(ctx context.Context, c cache.Cache, k cache.Key) error {
			return c.InvalidateOperation(ctx, k.Module, k.Operation)
		},
		"user":   func(ctx context.Context, c cache.Cache, k cache.Key) error { return c.InvalidateUser(ctx, k.User) },
		"delete": func(ctx context.Context, c cache.Cache, k cache.Key) error { return c.Delete(ctx, k) },
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			applyPolicy(t, server.Client(), "users", hour())
			c := newCache(t, redis.NewClient(redisOptions(server.Addr())), cache.WithInvalidationTimeout(50*time.Millisecond))
			other := newCache(t, redis.NewClient(redisOptions(server.Addr())), cache.WithTimeout(waitTimeout))
			key := cache.Key{Module: "users", Operation: "get", User: "ada"}
			fetchLoaded(t, other, key)
			server.Pause()
			if err := invalidate(t.Context(), c, key); !errors.Is(err, cache.ErrQueued) {
				t.Errorf("got %v, want ErrQueued", err)
			}
			server.Resume()
			NewWithT(t).Eventually(func() bool { return fetchLoaded(t, other, key) }).WithTimeout(waitTimeout).Should(BeTrue())
			NewWithT(t).Eventually(func() bool { return fetchLoaded(t, c, key) }).WithTimeout(waitTimeout).Should(BeFalse())
			if err := c.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestInvalidateUserSaysThatTheModulesAreUnknown(t *testing.T) {
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	c := newCache(t, redis.NewClient(redisOptions(server.Addr())))
	if err := c.InvalidateUser(t.Context(), "ada"); err != nil {
		t.Error(err)
	}
	command("DEL", "cw:{"+namespace+"}:modules")(t, server)
	if err := c.InvalidateUser(t.Context(), "ada"); !errors.Is(err, registry.ErrModulesUnknown) {
		t.Errorf("got %v, want ErrModulesUnknown", err)
	}
}

func TestNamespacesAreTenants(t *testing.T) {
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	mine := newCache(t, redis.NewClient(redisOptions(server.Addr())))
	fetchLoaded(t, mine, usersGet)

	theirs, err := cache.New(redis.NewClient(redisOptions(server.Addr())), "other")
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close(t.Context())
	var dest string
	if found, err := theirs.Get(t.Context(), usersGet, &dest); found || err != nil {
		t.Errorf("another namespace reads %q, %v", dest, err)
	}
	if err := theirs.InvalidateModule(t.Context(), "users"); err != nil {
		t.Error(err)
	}
	if fetchLoaded(t, mine, usersGet) {
		t.Error("another namespace invalidated the entry")
	}
}

func TestHitCostsOneMGet(t *testing.T) {
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	c := newCache(t, redis.NewClient(redisOptions(server.Addr())), cache.WithTimeout(waitTimeout))
	fetchLoaded(t, c, usersGet)
	command("CONFIG", "RESETSTAT")(t, server)
	for range 10 {
		fetchLoaded(t, c, usersGet)
	}
	calls := commandCalls(t, server)
	delete(calls, "info")
	delete(calls, "config|resetstat")
	delete(calls, "hello")
	delete(calls, "client|setinfo")
	delete(calls, "client|maint_notifications")
	if len(calls) != 1 || calls["mget"] != 10 {
		t.Errorf("10 hits made these calls: %v", calls)
	}
}

func commandCalls(t *testing.T, server *redistest.Server) map[string]int {
	t.Helper()
	stats, err := server.Client().InfoMap(t.Context(), "commandstats").Result()
	if err != nil {
		t.Fatal(err)
	}
	calls := map[string]int{}
	for command, stat := range stats["Commandstats"] {
		var n int
		if _, err := fmt.Sscanf(stat, "calls=%d,", &n); err != nil {
			t.Fatal(err)
		}
		calls[strings.TrimPrefix(command, "cmdstat_")] = n
	}
	return calls
}

func TestHitsAreReported(t *testing.T) {
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	c := newCache(t, redis.NewClient(redisOptions(server.Addr())), cache.WithReportInterval(time.Millisecond), cache.WithTimeout(waitTimeout))
	for range 5 {
		fetchLoaded(t, c, usersGet)
	}
	slot := registry.Slot{Namespace: namespace, Module: "users"}
	counts := func() registry.OperationStats {
		stats, err := registry.New(server.Client()).Stats(t.Context(), slot)
		if err != nil {
			t.Fatal(err)
		}
		return stats.Operations["get"]
	}
	NewWithT(t).Eventually(func() int64 { return counts().Hits }).WithTimeout(waitTimeout).Should(Equal(int64(4)))
	if got := counts(); got.Misses != 1 || got.Fills != 1 || got.Errors != 0 {
		t.Errorf("got %+v, want one miss and one fill", got)
	}
}

func TestCloseEndsEveryGoroutine(t *testing.T) {
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	before := goroutines()
	ours := func() (names []string) {
		for id, name := range goroutines() {
			if _, old := before[id]; !old {
				names = append(names, name)
			}
		}
		return names
	}
	c := newNearCache(t, redis.NewClient(redisOptions(server.Addr())), cache.NearCache{}, cache.WithAudit(cache.Audit{Share: 1, Grace: time.Hour}))
	if err := c.Set(t.Context(), usersGet, "value"); err != nil {
		t.Fatal(err)
	}
	keepNear(t, server, c, usersGet)
	changed := func(context.Context) (string, error) { return "changed", nil }
	if _, err := cache.Fetch(t.Context(), c, usersGet, changed); err != nil {
		t.Fatal(err)
	}
	g := NewWithT(t)
	for _, part := range []string{"report.(*Reporter).run", "heads.(*Tracker).Run", "audit.(*Auditor).audit", "otter"} {
		g.Eventually(ours).WithTimeout(waitTimeout).Should(ContainElement(ContainSubstring(part)))
	}
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
	g.Eventually(ours).WithTimeout(waitTimeout).Should(BeEmpty())
}

// goroutines returns the stacks of goroutines that run our code or that of our dependencies, except
// tests, by their number.
func goroutines() map[string]string {
	found := map[string]string{}
	for stack := range strings.SplitSeq(stacks(), "\n\n") {
		id, _, _ := strings.Cut(stack, " [")
		ours := strings.Contains(stack, "cachewright/cache.") || strings.Contains(stack, "cachewright/cache/") ||
			strings.Contains(stack, "cachewright/registry.") || strings.Contains(stack, "maypok86/otter")
		if ours && !strings.Contains(stack, "testing.tRunner") {
			found[id] = stack
		}
	}
	return found
}

func stacks() string {
	buffer := make([]byte, 8<<20)
	return string(buffer[:runtime.Stack(buffer, true)])
}

// Every kind of invalidation at random moments of many loads: what was loaded before one is never
// read after it. The source is a version that is raised before each invalidation.
func TestNothingStaleAfterAnInvalidation(t *testing.T) {
	const rounds = 1000
	server := redistest.Start(t)
	for _, module := range []string{"users", "posts"} {
		applyPolicy(t, server.Client(), module, hour())
	}
	var readers []*cache.Client
	for range 2 {
		readers = append(readers, newCache(t, redis.NewClient(redisOptions(server.Addr())), cache.WithTimeout(waitTimeout)))
	}
	writer := newCache(t, redis.NewClient(redisOptions(server.Addr())), cache.WithTimeout(waitTimeout))
	key := cache.Key{Module: "users", Operation: "get", Params: 1, User: "ada"}

	var version, invalidated atomic.Int64
	stop := make(chan struct{})
	var reads, hits atomic.Int64
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				atLeast, loaded := invalidated.Load(), false
				got, err := cache.Fetch(t.Context(), readers[i%2], key, func(context.Context) (int64, error) {
					loaded = true
					now := version.Load()
					runtime.Gosched()
					return now, nil
				})
				if err != nil || got < atLeast {
					t.Errorf("read version %d, %v, after version %d was invalidated", got, err, atLeast)
					return
				}
				reads.Add(1)
				if !loaded {
					hits.Add(1)
				}
			}
		})
	}
	verbs := []func() error{
		func() error { return writer.InvalidateModule(t.Context(), key.Module) },
		func() error { return writer.InvalidateOperation(t.Context(), key.Module, key.Operation) },
		func() error { return writer.InvalidateUser(t.Context(), key.User, key.Module) },
		func() error { return writer.InvalidateUser(t.Context(), key.User) },
		func() error { return writer.Delete(t.Context(), key) },
	}
	for i := range rounds {
		now := version.Add(1)
		if err := verbs[i%len(verbs)](); err != nil {
			t.Fatal(err)
		}
		invalidated.Store(now)
	}
	close(stop)
	all.Wait()
	if hits.Load() == 0 || hits.Load() == reads.Load() {
		t.Errorf("%d of %d reads were hits: the test did not test", hits.Load(), reads.Load())
	}
}

// Other processes see the load lock. If its owner is gone, the lock ends when its time is over.
func TestProcessesLoadOnce(t *testing.T) {
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	process := func(wait time.Duration) *cache.Client {
		return newCache(t, redis.NewClient(redisOptions(server.Addr())), cache.WithTimeout(waitTimeout), cache.WithLoadWait(wait))
	}
	begun, release := make(chan struct{}), make(chan struct{})
	var owner sync.WaitGroup
	first := process(waitTimeout)
	owner.Go(func() {
		_, _ = cache.Fetch(t.Context(), first, usersGet, func(context.Context) (string, error) {
			close(begun)
			<-release
			return "value", nil
		})
	})
	<-begun
	if !fetchLoaded(t, process(10*time.Millisecond), cache.Key{Module: "users", Operation: "get", Params: "another"}) {
		t.Error("the lock of one entry holds up another")
	}
	var others sync.WaitGroup
	for range 3 {
		other := process(waitTimeout)
		others.Go(func() {
			if fetchLoaded(t, other, usersGet) {
				t.Error("two processes loaded")
			}
		})
	}
	NewWithT(t).Eventually(func() int { return strings.Count(stacks(), "loads.waiter.wait(") }).WithTimeout(waitTimeout).Should(Equal(3))
	close(release)
	others.Wait()
	owner.Wait()
}

func TestProcessThatDiesWhileItLoadsHoldsUpOthersForAMoment(t *testing.T) {
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	slot := registry.Slot{Namespace: namespace, Module: "users"}
	id, err := cache.ID(usersGet.Params)
	if err != nil {
		t.Fatal(err)
	}
	key := registry.Key{Slot: slot, Operation: "get", ID: id}
	if _, err := registry.New(server.Client()).LeaseLocked(t.Context(), key, 10*time.Minute); err != nil {
		t.Fatal(err) // and never released
	}
	c := newCache(t, redis.NewClient(redisOptions(server.Addr())), cache.WithTimeout(waitTimeout), cache.WithLoadWait(20*time.Millisecond))
	if !fetchLoaded(t, c, usersGet) || fetchLoaded(t, c, usersGet) {
		t.Error("the entry was not loaded, or not stored")
	}
}

func TestCluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 3)
	client := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: cluster.Addrs(), ContextTimeoutEnabled: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	c := newCache(t, client, cache.WithTimeout(waitTimeout))
	var modules []string
	for i := range 10 {
		modules = append(modules, fmt.Sprintf("module-%d", i))
		applyPolicy(t, client, modules[i], hour())
	}
	key := func(module, user string) cache.Key {
		return cache.Key{Module: module, Operation: "get", User: user}
	}
	for _, module := range modules {
		fetchLoaded(t, c, key(module, "ada"))
		fetchLoaded(t, c, key(module, "bob"))
	}
	if err := c.InvalidateUser(t.Context(), "ada"); err != nil {
		t.Fatal(err)
	}
	for _, module := range modules {
		if !fetchLoaded(t, c, key(module, "ada")) {
			t.Errorf("%s: the entry of the user is there still", module)
		}
		if fetchLoaded(t, c, key(module, "bob")) {
			t.Errorf("%s: the entry of another user is gone", module)
		}
	}
	stats, err := c.Stats(t.Context())
	if err != nil || len(stats) != len(modules) {
		t.Errorf("stats of %d modules, %v, want %d", len(stats), err, len(modules))
	}
}

func BenchmarkFetch(b *testing.B) {
	server := redistest.Start(b)
	applyPolicy(b, server.Client(), "users", hour())
	c := newCache(b, redis.NewClient(redisOptions(server.Addr())))
	value := strings.Repeat("x", 1024)
	load := func(context.Context) (string, error) { return value, nil }
	fetch := func(b *testing.B, params any) {
		b.Helper()
		if _, err := cache.Fetch(b.Context(), c, cache.Key{Module: "users", Operation: "get", Params: params}, load); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("hit", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			fetch(b, "always the same")
		}
	})
	b.Run("hit-parallel", func(b *testing.B) {
		b.SetParallelism(32)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				fetch(b, "always the same")
			}
		})
	})
	b.Run("hit-near", func(b *testing.B) {
		c := newNearCache(b, redis.NewClient(redisOptions(server.Addr())), cache.NearCache{})
		key := cache.Key{Module: "users", Operation: "get", Params: "always the same"}
		b.ReportAllocs()
		b.SetParallelism(32)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := cache.Fetch(b.Context(), c, key, load); err != nil {
					b.Error(err)
				}
			}
		})
	})
	b.Run("miss", func(b *testing.B) {
		b.ReportAllocs()
		n := 0
		for b.Loop() {
			n++
			fetch(b, n)
		}
	})
	b.Run("redis-down", func(b *testing.B) {
		server.Kill()
		b.ReportAllocs()
		for b.Loop() {
			fetch(b, "always the same")
		}
	})
	b.Run("plain-get", func(b *testing.B) {
		server.Restart()
		client := redis.NewClient(redisOptions(server.Addr()))
		defer client.Close()
		if err := client.Set(b.Context(), "key", value, 0).Err(); err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			if err := client.Get(b.Context(), "key").Err(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
