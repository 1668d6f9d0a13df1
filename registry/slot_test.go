// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/onsi/gomega"
	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry/internal/wire"
)

// After everything has expired a slot holds nothing but policy and counters.
func TestASlotCleansItselfUp(t *testing.T) {
	t.Parallel()
	r, client := newRegistry(t)
	short := Policy{DefaultTTL: new(100 * time.Millisecond)}
	apply(t, r, users, short)
	for i := range 300 {
		fill(t, r, entry("list", fmt.Sprint(i), fmt.Sprint("u", i%7)), "x")
		fill(t, r, entry("getById", fmt.Sprint(i), ""), "x")
	}
	invalidate(t, r, users, Scope{User: "u3"})
	if _, err := r.Delete(t.Context(), entry("getById", "1", "")); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() int { return keyCount(t, client, users, "e:") }).Should(gomega.BeZero())
	fill(t, r, entry("list", "one more write", ""), "x")
	eventually(t, func() []string { return keysOf(t, client, users) }).
		Should(gomega.ConsistOf("policy", "counters"))
}

// Slices of an index that are over leave it as others begin, while it lives on.
func TestAnIndexForgetsWhatExpired(t *testing.T) {
	r, client := newRegistry(t)
	apply(t, r, users, Policy{Operations: []OperationPolicy{{Name: "list", TTL: time.Hour, NegativeTTL: 30 * time.Millisecond}}})
	fill(t, r, entry("list", "lives", ""), "x")
	absent := func(id string) {
		key := entry("list", id, "")
		if filled, err := r.SetNegative(t.Context(), key, nil, leaseAnew(t, r, key)); err != nil || filled.Outcome != Stored {
			t.Fatal(filled, err)
		}
	}
	for i := range 300 {
		absent(fmt.Sprint(i))
	}
	eventually(t, func() int { return keyCount(t, client, users, "e:") }).Should(gomega.Equal(1))
	index := keyOf(users) + ":i:" + client.Get(t.Context(), keyOf(users)+":o:list").Val()[:wire.EpochLen]
	eventually(t, func() int64 {
		absent(rand.Text())
		return client.HLen(t.Context(), index).Val()
	}).Should(gomega.BeNumerically("<", 20)) // 30 ms have more slices than that
	eventually(t, func() int { return keyCount(t, client, users, "i:") }).Should(gomega.BeNumerically("<=", 3))
}

// Every key the library writes, but policy and counters, expires.
func TestEveryKeyButPolicyAndCountersExpires(t *testing.T) {
	r, client := newRegistry(t)
	apply(t, r, users, caching())
	for i := range 1500 {
		fill(t, r, entry("list", fmt.Sprint(i), fmt.Sprint("u", i%3)), "x")
	}
	if _, err := r.Delete(t.Context(), entry("list", "1", "u1")); err != nil {
		t.Fatal(err)
	}
	for _, scope := range []Scope{{}, {Operation: "list"}, {User: "u1"}, {Operation: "list", User: "u1"}} {
		softly(t, r, scope)
	}
	wantExpiring(t, client)
	if _, err := r.Invalidate(t.Context(), users, Scope{Operation: "list"}, ModeHard, "request"); err != nil {
		t.Fatal(err)
	}
	fillAll(t, r, entry("list", "after", "u1"))
	wantExpiring(t, client)
}

func wantExpiring(t *testing.T, client *redis.Client) {
	t.Helper()
	for _, key := range keysOf(t, client, users) {
		ttl := client.PTTL(t.Context(), keyOf(users)+":"+key).Val()
		if forever := key == "policy" || key == "counters"; forever == (ttl > 0) {
			t.Errorf("%s has a TTL of %v", key, ttl)
		}
	}
}

// Entries are covered by heads that outlive them, by loads that began early too.
func TestHeadsOutliveWhatTheyCover(t *testing.T) {
	r, client := newRegistry(t)
	apply(t, r, users, Policy{Operations: []OperationPolicy{
		{Name: "long", TTL: time.Hour}, {Name: "short", TTL: time.Second},
	}})
	fillAll(t, r, entry("long", "a", "u"), entry("short", "a", "u"), entry("short", "b", ""))
	for _, head := range []string{"m", "o:long", "u:u"} {
		if ttl := client.PTTL(t.Context(), keyOf(users)+":"+head).Val(); ttl <= time.Hour-time.Minute {
			t.Errorf("%s expires in %v, before the entry it covers", head, ttl)
		}
	}
}

// Clients track heads: a miss does not write those that will last.
func TestAMissLeavesHeadsAlone(t *testing.T) {
	r, client := newRegistry(t)
	apply(t, r, users, caching())
	key := entry("list", "a", "u")
	lease(t, r, key)
	expiries := func() (at []time.Duration) {
		for _, head := range []string{"m", "o:list", "u:u"} {
			at = append(at, client.PExpireTime(t.Context(), keyOf(users)+":"+head).Val())
		}
		return at
	}
	before := expiries()
	for range 10 {
		lease(t, r, key)
	}
	if after := expiries(); !slices.Equal(before, after) {
		t.Errorf("heads expired at %v, now at %v", before, after)
	}
}

// Nothing the product does scans or flushes, and a hit is one MGET and no script.
func TestNoCommandScansOrFlushes(t *testing.T) {
	r, client := newRegistry(t)
	ctx := t.Context()
	apply(t, r, users, Policy{Revision: "1", DefaultTTL: new(time.Minute)})
	for i := range 1200 {
		fill(t, r, entry("list", fmt.Sprint(i), fmt.Sprint("u", i%3)), "x")
	}
	for _, scope := range []Scope{{Operation: "list", User: "u1"}, {User: "u2"}, {Operation: "list"}, {}} {
		invalidate(t, r, users, scope)
		reclaimAll(t, r, users)
	}
	if _, err := r.Stats(ctx, users); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Check(ctx); err != nil {
		t.Fatal(err)
	}
	apply(t, r, users, Policy{Revision: "2", DefaultTTL: new(time.Second)})
	if _, err := r.PolicyHashes(ctx, []Slot{users}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.DeletePolicy(ctx, users); err != nil {
		t.Fatal(err)
	}
	for command := range commandCalls(t, client) {
		if command == "keys" || strings.Contains(command, "scan") || strings.HasPrefix(command, "flush") {
			t.Errorf("%s was called", command)
		}
	}

	apply(t, r, users, caching())
	fillAll(t, r, entry("list", "a", ""), entry("list", "a", "u"))
	if err := client.ConfigResetStat(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	for _, user := range []string{"", "u"} {
		if lookup, err := r.Get(ctx, entry("list", "a", user)); err != nil || !lookup.Hit {
			t.Fatalf("no hit: %v", err)
		}
	}
	calls := commandCalls(t, client)
	if calls["mget"] != 2 || calls["fcall"] != 0 || calls["get"] != 0 {
		t.Errorf("two hits cost %v", calls)
	}
}

// commandCalls returns how often each command was called, by functions too.
func commandCalls(t *testing.T, client *redis.Client) map[string]int {
	t.Helper()
	calls := map[string]int{}
	for name, line := range client.InfoMap(t.Context(), "commandstats").Val()["Commandstats"] {
		var n int
		if _, err := fmt.Sscanf(line, "calls=%d,", &n); err != nil {
			t.Fatal(err)
		}
		calls[strings.TrimPrefix(name, "cmdstat_")] = n
	}
	return calls
}

// Each slot sits on one node, modules spread over the nodes, and a hit reads one node.
func TestModulesSpreadOverACluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 3)
	client := cluster.Client()
	r := registryOn(t, client)
	const modules = 30
	for i := range modules {
		slot := Slot{Namespace: "shop", Module: fmt.Sprint("module", i)}
		apply(t, r, slot, caching())
		fillAll(t, r, Key{Slot: slot, Operation: "list", ID: "a", User: "u"}, Key{Slot: slot, Operation: "list", ID: "b"})
	}
	total := 0
	for _, server := range cluster.Servers() {
		policies, err := server.Client().Keys(context.Background(), "cw:*:policy").Result()
		if err != nil {
			t.Fatal(err)
		}
		if len(policies) == 0 {
			t.Errorf("no module is on %s", server.Addr())
		}
		total += len(policies)
	}
	if total != modules {
		t.Errorf("%d policies in the cluster, want %d", total, modules)
	}
	listed, err := r.Modules(t.Context(), "shop")
	if err != nil || len(listed) != modules || !slices.IsSorted(listed) {
		t.Errorf("%d modules listed: %v (%v)", len(listed), listed, err)
	}
}
