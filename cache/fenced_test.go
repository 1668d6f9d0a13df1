// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache_test

import (
	"context"
	"math/rand/v2"
	"strconv"
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

var usersSlot = registry.Slot{Namespace: namespace, Module: "users"}

// versioned is a source whose value is a version that grows with each change.
type versioned struct {
	version atomic.Int64
	// floor is the version at the last invalidation: no read that begins now may return an older one.
	floor atomic.Int64
}

func (s *versioned) fetch(ctx context.Context, c cache.Cache) (int64, error) {
	return cache.Fetch(ctx, c, usersGet, func(context.Context) (int64, error) { return s.version.Load(), nil })
}

func (s *versioned) want(t *testing.T, c cache.Cache, want int64) {
	t.Helper()
	if got, err := s.fetch(t.Context(), c); got != want || err != nil {
		t.Errorf("read version %d (%v), want %d", got, err, want)
	}
}

func (s *versioned) change(t *testing.T, c cache.Cache) {
	t.Helper()
	version := s.version.Add(1)
	if err := c.InvalidateModule(t.Context(), "users"); err != nil {
		t.Fatal(err)
	}
	s.floor.Store(version)
}

// readPause is the longest pause of a reader. Without one, readers would take the time of the server
// that restarts.
const readPause = time.Millisecond

// readOn starts many readers that compare what they get with the floor, until stop is called.
func (s *versioned) readOn(t *testing.T, clients ...cache.Cache) (stop func()) {
	t.Helper()
	var group sync.WaitGroup
	var reads, stale atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	for _, c := range clients {
		for range 4 {
			group.Go(func() {
				for ctx.Err() == nil {
					floor := s.floor.Load()
					got, err := s.fetch(ctx, c)
					reads.Add(1)
					if err == nil && got < floor {
						stale.Add(1)
					}
					time.Sleep(rand.N(readPause))
				}
			})
		}
	}
	return func() {
		t.Helper()
		cancel()
		group.Wait()
		t.Logf("%d reads", reads.Load())
		if n := stale.Load(); n > 0 {
			t.Errorf("%d reads returned what was invalidated before they began", n)
		}
	}
}

// wantInRedis checks what a client without fences finds.
func wantInRedis(t *testing.T, client redis.UniversalClient, want string) {
	t.Helper()
	id, err := cache.ID(usersGet.Params)
	if err != nil {
		t.Fatal(err)
	}
	found, err := registry.New(client).Read(t.Context(), registry.Key{Slot: usersSlot, Operation: usersGet.Operation, ID: id})
	if err != nil || string(found.Payload) != want {
		t.Fatalf("Redis holds %q (%v), not %q: the test shows nothing", found.Payload, err, want)
	}
}

func TestWhatAnOldSnapshotBringsBackIsNotRead(t *testing.T) {
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	c := newCache(t, redis.NewClient(redisOptions(server.Addr())), cache.WithTimeout(waitTimeout))
	s := &versioned{}
	s.want(t, c, 0)
	server.Save()
	s.change(t, c)
	s.want(t, c, 1)

	server.Restart()
	wantInRedis(t, server.Client(), "0")
	s.want(t, c, 1)
	wantInRedis(t, server.Client(), "1")
	other := newCache(t, redis.NewClient(redisOptions(server.Addr())), cache.WithTimeout(waitTimeout))
	s.want(t, other, 1)
	wantInRedis(t, server.Client(), "1")
}

// A process that is started after the restart does not know the state before.
func TestWhatAnOldSnapshotBringsBackIsNotReadByANewProcess(t *testing.T) {
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	s := &versioned{}
	before := newCache(t, redis.NewClient(redisOptions(server.Addr())), cache.WithTimeout(waitTimeout))
	s.want(t, before, 0)
	server.Save()
	s.change(t, before)

	server.Restart()
	wantInRedis(t, server.Client(), "0")
	s.want(t, newCache(t, redis.NewClient(redisOptions(server.Addr())), cache.WithTimeout(waitTimeout)), 1)
}

func TestWhatAFailoverBringsBackIsNotRead(t *testing.T) {
	t.Parallel()
	group := redistest.StartSentinel(t, 1, 1)
	applyPolicy(t, group.Client(), "users", hour())
	c := newCache(t, group.Client(), cache.WithTimeout(waitTimeout))
	s := &versioned{}
	s.want(t, c, 0)
	group.Primary().WaitReplicated()
	group.Primary().PauseReplication()
	s.change(t, c)
	s.want(t, c, 1)

	promoted := group.Failover()
	wantInRedis(t, promoted.Client(), "0")
	inspector := group.Client()
	NewWithT(t).Eventually(func() int64 {
		s.want(t, c, 1) // from the source, until the client has found the new primary
		return cachedVersion(t, inspector)
	}).WithTimeout(waitTimeout).Should(BeEquivalentTo(1), "the new primary is not used")
}

func TestWhatAnOldSnapshotBringsBackIsNotKeptNear(t *testing.T) {
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	c := newNearCache(t, redis.NewClient(redisOptions(server.Addr())), cache.NearCache{})
	s := &versioned{}
	s.want(t, c, 0)
	server.Save()
	s.change(t, c)
	for range 3 {
		server.Restart()
		wantInRedis(t, server.Client(), "0")
		for range 1000 {
			s.want(t, c, 1)
		}
	}
}

func TestNoReadIsStaleWhileRedisGoesBackInTime(t *testing.T) {
	const rounds = 5
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	clients := []cache.Cache{
		newCache(t, redis.NewClient(redisOptions(server.Addr()))),
		newCache(t, redis.NewClient(redisOptions(server.Addr()))),
	}
	for _, duplex := range []registry.Duplex{registry.HalfDuplex, registry.FullDuplex} {
		options := redisOptions(server.Addr())
		options.ReadTimeout = waitTimeout
		clients = append(clients, newCache(t, redis.NewClient(options), cache.WithAutoPipelining(duplex)))
	}
	s := &versioned{}
	stop := s.readOn(t, clients...)
	defer stop()
	writer := newCache(t, redis.NewClient(redisOptions(server.Addr())), cache.WithInvalidationTimeout(waitTimeout))
	inspector := server.Client()
	for range rounds {
		NewWithT(t).Eventually(func() int64 { return cachedVersion(t, inspector) }).WithTimeout(waitTimeout).Should(Equal(s.version.Load()))
		server.Save()
		s.change(t, writer)
		server.Restart()
	}
}

// cachedVersion returns the version that a client without fences finds, -1 if there is none.
func cachedVersion(t *testing.T, client redis.UniversalClient) int64 {
	t.Helper()
	id, err := cache.ID(usersGet.Params)
	if err != nil {
		t.Fatal(err)
	}
	found, err := registry.New(client).Read(t.Context(), registry.Key{Slot: usersSlot, Operation: usersGet.Operation, ID: id})
	if err != nil || !found.Hit {
		return -1
	}
	version, err := strconv.ParseInt(string(found.Payload), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return version
}

func TestNoReadIsStaleWhileReplicasThatLagArePromoted(t *testing.T) {
	group := redistest.StartSentinel(t, 1, 1)
	applyPolicy(t, group.Client(), "users", hour())
	s := &versioned{}
	stop := s.readOn(t, newCache(t, group.Client()), newCache(t, group.Client()))
	defer stop()
	writer := newCache(t, group.Client(), cache.WithInvalidationTimeout(waitTimeout))
	inspector := group.Client()
	NewWithT(t).Eventually(func() int64 { return cachedVersion(t, inspector) }).WithTimeout(waitTimeout).Should(BeZero())
	group.Primary().WaitReplicated()
	group.Primary().PauseReplication()
	s.change(t, writer)
	group.Failover()
	NewWithT(t).Eventually(func() int64 { return cachedVersion(t, inspector) }).WithTimeout(waitTimeout).
		Should(BeEquivalentTo(1), "the new primary is not used")
}

func TestWhoeverComesFirstFencesForAll(t *testing.T) {
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	first := newCache(t, redis.NewClient(redisOptions(server.Addr())), cache.WithTimeout(waitTimeout))
	second := newCache(t, redis.NewClient(redisOptions(server.Addr())), cache.WithTimeout(waitTimeout))
	fetchLoaded(t, first, usersGet)
	if fetchLoaded(t, second, usersGet) {
		t.Error("the second process fenced again")
	}
	server.Save()
	server.Restart()
	if !fetchLoaded(t, first, usersGet) {
		t.Error("the first process read what was there before the restart")
	}
	if fetchLoaded(t, second, usersGet) {
		t.Error("the second process fenced again, after the restart")
	}
}

// A client that waits leaves it to the operator to invalidate what was lost.
func TestAClientThatWaitsLeavesFencingToOthers(t *testing.T) {
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	client := func(wait time.Duration) *cache.Client {
		return newCache(t, redis.NewClient(redisOptions(server.Addr())), cache.WithTimeout(waitTimeout), cache.WithFenceWait(wait))
	}
	waiting := client(time.Hour)
	for range 3 {
		if !fetchLoaded(t, waiting, usersGet) {
			t.Fatal("it reads what nobody has fenced")
		}
	}
	r := registry.New(server.Client())
	fences, err := r.Fences(t.Context(), []registry.Slot{usersSlot})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.MarkFenced(t.Context(), fences); err != nil {
		t.Fatal(err)
	}
	fetchLoaded(t, waiting, usersGet)
	if fetchLoaded(t, waiting, usersGet) {
		t.Error("it does not read what is fenced")
	}
}

func TestAClientStopsWaiting(t *testing.T) {
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	c := newCache(t, redis.NewClient(redisOptions(server.Addr())), cache.WithTimeout(waitTimeout), cache.WithFenceWait(50*time.Millisecond))
	NewWithT(t).Eventually(func() bool { return fetchLoaded(t, c, usersGet) }).WithTimeout(waitTimeout).Should(BeFalse())
}

func TestAClientThatMayNotAskSaysSoOnceAndGoesOn(t *testing.T) {
	for _, denied := range []string{"-info", "-getex"} {
		t.Run(denied, func(t *testing.T) {
			server := redistest.Start(t)
			applyPolicy(t, server.Client(), "users", hour())
			if denied == "-getex" { // which only an older library needs
				if err := server.Client().FunctionLoadReplace(t.Context(), olderLibrary(t)).Err(); err != nil {
					t.Fatal(err)
				}
			}
			server.AddUser("shop", "secret", "~cw:{shop/*", "~cw:{shop}*", "+@all", "-function|load", denied)
			options := redisOptions(server.Addr())
			options.Username, options.Password = "shop", "secret"
			var reported atomic.Int64
			c := newCache(t, redis.NewClient(options), cache.WithTimeout(waitTimeout), cache.WithFailureHook(func(f cache.Failure) {
				if strings.Contains(f.Err.Error(), "+info +getex") {
					reported.Add(1)
				}
			}))
			fetchLoaded(t, c, usersGet)
			if fetchLoaded(t, c, usersGet) {
				t.Error("nothing is cached")
			}
			if n := reported.Load(); n != 1 {
				t.Errorf("reported %d times what to allow, want once", n)
			}
		})
	}
}

// A hit costs no more than without fences: a fence is checked when a module is first read.
func TestFencesCostAHitNothing(t *testing.T) {
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	c := newCache(t, redis.NewClient(redisOptions(server.Addr())), cache.WithReportInterval(time.Hour))
	fetchLoaded(t, c, usersGet)
	before := commandCalls(t, server)
	for range 100 {
		fetchLoaded(t, c, usersGet)
	}
	after := commandCalls(t, server)
	delete(before, "info") // commandCalls asks by it
	for command, calls := range after {
		if more := calls - before[command]; command != "info" && command != "mget" && more > 5 {
			t.Errorf("100 hits made %d calls of %s", more, command)
		}
	}
}
