// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/cache/internal/heads"
	"github.com/cachewright/cachewright/registry"
)

func TestNearCacheIsBounded(t *testing.T) {
	client := redis.NewClient(&redis.Options{ContextTimeoutEnabled: true})
	defer client.Close()
	for name, test := range map[string]struct {
		bounds NearCache
		bytes  int
		most   int
	}{
		"by entries": {NearCache{MaxEntries: 100, MaxBytes: 1 << 30, MaxAge: time.Hour}, 10, 100},
		"by bytes":   {NearCache{MaxEntries: 1 << 20, MaxBytes: 1 << 20, MaxAge: time.Hour}, 10_000, 1 << 20 / 10_000},
	} {
		n, err := newNear(client, func() uint64 { return 1 }, test.bounds,
			func(context.Context, registry.Slot) (registry.Policy, error) { return registry.Policy{}, nil },
			func(*heads.Tracker) bool { return true },
			func(string, string) *atomic.Int64 { return new(atomic.Int64) })
		if err != nil {
			t.Fatal(err)
		}
		for i := range 10 * test.most {
			n.entries.Set(nearKey{params: i}, &nearEntry{bytes: test.bytes, until: time.Now().Add(time.Hour)})
		}
		NewWithT(t).Eventually(func() int {
			n.entries.CleanUp()
			return n.entries.EstimatedSize()
		}).WithTimeout(20*time.Second).Should(And(BeNumerically("<=", test.most), BeNumerically(">", test.most/2)), name)
		n.lost()
		NewWithT(t).Eventually(n.entries.EstimatedSize).WithTimeout(20 * time.Second).Should(BeZero())
	}
}
