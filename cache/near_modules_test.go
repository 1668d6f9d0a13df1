// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache_test

import (
	"fmt"
	"regexp"
	"runtime"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/internal/redistest"
)

var tracks = regexp.MustCompile(` flags=\w*[tP]`)

// following returns how many connections there are that track, or that get the reports of another
// one.
func following(t *testing.T, server *redistest.Server) int {
	t.Helper()
	list, err := server.Client().ClientList(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	return len(tracks.FindAllString(list, -1))
}

func TestModulesShareTheConnectionsOfANearCache(t *testing.T) {
	t.Parallel()
	const modules = 100
	server := redistest.Start(t)
	c := newNearCache(t, redis.NewClient(redisOptions(server.Addr())), cache.NearCache{})
	other := newCache(t, redis.NewClient(redisOptions(server.Addr())), cache.WithTimeout(waitTimeout))
	get := func(i int) cache.Key { return cache.Key{Module: fmt.Sprint("module-", i), Operation: "get"} }
	for i := range modules {
		applyPolicy(t, server.Client(), get(i).Module, hour())
		warm(t, server, c, get(i))
	}
	if got := following(t, server); got != 2 {
		t.Errorf("%d modules are followed on %d connections", modules, got)
	}
	for i := range modules {
		if err := other.InvalidateModule(t.Context(), get(i).Module); err != nil {
			t.Fatal(err)
		}
		NewWithT(t).Eventually(func() bool { return fetchLoaded(t, c, get(i)) }).WithTimeout(waitTimeout).Should(BeTrue(), "%+v", get(i))
	}
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	NewWithT(t).Eventually(func() int { return following(t, server) }).WithTimeout(waitTimeout).Should(BeZero(), "left after Close")
}

// Names that no policy has, or can have, cost nothing.
func TestModulesOfWhichNothingIsCachedAreNotFollowed(t *testing.T) {
	const modules = 50
	for _, name := range []string{"unknown-%d", "invalid}%d"} {
		server := redistest.Start(t)
		applyPolicy(t, server.Client(), "users", hour())
		c := newNearCache(t, redis.NewClient(redisOptions(server.Addr())), cache.NearCache{ByPolicy: strings.HasPrefix(name, "unknown")})
		fetchLoaded(t, c, usersGet)
		before := runtime.NumGoroutine()
		for i := range modules {
			key := cache.Key{Module: fmt.Sprintf(name, i), Operation: "get"}
			fetchLoaded(t, c, key)
			fetchLoaded(t, c, key)
		}
		// Connections that follow would not end otherwise.
		NewWithT(t).Eventually(runtime.NumGoroutine).WithTimeout(waitTimeout).Should(BeNumerically("<", before+modules/2), name)
		if got := following(t, server); got != 0 {
			t.Errorf("%s: there are %d connections to follow heads", name, got)
		}
	}
}
