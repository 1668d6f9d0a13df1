// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache_test

import (
	"context"
	"fmt"
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

// answers is an Observer that counts the reads that were answered from memory.
type answers struct{ near atomic.Int64 }

func (a *answers) Watch(string, func() cache.Figures) func() { return func() {} }

func (a *answers) StartRequest(ctx context.Context, _ cache.Request) (context.Context, func(cache.Outcome, error)) {
	return ctx, func(outcome cache.Outcome, _ error) {
		if outcome == cache.OutcomeNearHit {
			a.near.Add(1)
		}
	}
}

func (a *answers) StartLoad(ctx context.Context, _, _ string) (context.Context, func(error)) {
	return ctx, func(error) {}
}

func (a *answers) StartInvalidation(ctx context.Context, _ cache.Invalidation) (context.Context, func(error)) {
	return ctx, func(error) {}
}

func (a *answers) Filled(context.Context, string, string, cache.Fill) {}

func (a *answers) Audited(context.Context, string, string, cache.AuditResult) {}

// nearby is a client with a near cache that knows where its answers come from.
type nearby struct {
	*cache.Client

	t       *testing.T
	answers *answers
}

func newNearby(t *testing.T, client redis.UniversalClient, opts ...cache.Option) *nearby {
	t.Helper()
	n := &nearby{t: t, answers: &answers{}}
	n.Client = newNearCache(t, client, cache.NearCache{MaxAge: time.Hour}, append(opts, cache.WithObserver(n.answers))...)
	return n
}

// fromMemory fetches an entry and reports whether it was kept.
func (n *nearby) fromMemory(key cache.Key) bool {
	n.t.Helper()
	before := n.answers.near.Load()
	fetchLoaded(n.t, n, key)
	return n.answers.near.Load() > before
}

func (n *nearby) keep(key cache.Key) {
	n.t.Helper()
	NewWithT(n.t).Eventually(func() bool { return n.fromMemory(key) }).WithTimeout(waitTimeout).Should(BeTrue(), "%+v is not kept", key)
}

// mustObey makes another client invalidate the module of an entry that is kept.
func (n *nearby) mustObey(key cache.Key, by *cache.Client) {
	n.t.Helper()
	if err := by.InvalidateModule(n.t.Context(), key.Module); err != nil {
		n.t.Fatal(err)
	}
	NewWithT(n.t).Eventually(func() bool { return fetchLoaded(n.t, n, key) }).
		WithTimeout(waitTimeout).Should(BeTrue(), "%+v is served from memory after an invalidation", key)
}

func clusterClient(cluster *redistest.Cluster) redis.UniversalClient {
	return redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: cluster.Addrs(), ContextTimeoutEnabled: true, ReadTimeout: waitTimeout,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
}

func TestNearCacheObeysInvalidationsOfOthersHoweverItIsConnected(t *testing.T) {
	t.Parallel()
	server, cluster := redistest.Start(t), redistest.StartCluster(t, 3)
	alone := func() redis.UniversalClient {
		options := redisOptions(server.Addr())
		options.ReadTimeout = waitTimeout
		return redis.NewClient(options)
	}
	clustered := func() redis.UniversalClient { return clusterClient(cluster) }
	for name, test := range map[string]struct {
		connect func() redis.UniversalClient
		options []cache.Option
	}{
		"half duplex":          {alone, []cache.Option{cache.WithAutoPipelining(registry.HalfDuplex)}},
		"full duplex":          {alone, []cache.Option{cache.WithAutoPipelining(registry.FullDuplex)}},
		"cluster":              {clustered, nil},
		"cluster, half duplex": {clustered, []cache.Option{cache.WithAutoPipelining(registry.HalfDuplex)}},
		"cluster, full duplex": {clustered, []cache.Option{cache.WithAutoPipelining(registry.FullDuplex)}},
	} {
		t.Run(name, func(t *testing.T) {
			near := newNearby(t, test.connect(), test.options...)
			other := newCache(t, test.connect(), cache.WithTimeout(waitTimeout))
			keys := make([]cache.Key, 8) // so that each node has some of them
			admin := test.connect()
			defer admin.Close()
			for i := range keys {
				keys[i] = cache.Key{Module: fmt.Sprint("module-", i), Operation: "get", User: "ada"}
				applyPolicy(t, admin, keys[i].Module, hour())
				near.keep(keys[i])
			}
			for range 2 {
				for _, key := range keys {
					near.keep(key)
					near.mustObey(key, other)
				}
			}
		})
	}
}

func TestNearCacheFollowsAModuleToAnotherNode(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 3)
	applyPolicy(t, cluster.Client(), "users", hour())
	near := newNearby(t, clusterClient(cluster))
	other := newCache(t, clusterClient(cluster), cache.WithTimeout(waitTimeout))
	near.keep(usersGet)
	before := followedOn(t, cluster)
	cluster.MoveSlot("cw:{" + usersSlot.String() + "}")
	NewWithT(t).Eventually(func() string {
		near.fromMemory(usersGet)
		return followedOn(t, cluster)
	}).WithTimeout(waitTimeout).ShouldNot(Or(Equal(before), BeEmpty()), "it is not followed on the node that has it now")
	near.keep(usersGet)
	near.mustObey(usersGet, other)
	near.keep(usersGet)
}

// followedOn returns the address of the node on which heads are followed, or "" if it is not one.
func followedOn(t *testing.T, cluster *redistest.Cluster) (addr string) {
	t.Helper()
	for _, server := range cluster.Servers() {
		if following(t, server) == 0 {
			continue
		}
		if addr != "" {
			return ""
		}
		addr = server.Addr()
	}
	return addr
}

func TestNearCacheServesNothingOfANodeThatIsGone(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 3)
	admin := cluster.Client()
	applyPolicy(t, admin, "users", hour())
	near := newNearby(t, clusterClient(cluster))
	near.keep(usersGet)
	var gone *redistest.Server
	for _, server := range cluster.Servers() {
		if server.Addr() == followedOn(t, cluster) {
			gone = server
		}
	}
	gone.Kill()
	NewWithT(t).Eventually(func() bool { return near.fromMemory(usersGet) }).WithTimeout(waitTimeout).Should(BeFalse())
	for range 20 {
		if near.fromMemory(usersGet) {
			t.Fatal("served from memory although no server reports invalidations")
		}
	}
	gone.Restart()
	cluster.WaitReady()
	NewWithT(t).Eventually(func() error {
		_, err := registry.New(admin).ApplyPolicy(t.Context(), usersSlot, hour())
		return err
	}).WithTimeout(waitTimeout).Should(Succeed())
	near.keep(usersGet)
}
