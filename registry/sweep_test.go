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

// A TTL that was lowered and raised again shortens nothing that is filled from then on.
func TestATTLThatWasRaisedAgainShortensNothing(t *testing.T) {
	r, client := newRegistry(t)
	policy := func(ttl time.Duration) Policy { return Policy{Operations: []OperationPolicy{{Name: "list", TTL: ttl}}} }
	apply(t, r, users, policy(time.Hour))
	const count = 500
	fillCount(t, r, "list", "", count, "x")
	apply(t, r, users, policy(time.Minute))
	apply(t, r, users, policy(time.Hour))
	fillCount(t, r, "list", "", count, "x")
	reclaimAll(t, r, users)
	for i := range count {
		if left := ttlOf(t, client, "e:4:list:0::"+fmt.Sprint(i)); left < time.Hour-time.Minute {
			t.Fatalf("entry %d has %v left", i, left)
		}
	}
}

// Entries of many operations are shortened, too, those that one call does not get to.
func TestALoweredTTLReachesEveryOperation(t *testing.T) {
	r, client := newRegistry(t)
	const operations, each = 20, 30
	apply(t, r, users, Policy{DefaultTTL: new(time.Hour)})
	for i := range operations {
		fillCount(t, r, fmt.Sprint("op", i), "", each, "x")
	}
	apply(t, r, users, Policy{DefaultTTL: new(time.Minute)})
	stats, err := r.Stats(t.Context(), users)
	if err != nil || stats.Pending < operations*each-100 || stats.Pending >= operations*each {
		t.Errorf("%d wait (%v), want all but up to 100", stats.Pending, err)
	}
	reclaimAll(t, r, users)
	for _, key := range keysOf(t, client, users) {
		if left := ttlOf(t, client, key); strings.HasPrefix(key, "e:") && left > time.Minute {
			t.Fatalf("%s has %v left", key, left)
		}
	}
	if stats, err = r.Stats(t.Context(), users); err != nil || stats.Keys != operations*each {
		t.Errorf("%d keys (%v), want %d", stats.Keys, err, operations*each)
	}
}

// Negative entries obey a lowered TTL of their own, and go when they are not stored any more.
// Others stay as they are.
func TestNegativeEntriesObeyALoweredNegativeTTL(t *testing.T) {
	r, client := newRegistry(t)
	policy := func(negative time.Duration) Policy {
		return Policy{Operations: []OperationPolicy{{Name: "list", TTL: time.Hour, NegativeTTL: negative}}}
	}
	apply(t, r, users, policy(time.Hour))
	fill(t, r, entry("list", "there", "u"), "x")
	absent := []Key{entry("list", "absent", ""), entry("list", "absent", "u")}
	for _, key := range absent {
		if filled, err := r.SetNegative(t.Context(), key, nil, leaseAnew(t, r, key)); err != nil || filled.Outcome != Stored {
			t.Fatal(filled, err)
		}
	}
	for _, negative := range []time.Duration{time.Minute, time.Second * 50} {
		apply(t, r, users, policy(negative))
		for _, key := range absent {
			lookup, err := r.Read(t.Context(), key)
			left := client.PTTL(t.Context(), key.appendReadKeys(nil)[0]).Val()
			if err != nil || !lookup.Negative || lookup.Remaining > negative || left > negative {
				t.Errorf("got %+v, expiring in %v (%v), want at most %v", lookup, left, err, negative)
			}
		}
	}
	apply(t, r, users, policy(0))
	for _, key := range absent {
		if isHit(t, r, key) {
			t.Errorf("that there is nothing under %q is served", key.ID)
		}
	}
	there := entry("list", "there", "u").appendReadKeys(nil)[0]
	if left := client.PTTL(t.Context(), there).Val(); left < time.Hour-time.Minute {
		t.Errorf("an entry that is there has %v left", left)
	}
	if result := invalidate(t, r, users, Scope{User: "u"}); result.Keys != 1 {
		t.Errorf("got %+v, want the one entry", result)
	}
}

// What a sweep has emptied is no slice of the index any more: sizes that are estimated from a few
// slices would be too low.
func TestASweepLeavesNoEmptySlices(t *testing.T) {
	r, client := newRegistry(t)
	policy := func(ttl time.Duration) Policy {
		return Policy{Operations: []OperationPolicy{{Name: "list", TTL: ttl, JitterPercent: 50}}}
	}
	apply(t, r, users, policy(10*time.Hour))
	const count = 700
	fillCount(t, r, "list", "", count, "x")
	before := slicesOf(t, client)
	apply(t, r, users, policy(time.Minute))
	reclaimAll(t, r, users)
	after := slicesOf(t, client)
	for slice := range after {
		if before[slice] {
			t.Errorf("slice %s is in the index, although a sweep has emptied it", slice)
		}
	}
	if len(before) == 0 || len(after) == 0 {
		t.Errorf("%d slices before and %d after, so this looks in the wrong place", len(before), len(after))
	}
	fillCount(t, r, "list", "", count, "x")
	if stats, err := r.Stats(t.Context(), users); err != nil || stats.Keys != count {
		t.Errorf("%d keys (%v), want %d", stats.Keys, err, count)
	}
}

// slicesOf are the slices of the index of operation list.
func slicesOf(t *testing.T, client *redis.Client) map[string]bool {
	t.Helper()
	epoch := client.GetRange(t.Context(), keyOf(users)+":o:list", 0, 10).Val()
	slices := map[string]bool{}
	for slice := range client.HGetAll(t.Context(), keyOf(users)+":i:"+epoch).Val() {
		slices[slice] = true
	}
	return slices
}
