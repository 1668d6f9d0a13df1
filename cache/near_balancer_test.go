// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

// balancer is one address that leads to several servers, as a Kubernetes Service that selects a
// primary and its replica.
type balancer struct {
	servers []*redistest.Server
	next    func(n int64) int // to which of them the nth connection leads
	dials   atomic.Int64
}

func (b *balancer) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	n := b.dials.Add(1)
	return new(net.Dialer).DialContext(ctx, network, b.servers[b.next(n)].Addr())
}

func (b *balancer) client() *redis.Client {
	options := redisOptions("balancer:6379")
	options.Dialer = b.dial
	return redis.NewClient(options)
}

// strangers connects clients whose ids a connection to the other server may have, too.
func strangers(t *testing.T, servers ...*redistest.Server) {
	t.Helper()
	for _, server := range servers {
		for range 50 {
			conn := server.Client().Conn()
			t.Cleanup(func() { _ = conn.Close() })
			if err := conn.Ping(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestANearCacheIsNotUsedWhereAnAddressLeadsToAPrimaryAndItsReplica(t *testing.T) {
	t.Parallel()
	for name, next := range map[string]func(int64) int{
		"in turns":                 func(n int64) int { return int(n+1) % 2 },
		"only once to the primary": func(n int64) int { return int(min(n-1, 1)) },
	} {
		t.Run(name, func(t *testing.T) {
			primary := redistest.Start(t)
			replica := redistest.StartReplica(t, primary)
			applyPolicy(t, primary.Client(), "users", hour())
			strangers(t, primary, replica)
			var reported atomic.Int64
			b := &balancer{servers: []*redistest.Server{primary, replica}, next: next}
			c := newNearCache(t, b.client(), cache.NearCache{MaxAge: time.Hour}, cache.WithFailureHook(func(f cache.Failure) {
				if strings.Contains(f.Err.Error(), "near cache") {
					reported.Add(1)
				}
			}))
			other := newCache(t, redis.NewClient(redisOptions(primary.Addr())), cache.WithTimeout(waitTimeout))
			fetchLoaded(t, other, usersGet)
			if fetchLoaded(t, other, usersGet) {
				t.Fatal("the entry is not cached")
			}
			NewWithT(t).Eventually(func() int64 { fetchLoaded(t, c, usersGet); return reported.Load() }).WithTimeout(waitTimeout).
				Should(BeNumerically(">", 0), "nothing is said of the near cache")
			for range 20 {
				before := mgets(t, primary) + mgets(t, replica)
				if loaded := fetchLoaded(t, c, usersGet); !loaded && mgets(t, primary)+mgets(t, replica) == before {
					t.Error("an entry was served from memory")
				}
			}
			if n := reported.Load(); n != 1 {
				t.Errorf("it was said %d times", n)
			}
		})
	}
}

// It is unknown whether both connections lead to one server.
func TestANearCacheIsNotUsedWhereTheServerDoesNotSayWhoItIs(t *testing.T) {
	server := redistest.Start(t)
	server.AddUser("anonymous", "secret", "~*", "&*", "+@all", "-info")
	applyPolicy(t, server.Client(), "users", hour())
	options := redisOptions(server.Addr())
	options.Username, options.Password = "anonymous", "secret"
	var near, others atomic.Int64
	c := newNearCache(t, redis.NewClient(options), cache.NearCache{}, cache.WithFailureHook(func(f cache.Failure) {
		if !errors.Is(f.Err, registry.ErrAnonymous) {
			return
		}
		if strings.Contains(f.Err.Error(), "near cache") {
			near.Add(1)
		} else {
			others.Add(1)
		}
	}))
	NewWithT(t).Eventually(func() int64 { fetchLoaded(t, c, usersGet); return near.Load() }).WithTimeout(waitTimeout).
		Should(BeNumerically(">", 0), "nothing is said of the near cache")
	if fetchLoaded(t, c, usersGet) {
		t.Error("the entry is not cached in Redis")
	}
	before := mgets(t, server)
	fetchLoaded(t, c, usersGet)
	if mgets(t, server) == before {
		t.Error("an entry was served from memory")
	}
	if near.Load() != 1 || others.Load() != 1 {
		t.Errorf("said %d times of the near cache and %d times of restarts, want once each", near.Load(), others.Load())
	}
}
