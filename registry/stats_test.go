// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func TestStatsCountWhatHappened(t *testing.T) {
	r, client := newRegistry(t)
	apply(t, r, users, Policy{Operations: []OperationPolicy{{Name: "list", TTL: time.Minute}, {Name: "idle", TTL: time.Hour}}})
	payload := strings.Repeat("x", 1000)
	for i := range 100 {
		fill(t, r, entry("list", fmt.Sprint(i), ""), payload)
	}
	token := leaseAnew(t, r, entry("list", "fenced", ""))
	if err := r.Report(t.Context(), users, "list", Counters{Hits: 7, Stale: 2, Errors: 1}); err != nil {
		t.Fatal(err)
	}
	lease(t, r, entry("list", "5", ""))
	stats, err := r.Stats(t.Context(), users)
	if err != nil {
		t.Fatal(err)
	}
	want := OperationStats{Keys: 100, TTL: time.Minute, Hits: 8, Misses: 101, Stale: 2, Errors: 1, Fills: 100}
	if got := stats.Operations["list"]; got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := stats.Operations["idle"]; got != (OperationStats{TTL: time.Hour}) {
		t.Errorf("an operation of the policy without entries: %+v", got)
	}
	if stats.Keys != 100 {
		t.Errorf("%d keys", stats.Keys)
	}
	used := memoryOf(t, client, 100)
	if stats.MemoryBytes < used/2 || stats.MemoryBytes > used*2 {
		t.Errorf("%d bytes estimated, the entries alone take %d", stats.MemoryBytes, used)
	}

	invalidate(t, r, users, Scope{Operation: "list"})
	invalidate(t, r, users, Scope{})
	if _, err := r.Set(t.Context(), entry("list", "fenced", ""), []byte("x"), token); err != nil {
		t.Fatal(err)
	}
	stats, err = r.Stats(t.Context(), users)
	if err != nil {
		t.Fatal(err)
	}
	if got := stats.Operations["list"]; got.Keys != 0 || got.Fenced != 1 || got.Invalidations != 2 || stats.Invalidations != 2 {
		t.Errorf("after two invalidations: %+v, %+v", stats, got)
	}
	if got := stats.Operations["idle"].Invalidations; got != 1 {
		t.Errorf("the module's invalidation covered idle too: %d", got)
	}
}

func memoryOf(t *testing.T, client *redis.Client, count int) int64 {
	t.Helper()
	var total int64
	for i := range count {
		total += client.MemoryUsage(t.Context(), entry("list", fmt.Sprint(i), "").appendReadKeys(nil)[0]).Val()
	}
	return total
}

// A caller that invents operations under a default TTL cannot grow a slot without end.
func TestTheNumberOfOperationsIsBounded(t *testing.T) {
	r, client := newRegistry(t)
	policy := caching()
	policy.Operations = []OperationPolicy{{Name: "listed", TTL: time.Minute}}
	apply(t, r, users, policy)
	cacheable := 0
	for i := range 1000 {
		if lease(t, r, entry(fmt.Sprint("invented", i), "a", "")).Cacheable {
			cacheable++
		}
	}
	if err := r.Report(t.Context(), users, "reported", Counters{Hits: 1}); err != nil {
		t.Fatal(err)
	}
	if fields := client.HLen(t.Context(), keyOf(users)+":counters").Val(); cacheable != 128 || fields > 128+2 {
		t.Errorf("%d operations, %d fields", cacheable, fields)
	}
	if !lease(t, r, entry("listed", "a", "")).Cacheable {
		t.Error("an operation of the policy found no room")
	}
	if !lease(t, r, entry("invented1", "a", "")).Cacheable {
		t.Error("an operation that was there before found no room")
	}
}

// Operations that left the policy make room; those that are cached by its default keep their
// counters.
func TestOperationsThatAreNotCachedAnyMoreMakeRoom(t *testing.T) {
	r, client := newRegistry(t)
	for generation := range 5 {
		policy := caching()
		for i := range 100 {
			policy.Operations = append(policy.Operations, OperationPolicy{Name: fmt.Sprint("listed", generation, "-", i), TTL: time.Minute})
		}
		apply(t, r, users, policy)
		for _, operation := range policy.Operations {
			lease(t, r, entry(operation.Name, "a", ""))
		}
		if !lease(t, r, entry(fmt.Sprint("by default", generation), "a", "")).Cacheable {
			t.Errorf("generation %d found no room", generation)
		}
		apply(t, r, users, Policy{Operations: policy.Operations[:1]})
	}
	if fields := client.HLen(t.Context(), keyOf(users)+":counters").Val(); fields > 10 {
		t.Errorf("%d fields are left of operations that are not cached", fields)
	}
	apply(t, r, users, caching())
	lease(t, r, entry("by default", "a", ""))
	apply(t, r, users, Policy{DefaultTTL: new(time.Hour)})
	stats, err := r.Stats(t.Context(), users)
	if err != nil || stats.Operations["by default"].Misses != 1 {
		t.Errorf("counters of an operation by default: %+v (%v)", stats.Operations["by default"], err)
	}
}
