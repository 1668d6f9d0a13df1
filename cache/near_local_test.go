// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache_test

import (
	"context"
	"errors"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

// withLocalTTL returns a policy in which the operation "get" has a localTTL, and "list" has none.
func withLocalTTL(local *time.Duration) registry.Policy {
	return registry.Policy{Operations: []registry.OperationPolicy{
		{Name: "get", TTL: time.Hour, LocalTTL: local},
		{Name: "list", TTL: time.Hour},
	}}
}

var usersList = cache.Key{Module: "users", Operation: "list"}

// keptNear reports whether an entry that is in Redis is read from memory, after it could be kept.
func keptNear(t *testing.T, server *redistest.Server, c cache.Cache, key cache.Key) bool {
	t.Helper()
	for range 3 {
		fetchLoaded(t, c, key)
	}
	before := mgets(t, server)
	fetchLoaded(t, c, key)
	return mgets(t, server) == before
}

func becomesKept(t *testing.T, server *redistest.Server, c cache.Cache, key cache.Key, kept bool) {
	t.Helper()
	NewWithT(t).Eventually(func() bool { return keptNear(t, server, c, key) }).
		WithTimeout(waitTimeout).WithPolling(5 * time.Millisecond).Should(Equal(kept))
}

// Each row has the options of an application, and its policy.
func TestLocalTTLSwitchesTheNearCacheOnAndOff(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		bounds cache.NearCache
		local  *time.Duration
		kept   bool
	}{
		"absent":                   {cache.NearCache{}, nil, true},
		"off":                      {cache.NearCache{}, new(time.Duration(0)), false},
		"on":                       {cache.NearCache{}, new(time.Minute), true},
		"by policy alone, absent":  {cache.NearCache{ByPolicy: true}, nil, false},
		"by policy alone, off":     {cache.NearCache{ByPolicy: true}, new(time.Duration(0)), false},
		"by policy alone, and on":  {cache.NearCache{ByPolicy: true}, new(time.Minute), true},
		"longer than the max. age": {cache.NearCache{MaxAge: time.Minute}, new(time.Hour), true},
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			applyPolicy(t, server.Client(), "users", withLocalTTL(test.local))
			c := newNearCache(t, redis.NewClient(redisOptions(server.Addr())), test.bounds)
			becomesKept(t, server, c, usersGet, test.kept)
			becomesKept(t, server, c, usersList, !test.bounds.ByPolicy)
		})
	}
}

// It is obeyed although entries are read from memory, without a call to Redis.
func TestLocalTTLIsObeyedLive(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", withLocalTTL(nil))
	c := newNearCache(t, redis.NewClient(redisOptions(server.Addr())), cache.NearCache{MaxAge: time.Hour})
	warm(t, server, c, usersGet)
	warm(t, server, c, usersList)

	applyPolicy(t, server.Client(), "users", withLocalTTL(new(time.Duration(0))))
	becomesKept(t, server, c, usersGet, false)
	if !keptNear(t, server, c, usersList) {
		t.Error("another operation was switched off, too")
	}
	for range 20 {
		if keptNear(t, server, c, usersGet) {
			t.Fatal("kept again although it is off")
		}
	}

	applyPolicy(t, server.Client(), "users", withLocalTTL(new(time.Hour)))
	becomesKept(t, server, c, usersGet, true)
}

func TestLoweredLocalTTLHoldsForWhatIsKeptAlready(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", withLocalTTL(new(time.Hour)))
	c := newNearCache(t, redis.NewClient(redisOptions(server.Addr())), cache.NearCache{MaxAge: time.Hour})
	warm(t, server, c, usersGet)

	applyPolicy(t, server.Client(), "users", withLocalTTL(new(20*time.Millisecond)))
	before := mgets(t, server)
	readAgain := func() int {
		fetchLoaded(t, c, usersGet)
		return mgets(t, server) - before
	}
	// Once because the policy changed; more often only because it is kept for no longer.
	NewWithT(t).Eventually(readAgain).WithTimeout(waitTimeout).WithPolling(time.Millisecond).Should(BeNumerically(">", 5))
}

// A policy that is gone does not stay in force.
func TestWithoutAPolicyNothingIsKept(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", withLocalTTL(nil))
	c := newNearCache(t, redis.NewClient(redisOptions(server.Addr())), cache.NearCache{})
	warm(t, server, c, usersGet)
	if _, err := registry.New(server.Client()).DeletePolicy(t.Context(), registry.Slot{Namespace: namespace, Module: "users"}); err != nil {
		t.Fatal(err)
	}
	NewWithT(t).Eventually(func() bool { return fetchLoaded(t, c, usersGet) }).WithTimeout(waitTimeout).Should(BeTrue())
	if !fetchLoaded(t, c, usersGet) {
		t.Error("kept without a policy")
	}
}

func TestThatTheSourceHasNothingIsKeptNear(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", registry.Policy{Operations: []registry.OperationPolicy{
		{Name: "get", TTL: time.Hour, NegativeTTL: time.Hour},
	}})
	c := newNearCache(t, redis.NewClient(redisOptions(server.Addr())), cache.NearCache{})
	loads := 0
	missing := func() {
		t.Helper()
		got, err := cache.Fetch(t.Context(), c, usersGet, func(context.Context) (string, error) {
			loads++
			return "", cache.ErrNotFound
		})
		if got != "" || !errors.Is(err, cache.ErrNotFound) {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	NewWithT(t).Eventually(func() bool {
		before := mgets(t, server)
		missing()
		missing()
		return mgets(t, server) == before
	}).WithTimeout(waitTimeout).Should(BeTrue(), "it is not kept")
	var value string
	if found, err := c.Get(t.Context(), usersGet, &value); found || !errors.Is(err, cache.ErrNotFound) {
		t.Errorf("Get: %v, %v", found, err)
	}
	if loads != 1 {
		t.Errorf("%d loads", loads)
	}
	if err := c.Delete(t.Context(), usersGet); err != nil {
		t.Fatal(err)
	}
	if !fetchLoaded(t, c, usersGet) {
		t.Error("not loaded after a deletion")
	}
}
