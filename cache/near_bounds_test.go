// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

// openNear returns a client with a near cache, and a function that fetches an entry of users.get
// until it is kept.
func openNear(t *testing.T, bounds NearCache) (c *Client, keep func(Key)) {
	t.Helper()
	server := redistest.Start(t)
	policy := registry.Policy{DefaultTTL: new(time.Hour)}
	if _, err := registry.New(server.Client()).ApplyPolicy(t.Context(), registry.Slot{Namespace: "shop", Module: "users"}, policy); err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(&redis.Options{
		Addr: server.Addr(), ContextTimeoutEnabled: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	t.Cleanup(func() { _ = client.Close() })
	diary := &diary{}
	c, err := New(client, "shop", WithNearCache(bounds), WithTimeout(20*time.Second), WithLogger(slog.New(slog.DiscardHandler)), WithObserver(diary))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c, func(key Key) {
		t.Helper()
		near := fmt.Sprintf("fetch %s.%s: near_hit, <nil>", key.Module, key.Operation)
		NewWithT(t).Eventually(func() []string {
			diary.read()
			if _, err := Fetch(t.Context(), c, key, func(context.Context) (string, error) { return "v", nil }); err != nil {
				t.Error(err)
			}
			return diary.read()
		}).WithTimeout(20*time.Second).WithPolling(time.Millisecond).Should(ContainElement(near), "it is not kept")
	}
}

// The key of an entry counts as a part of its memory.
func TestNearCacheReckonsWithItsKeys(t *testing.T) {
	const entries = 20
	long := strings.Repeat("o", 128)
	for name, key := range map[string]func(i int) Key{
		"short": func(i int) Key { return Key{Module: "users", Operation: "get", Params: i} },
		"long": func(i int) Key {
			return Key{Module: "users", Operation: long, User: fmt.Sprintf("%0256d", i), Params: fmt.Sprintf("%060d", i)}
		},
	} {
		c, keep := openNear(t, NearCache{MaxBytes: 1 << 20, MaxEntries: 1 << 20})
		for i := range entries {
			keep(key(i))
		}
		least := int64(512 + len(key(0).Operation) + len(key(0).User))
		if text, ok := key(0).Params.(string); ok {
			least += int64(len(text))
		}
		if got := c.figures(); got.NearEntries != entries || got.NearBytes < entries*least {
			t.Errorf("%s: %d entries are said to take %d bytes; their keys alone make it %d", name, got.NearEntries, got.NearBytes, entries*least)
		}
	}
}

func TestNearCacheDoesNotHoldLongParams(t *testing.T) {
	const (
		entries = 200
		size    = 100_000
	)
	_, keep := openNear(t, NearCache{MaxBytes: 1 << 20})
	heap := func() uint64 {
		var stats runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&stats)
		return stats.HeapAlloc
	}
	keep(Key{Module: "users", Operation: "get"})
	before := heap()
	for i := range entries {
		keep(Key{Module: "users", Operation: "get", Params: fmt.Sprintf("%0*d", size, i)})
	}
	if after := heap(); after > before+entries*size/4 {
		t.Errorf("the heap grew by %d bytes for params of %d", after-before, entries*size)
	}
	keep(Key{Module: "users", Operation: "get"}) // so it lived until now
}
