// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache_test

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

// Without an operator, the memory of a large purge is freed by the process that purged. What one
// process leaves when it ends, the next invalidation frees.
func TestMemoryOfALargePurgeIsFreedWithoutTheOperator(t *testing.T) {
	const entries = 5000
	server := redistest.Start(t)
	client := redis.NewClient(redisOptions(server.Addr()))
	applyPolicy(t, client, "users", hour())
	store, slot := registry.New(client), registry.Slot{Namespace: namespace, Module: "users"}
	fill := func() {
		t.Helper()
		lookup, err := store.Lease(t.Context(), registry.Key{Slot: slot, Operation: "get", ID: "0"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Pipelined(t.Context(), func(pipe redis.Pipeliner) error {
			for id := range entries {
				pipe.FCall(t.Context(), "cw_set", []string{"cw:{shop/users}"}, "get", id, "", "value", string(lookup.Token))
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	pending := func() int64 {
		stats, err := store.Stats(t.Context(), slot)
		if err != nil {
			t.Fatal(err)
		}
		return stats.Pending
	}
	fill()
	ended := newCache(t, redis.NewClient(redisOptions(server.Addr())), cache.WithTimeout(waitTimeout))
	if err := ended.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := ended.InvalidateModule(t.Context(), "users"); err != nil {
		t.Fatal(err)
	}
	if pending() < entries {
		t.Fatalf("%d wait, of %d that a process left which had ended", pending(), entries)
	}

	fill()
	c := newCache(t, redis.NewClient(redisOptions(server.Addr())), cache.WithTimeout(waitTimeout))
	if err := c.InvalidateModule(t.Context(), "users"); err != nil {
		t.Fatal(err)
	}
	NewWithT(t).Eventually(pending).WithTimeout(waitTimeout).WithPolling(10 * time.Millisecond).Should(BeZero())
	keys, err := client.DBSize(t.Context()).Result()
	if err != nil || keys > 10 {
		t.Errorf("%d keys are left, %v", keys, err)
	}
}
