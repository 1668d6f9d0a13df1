// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache_test

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	. "github.com/onsi/gomega"
	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/internal/redistest/hostile"
	"github.com/cachewright/cachewright/registry"
)

func TestAServerThatDoesNotSayWhoItIsIsUsedAndThatIsSaidOnce(t *testing.T) {
	for name, addrOf := range map[string]func(t *testing.T) (addr string, client *redis.Client){
		"INFO renamed": func(t *testing.T) (string, *redis.Client) {
			server := redistest.Start(t, "--rename-command", "INFO", "renamed")
			return server.Addr(), server.Client()
		},
		"INFO without run_id and master_replid": func(t *testing.T) (string, *redis.Client) {
			server := redistest.Start(t)
			return hostile.Start(t, server.Addr(), hostile.Standalone, hostile.FaultOf(t, "INFO", "no identity")).Addr(), server.Client()
		},
	} {
		t.Run(name, func(t *testing.T) {
			addr, admin := addrOf(t)
			applyPolicy(t, admin, "users", hour())
			var said atomic.Int64
			c := newCache(t, redis.NewClient(redisOptions(addr)), cache.WithTimeout(waitTimeout), cache.WithFailureHook(func(f cache.Failure) {
				if !errors.Is(f.Err, registry.ErrAnonymous) || !strings.Contains(f.Err.Error(), "will not be noticed") {
					t.Errorf("reported %v", f.Err)
				}
				said.Add(1)
			}))
			NewWithT(t).Eventually(func() bool { return fetchLoaded(t, c, usersGet) }).WithTimeout(waitTimeout).Should(BeFalse(), "nothing is cached")
			if err := c.InvalidateModule(t.Context(), "users"); err != nil {
				t.Error(err)
			}
			if !fetchLoaded(t, c, usersGet) {
				t.Error("an invalidation has no effect")
			}
			if n := said.Load(); n != 1 {
				t.Errorf("it was said %d times, want once", n)
			}
			// Behind a server that hides who it is, the library may know.
			incarnation, err := registry.IncarnationOf(t.Context(), admin)
			for _, key := range admin.Keys(t.Context(), "*fence*").Val() {
				if err != nil || !strings.HasSuffix(key, "fence/"+string(incarnation)) {
					t.Errorf("a fence of an incarnation that nobody knows: %q", key)
				}
			}
		})
	}
}
