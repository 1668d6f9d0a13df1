// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package chaos disturbs a cache in use and checks every read against the history of invalidations.
//
// "go test" runs it for seconds, "make chaos" for minutes (CHAOS_READS sets the number of reads).
package chaos

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/hack/chaos/internal/scale"
	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

const (
	namespace  = "shop"
	module     = "users"
	operations = 4
	userIDs    = 3 // and the entries without a user
	ids        = 20
	soonStale  = 1 // the operation whose entries soon become stale
	clients    = 4 // each stands for a process: see members
	readers    = 8 // goroutines of each client
	// ahead is how many reads those of near caches may be ahead of the others, because they are
	// faster.
	ahead = 1000
	// redisTimeout is how long a client waits for Redis. With less, a busy machine would load nearly
	// all values without a call to Redis, and the test would prove little.
	redisTimeout = 500 * time.Millisecond
)

var slot = registry.Slot{Namespace: namespace, Module: module}

// run is one run of readers and invalidations over a Redis.
type run struct {
	history  history
	registry *registry.Registry

	reads      atomic.Int64 // by clients without a near cache
	nearReads  atomic.Int64 // by clients with one
	answers    answers
	foreign    atomic.Int64 // hits of reads without the Go client
	loads      atomic.Int64
	violations atomic.Int64
	late       atomic.Int64 // reads of near caches that are correct only because of grace
	latest     atomic.Int64 // the longest lateness, in nanoseconds
}

// member is a client and its number in the history.
type member struct {
	number int
	client *cache.Client
	near   bool
}

func randomKey() cache.Key {
	return keyOf(rand.IntN(operations), rand.IntN(userIDs+1), rand.IntN(ids))
}

// keyOf returns the key of an operation, of a user, and of an id. User 0 is none.
func keyOf(operation, user, id int) cache.Key {
	key := cache.Key{Module: module, Operation: fmt.Sprint("op", operation), Params: strconv.Itoa(id)}
	if user > 0 {
		key.User = fmt.Sprint("user", user)
	}
	return key
}

// randomScope returns a small scope most of the time. Otherwise too few entries would remain to
// read.
func randomScope() scope {
	key := randomKey()
	switch dice := rand.IntN(40); {
	case dice == 0:
		return scope{}
	case dice < 4:
		return scope{operation: key.Operation}
	case dice < 8:
		return scope{user: key.User}
	case dice < 20:
		return scope{operation: key.Operation, user: key.User}
	default:
		return scope{operation: key.Operation, user: key.User, id: key.Params.(string)}
	}
}

// read makes one read through the cache and checks it against the history. A value is the tick at
// which its load began.
func (r *run) read(ctx context.Context, m *member) error {
	key, now := randomKey(), time.Now()
	exact := r.history.floor(key, false, everybody)
	floor := exact
	if m.near {
		floor = r.history.nearFloor(key, m.number, now)
	}
	began, err := cache.Fetch(ctx, m.client, key, func(context.Context) (int64, error) {
		r.loads.Add(1)
		began := r.history.tick()
		time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond)
		return began, nil
	})
	if err != nil {
		return err
	}
	if began < floor {
		r.violations.Add(1)
	} else if began < exact {
		r.late.Add(1)
		r.wasLate(r.history.lateness(key, began, now))
	}
	return nil
}

func (r *run) wasLate(by time.Duration) {
	for old := r.latest.Load(); int64(by) > old && !r.latest.CompareAndSwap(old, int64(by)); old = r.latest.Load() {
	}
}

// readRedis reads as a client in another language does, which can tell fresh entries from stale
// ones.
func (r *run) readRedis(ctx context.Context) {
	key := randomKey()
	hard, soft := r.history.floor(key, false, everybody), r.history.floor(key, true, everybody)
	id, err := cache.ID(key.Params)
	if err != nil {
		panic(err)
	}
	lookup, err := r.registry.Read(ctx, registry.Key{Slot: slot, Operation: key.Operation, ID: id, User: key.User})
	if err != nil || !lookup.Hit {
		return
	}
	r.foreign.Add(1)
	began, err := strconv.ParseInt(string(lookup.Payload), 10, 64)
	if err != nil || began < hard || !lookup.Stale && began < soft {
		r.violations.Add(1)
	}
}

// invalidate makes one invalidation as the operator does.
func (r *run) invalidate(ctx context.Context) {
	s, mode, began := randomScope(), registry.ModeHard, r.history.tick()
	if rand.IntN(4) == 0 {
		mode = registry.ModeSoft
	}
	s.id = "" // the operator deletes no single entries
	if _, err := r.registry.Invalidate(ctx, slot, registry.Scope{Operation: s.operation, User: s.user}, mode, ""); err == nil {
		r.history.completed(s, mode == registry.ModeSoft, nobody, began)
	}
}

// invalidateBy makes one invalidation as an application does.
func (r *run) invalidateBy(ctx context.Context, m *member) {
	s, soft, began := randomScope(), rand.IntN(4) == 0, r.history.tick()
	var err error
	switch {
	case soft:
		s.id = ""
		err = m.client.InvalidateSoftly(ctx, cache.Scope{Module: module, Operation: s.operation, User: s.user})
	case s.id != "":
		err = m.client.Delete(ctx, cache.Key{Module: module, Operation: s.operation, Params: s.id, User: s.user})
	case s.operation != "":
		s.user = ""
		err = m.client.InvalidateOperation(ctx, module, s.operation)
	case s.user != "":
		err = m.client.InvalidateUser(ctx, s.user, module)
	default:
		err = m.client.InvalidateModule(ctx, module)
	}
	switch {
	case err == nil:
		r.history.completed(s, soft, m.number, began)
	case errors.Is(err, cache.ErrQueued):
		r.history.obeyedBy(s, soft, m.number, began)
	}
}

func TestMain(m *testing.M) {
	if addresses := os.Getenv(holderEnv); addresses != "" {
		_ = serveHolder(addresses, os.Stdin, os.Stdout) // until the test has ended
		return
	}
	os.Exit(m.Run())
}

type dialer = func(context.Context, string, string) (net.Conn, error)

// store is a Redis server or a cluster that the test disturbs.
type store []string

func storeOf(server *redistest.Server) store { return store{server.Addr()} }

// open returns a client of the store. dial may be nil.
func (s store) open(t *testing.T, dial dialer) redis.UniversalClient {
	t.Helper()
	client := redis.NewUniversalClient(&redis.UniversalOptions{
		Addrs: s, ContextTimeoutEnabled: true, Dialer: dial,
		// Pipelined calls share a connection, which must not hang for long.
		ReadTimeout: redisTimeout,
		// Disable maintenance notifications: concurrent connections of go-redis have a data race
		// there.
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// policy has one operation of each kind: plain, soon stale, briefly in near caches, and never in
// near caches.
func policy() registry.Policy {
	return registry.Policy{DefaultTTL: new(time.Minute), Operations: []registry.OperationPolicy{
		{Name: fmt.Sprint("op", soonStale), TTL: 200 * time.Millisecond, StaleFor: 10 * time.Second, JitterPercent: 50},
		{Name: "op2", TTL: time.Minute, LocalTTL: new(20 * time.Millisecond)},
		{Name: "op3", TTL: time.Minute, LocalTTL: new(time.Duration(0))},
	}}
}

// members opens the clients. Every second one has a near cache. The second half refreshes early and
// uses pipelines, each in another mode.
func (r *run) members(t *testing.T, store store, dial dialer) []*member {
	t.Helper()
	all := make([]*member, clients)
	for i := range all {
		all[i] = &member{number: i, near: i%2 == 1}
		options := []cache.Option{cache.WithLogger(slog.New(slog.DiscardHandler)), cache.WithTimeout(redisTimeout), cache.WithObserver(&r.answers)}
		if all[i].near {
			options = append(options, cache.WithNearCache(cache.NearCache{}))
		}
		if i >= clients/2 {
			options = append(options, cache.WithEarlyRefresh(1), cache.WithAutoPipelining(duplexes[i%len(duplexes)]))
		}
		client, err := cache.New(store.open(t, dial), namespace, options...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = client.Close(context.Background()) })
		all[i].client = client
	}
	return all
}

var duplexes = [...]registry.Duplex{registry.HalfDuplex, registry.FullDuplex}

// start runs readers, invalidations and the operator's part until there is enough.
func (r *run) start(t *testing.T, store store, members []*member, enough func() bool, disturb func()) {
	t.Helper()
	l := r.begin(t, store, crew{members: members, read: r.read, enough: enough, disturb: disturb})
	for _, m := range members {
		l.repeat(100*time.Millisecond, func(ctx context.Context) { r.invalidateBy(ctx, m) })
	}
	l.repeat(100*time.Millisecond, r.invalidate)
	l.repeat(time.Millisecond, r.readRedis)
	l.wait()
	t.Logf("%d reads, %d of them with near caches: %d answered by Redis and %d from memory, %d loads; %d hits of another client; %d violations; %d reads of near caches were late, by at most %s",
		r.total(), r.nearReads.Load(), r.answers.redis.Load(), r.answers.memory.Load(), r.loads.Load(), r.foreign.Load(), r.violations.Load(),
		r.late.Load(), time.Duration(r.latest.Load()).Round(10*time.Microsecond))
}

func (r *run) total() int64 { return r.reads.Load() + r.nearReads.Load() }

// enough means a number of reads, with a good part of them answered by the cache. Loads prove
// nothing.
func (r *run) enough(reads int64) func() bool {
	return func() bool { return r.total() >= reads && r.answers.atLeast(reads/10, reads/200) }
}

// unlessStarved calls do only if the cache has answered reads since the last call. On a busy
// machine, that may take long.
func (r *run) unlessStarved(do func()) func() {
	var byRedis, fromMemory int64
	return func() {
		if r.answers.atLeast(byRedis, fromMemory) {
			do()
			byRedis, fromMemory = r.answers.redis.Load()+1000, r.answers.memory.Load()+100
		}
	}
}

// aViolation is enough for a check that must find one. It gives up after a minute.
func (r *run) aViolation() func() bool {
	end := time.Now().Add(time.Minute)
	return func() bool { return r.violations.Load() > 0 || time.Now().After(end) }
}

// count counts a read. Reads of near caches keep pace with the others.
func (r *run) count(m *member) {
	if !m.near {
		r.reads.Add(1)
		return
	}
	if r.nearReads.Add(1) > r.reads.Load()+ahead {
		time.Sleep(time.Millisecond)
	}
}

// readsWanted returns how many reads are checked at least.
func readsWanted(t *testing.T, short int) int64 {
	t.Helper()
	return int64(scale.FromEnv(t, "CHAOS_READS", short))
}

// Redis is killed, frozen and restarted, connections break, and everything is invalidated all the
// time. Still no read breaks the rules of history, and none fails.
func TestNoReadReturnsWhatWasInvalidatedBefore(t *testing.T) {
	server := redistest.Start(t)
	r := &run{}
	store := storeOf(server)
	cuts, wanted := store.open(t, nil), readsWanted(t, 100_000)
	r.start(t, store, r.members(t, store, nil), r.enough(wanted), r.unlessStarved(func() {
		switch rand.IntN(8) {
		case 0, 1:
			server.Restart()
		case 2:
			server.Pause()
			time.Sleep(rand.N(2 * grace))
			server.Resume()
		case 3, 4:
			_ = cuts.Do(t.Context(), "CLIENT", "KILL", "TYPE", "pubsub").Err()
		default:
			_ = cuts.Do(t.Context(), "CLIENT", "KILL", "TYPE", "normal").Err()
		}
	}))
	if n := r.violations.Load(); n > 0 {
		t.Errorf("%d reads returned a value that was too old", n)
	}
	if !r.enough(wanted)() || r.foreign.Load() == 0 {
		t.Error("too little was read from the cache: the test proves nothing")
	}
}

// The same holds for a module of a cluster while nodes are killed and frozen, its own among them.
func TestNoReadOfAClusterReturnsWhatWasInvalidatedBefore(t *testing.T) {
	cluster := redistest.StartCluster(t, 3)
	r := &run{}
	store, wanted := store(cluster.Addrs()), readsWanted(t, 300_000)/10
	r.start(t, store, r.members(t, store, nil), r.enough(wanted), r.unlessStarved(func() {
		server := cluster.Servers()[rand.IntN(len(cluster.Servers()))]
		switch rand.IntN(4) {
		case 0:
			server.Restart()
			cluster.WaitReady()
		case 1:
			server.Pause()
			time.Sleep(rand.N(2 * grace))
			server.Resume()
		default:
			_ = server.Client().Do(t.Context(), "CLIENT", "KILL", "TYPE", "normal").Err()
		}
	}))
	if n := r.violations.Load(); n > 0 {
		t.Errorf("%d reads returned a value that was too old", n)
	}
	if !r.enough(wanted)() || r.foreign.Load() == 0 {
		t.Error("too little was read from the cache: the test proves nothing")
	}
}

// The check finds violations when fills are not fenced, so it can fail.
func TestTheCheckFindsViolationsWithoutTheFence(t *testing.T) {
	fence := regexp.MustCompile(`(?m)^local function is_fenced\(.*\bheads\b.*\)$`)
	if !fence.MatchString(registry.Library) {
		t.Fatal("the test did not find the fence in the library")
	}
	unfenced := fence.ReplaceAllString(registry.Library, "$0\n  do return heads.missing end")
	unfenced = strings.Replace(unfenced, fmt.Sprintf("local VERSION = %d\n", registry.LibraryVersion), "local VERSION = 1000000\n", 1)
	server := redistest.Start(t)
	if err := server.Client().FunctionLoadReplace(t.Context(), unfenced).Err(); err != nil {
		t.Fatal(err)
	}
	r := &run{}
	r.start(t, storeOf(server), r.members(t, storeOf(server), nil), r.aViolation(), nil)
	if r.violations.Load() == 0 {
		t.Error("fills were not fenced, but the check found nothing")
	}
}

// The check also finds violations when near caches follow the heads of a wrong module.
func TestTheCheckFindsViolationsOfNearCachesThatAreNotTold(t *testing.T) {
	server := redistest.Start(t)
	r := &run{}
	r.start(t, storeOf(server), r.members(t, storeOf(server), dialDeaf), r.aViolation(), nil)
	if r.violations.Load() == 0 {
		t.Error("near caches received no invalidations, but the check found nothing")
	}
}
