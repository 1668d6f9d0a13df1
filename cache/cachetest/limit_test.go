// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cachetest_test

import (
	"context"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/registry"
)

// limitedFetch returns the number of the load whose value it got.
func limitedFetch(t *testing.T, s subject, key cache.Key, loads *int, ttls ...time.Duration) int {
	t.Helper()
	n, err := cache.Fetch(t.Context(), s, key, func(ctx context.Context) (int, error) {
		for _, ttl := range ttls {
			cache.LimitTTL(ctx, ttl)
		}
		*loads++
		return *loads, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func staleForLong() registry.Policy {
	return registry.Policy{Operations: []registry.OperationPolicy{
		{Name: "list", TTL: time.Hour, StaleFor: time.Hour, NegativeTTL: time.Hour},
	}}
}

// An entry is there for no longer than its loader said, and is not stale afterwards.
func TestALoaderLimitsHowLongItsValueIsKept(t *testing.T) {
	forEachCache(t, func(t *testing.T, s subject) {
		s.setPolicy("users", staleForLong())
		const short = 40 * time.Millisecond
		key, loads := cache.Key{Module: "users", Operation: "list"}, 0
		limitedFetch(t, s, key, &loads, time.Hour, short, 2*time.Hour)
		s.elapse(short)
		NewWithT(t).Eventually(func() int { return limitedFetch(t, s, key, &loads, 2*time.Hour) }).
			WithTimeout(waitTimeout).WithPolling(time.Millisecond).Should(Equal(2))
		for range 3 { // what asks for more than the policy allows is kept as the policy says
			if n := limitedFetch(t, s, key, &loads); n != 2 {
				t.Errorf("load %d, want that of before", n)
			}
		}
	})
}

func TestALoaderForbidsToKeepItsValue(t *testing.T) {
	forEachCache(t, func(t *testing.T, s subject) {
		s.setPolicy("users", staleForLong())
		loads := 0
		for i, ttl := range []time.Duration{0, -time.Second, time.Microsecond} {
			if n := limitedFetch(t, s, cache.Key{Module: "users", Operation: "list"}, &loads, ttl, time.Hour); n != i+1 {
				t.Errorf("with %s: load %d, want another one", ttl, n)
			}
		}
		missing := cache.Key{Module: "users", Operation: "list", Params: "missing"}
		for range 2 {
			_, _ = cache.Fetch(t.Context(), s, missing, func(ctx context.Context) (int, error) {
				cache.LimitTTL(ctx, 0)
				loads++
				return 0, cache.ErrNotFound
			})
		}
		if loads != 5 {
			t.Errorf("%d loads, want that nothing is kept", loads)
		}
	})
}

// What a loader loads by the cache itself has limits of its own.
func TestALimitIsThatOfTheInnermostLoad(t *testing.T) {
	forEachCache(t, func(t *testing.T, s subject) {
		s.setPolicy("users", staleForLong())
		outer, inner := cache.Key{Module: "users", Operation: "list", Params: "outer"}, cache.Key{Module: "users", Operation: "list", Params: "inner"}
		notCached, unnamed := cache.Key{Module: "users", Operation: "other"}, cache.Key{Module: "users", Operation: "list", Params: func() {}}
		loads, innerLoads := 0, 0
		for range 2 {
			_, err := cache.Fetch(t.Context(), s, outer, func(ctx context.Context) (int, error) {
				loads++
				for _, key := range []cache.Key{inner, notCached, unnamed} {
					_, err := cache.Fetch(ctx, s, key, func(ctx context.Context) (int, error) {
						cache.LimitTTL(ctx, 0)
						innerLoads++
						return 0, nil
					})
					if err != nil {
						return 0, err
					}
				}
				return 0, nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		cache.LimitTTL(t.Context(), 0) // of no load
		if loads != 1 || innerLoads != 3 {
			t.Errorf("%d outer loads and %d inner ones, want 1 and 3", loads, innerLoads)
		}
	})
}
