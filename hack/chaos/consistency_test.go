// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package chaos disturbs a cache in use, and holds every read against the history.
//
// "go test" runs it for seconds, "make chaos" for minutes (CHAOS_READS says how many reads).
package chaos

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

const (
	namespace  = "shop"
	module     = "users"
	operations = 3
	userIDs    = 3 // and the entries that all share
	ids        = 20
	clients    = 4 // as many processes' worth
	readers    = 8 // goroutines of each client
)

var slot = registry.Slot{Namespace: namespace, Module: module}

// history is what is known of invalidations, on a clock that only counts.
//
// The rule: no read that began after an invalidation had completed returns a value whose load began
// before that invalidation began, if the invalidation covers the entry.
type history struct {
	clock atomic.Int64
	// Of each scope, when the latest completed invalidation began.
	floors sync.Map
}

func (h *history) tick() int64 { return h.clock.Add(1) }

func (h *history) completed(scope registry.Scope, began int64) {
	value, _ := h.floors.LoadOrStore(scope, &atomic.Int64{})
	floor := value.(*atomic.Int64)
	for old := floor.Load(); began > old && !floor.CompareAndSwap(old, began); old = floor.Load() {
	}
}

// floor is how old a load may be, at the least, for a read that begins now.
func (h *history) floor(key cache.Key) int64 {
	scopes := []registry.Scope{{}, {Operation: key.Operation}}
	if key.User != "" {
		scopes = append(scopes, registry.Scope{User: key.User}, registry.Scope{Operation: key.Operation, User: key.User})
	}
	latest := int64(0)
	for _, scope := range scopes {
		if floor, ok := h.floors.Load(scope); ok {
			latest = max(latest, floor.(*atomic.Int64).Load())
		}
	}
	return latest
}

// run is one run of readers and invalidations over a Redis.
type run struct {
	history    history
	reads      atomic.Int64
	loads      atomic.Int64
	violations atomic.Int64
	registry   *registry.Registry
}

func randomKey() cache.Key {
	key := cache.Key{Module: module, Operation: fmt.Sprint("op", rand.IntN(operations)), Params: rand.IntN(ids)}
	if user := rand.IntN(userIDs + 1); user > 0 {
		key.User = fmt.Sprint("user", user)
	}
	return key
}

// randomScope is small most of the time, else there would be next to nothing to read.
func randomScope() registry.Scope {
	key := randomKey()
	switch dice := rand.IntN(20); {
	case dice == 0:
		return registry.Scope{}
	case dice < 4:
		return registry.Scope{Operation: key.Operation}
	case dice < 8:
		return registry.Scope{User: key.User}
	default:
		return registry.Scope{Operation: key.Operation, User: key.User}
	}
}

// read is one read through the cache, held against the history. The value is when its load began.
func (r *run) read(ctx context.Context, c cache.Cache) error {
	key := randomKey()
	floor := r.history.floor(key)
	began, err := cache.Fetch(ctx, c, key, func(context.Context) (int64, error) {
		r.loads.Add(1)
		began := r.history.tick()
		time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond)
		return began, nil
	})
	if err != nil {
		return err
	}
	r.reads.Add(1)
	if began < floor {
		r.violations.Add(1)
	}
	return nil
}

// invalidate makes one invalidation. One that failed may have taken effect or not, so it counts for nothing.
func (r *run) invalidate(ctx context.Context) {
	scope, began := randomScope(), r.history.tick()
	if _, err := r.registry.Invalidate(ctx, slot, scope, registry.ModeHard, ""); err == nil {
		r.history.completed(scope, began)
	}
}

// loop runs do in a goroutine until ctx ends.
func loop(ctx context.Context, group *sync.WaitGroup, pause time.Duration, do func()) {
	group.Go(func() {
		for ctx.Err() == nil {
			do()
			if pause > 0 {
				time.Sleep(time.Duration(rand.Int64N(int64(2 * pause))))
			}
		}
	})
}

// quiet drops what the Redis client prints: that Redis is away is what these tests are about.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

func TestMain(m *testing.M) {
	redis.SetLogger(quiet{})
	os.Exit(m.Run())
}

func openClient(t *testing.T, server *redistest.Server) redis.UniversalClient {
	t.Helper()
	host, port, _ := strings.Cut(server.Addr(), ":")
	client, err := registry.ClientFromEnv(func(name string) (string, bool) {
		value, ok := map[string]string{"REDIS_HOST": host, "REDIS_PORT": port}[name]
		return value, ok
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func policy() registry.Policy {
	return registry.Policy{DefaultTTL: new(time.Minute)}
}

// start lets readers, invalidations and the part of the operator run until so many reads were made.
func (r *run) start(t *testing.T, server *redistest.Server, reads int64, disturb func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	r.registry = registry.New(openClient(t, server))
	if _, err := r.registry.ApplyPolicy(ctx, slot, policy()); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for range clients {
		client, err := cache.New(openClient(t, server), namespace, cache.WithLogger(slog.New(slog.DiscardHandler)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = client.Close(context.Background()) })
		for range readers {
			loop(ctx, &group, 0, func() {
				if err := r.read(ctx, client); err != nil && ctx.Err() == nil {
					t.Error("the cache made a read fail:", err)
					cancel()
				}
				if r.reads.Load() >= reads {
					cancel()
				}
			})
		}
	}
	loop(ctx, &group, 5*time.Millisecond, func() { r.invalidate(ctx) })
	loop(ctx, &group, 50*time.Millisecond, func() {
		// The operator's part: what Redis lost is put back.
		if hashes, err := r.registry.PolicyHashes(ctx, []registry.Slot{slot}); err == nil && hashes[0] == "" {
			_, _ = r.registry.ApplyPolicy(ctx, slot, policy())
		}
		_, _ = r.registry.Reclaim(ctx, slot, 200)
	})
	if disturb != nil {
		loop(ctx, &group, 500*time.Millisecond, disturb)
	}
	group.Wait()
}

func readsWanted(t *testing.T, short int64) int64 {
	t.Helper()
	text := os.Getenv("CHAOS_READS")
	if text == "" {
		return short
	}
	reads, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatalf("CHAOS_READS must be a number: %v", err)
	}
	return reads
}

// While Redis is killed and restarted, connections are cut and everything is invalidated all the
// time, no read returns what was loaded before an invalidation that it began after, and none fails.
func TestNoReadReturnsWhatWasInvalidatedBefore(t *testing.T) {
	server := redistest.Start(t)
	r := &run{}
	cuts := openClient(t, server)
	r.start(t, server, readsWanted(t, 100_000), func() {
		if rand.IntN(4) == 0 {
			server.Restart()
			return
		}
		_ = cuts.Do(t.Context(), "CLIENT", "KILL", "TYPE", "normal").Err()
	})
	t.Logf("%d reads, %d loads, %d violations", r.reads.Load(), r.loads.Load(), r.violations.Load())
	if n := r.violations.Load(); n > 0 {
		t.Errorf("%d reads returned what was loaded before an invalidation that they began after", n)
	}
	if r.loads.Load() > r.reads.Load()*9/10 {
		t.Error("next to nothing was read from the cache: the test shows nothing")
	}
}

// The same check finds violations when fills are not fenced: it can fail.
func TestTheCheckFindsViolationsWithoutTheFence(t *testing.T) {
	const fenced = "if is_fenced(slot, op, name, heads, token) then"
	unfenced := strings.Replace(registry.Library, fenced, "if heads.missing then", 1)
	unfenced = strings.Replace(unfenced, fmt.Sprintf("local VERSION = %d\n", registry.LibraryVersion), "local VERSION = 1000000\n", 1)
	if !strings.Contains(registry.Library, fenced) {
		t.Fatal("the library has no fence to take out")
	}
	server := redistest.Start(t)
	if err := server.Client().FunctionLoadReplace(t.Context(), unfenced).Err(); err != nil {
		t.Fatal(err)
	}
	r := &run{}
	r.start(t, server, 50_000, nil)
	t.Logf("%d reads, %d loads, %d violations", r.reads.Load(), r.loads.Load(), r.violations.Load())
	if r.violations.Load() == 0 {
		t.Error("fills were not fenced, and the check found nothing")
	}
}
