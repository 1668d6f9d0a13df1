// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/internal/redistest"
)

// always makes each read refresh an entry, if loads of its operation were timed.
const always = 1e12

// One process replaces an entry that is fresh, while others, and readers in this one, still read
// it. A deletion fences the refresh as it does any load.
func TestOneProcessRefreshesAFreshEntryEarly(t *testing.T) {
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	one := newNearCache(t, redis.NewClient(redisOptions(server.Addr())), cache.NearCache{}, cache.WithEarlyRefresh(always))
	other := newCache(t, redis.NewClient(redisOptions(server.Addr())), cache.WithTimeout(waitTimeout), cache.WithEarlyRefresh(always))

	var loads atomic.Int64
	source := atomic.Pointer[string]{}
	source.Store(new("first"))
	loading, release := make(chan struct{}, 100), make(chan struct{})
	fetch := func(c cache.Cache) string {
		t.Helper()
		got, err := cache.Fetch(t.Context(), c, usersGet, func(context.Context) (string, error) {
			value := *source.Load()
			if loads.Add(1) > 2 { // the first two are of misses
				loading <- struct{}{}
				<-release
			}
			return value, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	for _, c := range []cache.Cache{one, other} { // both must know how long a load takes
		fetch(c)
		if err := c.Delete(t.Context(), usersGet); err != nil {
			t.Fatal(err)
		}
	}
	if err := other.Set(t.Context(), usersGet, "first"); err != nil {
		t.Fatal(err)
	}
	source.Store(new("second"))
	if got := fetch(one); got != "first" {
		t.Errorf("read %q", got)
	}
	<-loading
	for range 10 {
		if fetch(one) != "first" || fetch(other) != "first" {
			t.Error("a reader did not get what is there")
		}
	}
	if got := loads.Load(); got != 3 {
		t.Errorf("%d loads, want one refresh", got-2)
	}
	close(release)
	NewWithT(t).Eventually(func() string { return fetch(other) }).WithTimeout(waitTimeout).
		WithPolling(time.Millisecond).Should(Equal("second"))
}

func TestEarlyRefreshIsFenced(t *testing.T) {
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	c := newCache(t, redis.NewClient(redisOptions(server.Addr())), cache.WithTimeout(waitTimeout), cache.WithEarlyRefresh(always))
	var release chan struct{}
	loading := make(chan struct{}, 1)
	fetch := func(value string) string {
		t.Helper()
		wait := release
		got, err := cache.Fetch(t.Context(), c, usersGet, func(context.Context) (string, error) {
			if wait != nil {
				loading <- struct{}{}
				<-wait
			}
			return value, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	fetch("old")
	release = make(chan struct{})
	fetch("older") // from the cache, while a refresh loads a value that is out of date by then
	<-loading
	if err := c.Delete(t.Context(), usersGet); err != nil {
		t.Fatal(err)
	}
	if err := c.Set(t.Context(), usersGet, "new"); err != nil {
		t.Fatal(err)
	}
	close(release)
	if err := c.Close(t.Context()); err != nil { // when it is over
		t.Fatal(err)
	}
	var value string
	if found, err := c.Get(t.Context(), usersGet, &value); !found || err != nil || value != "new" {
		t.Errorf("got %q, %v, %v", value, found, err)
	}
}
