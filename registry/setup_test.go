// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/onsi/gomega"
	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry/internal/keyspace"
)

// waitingTests is how many of the parallel tests run at once. They wait for servers, most of the time.
const waitingTests = "8"

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", waitingTests); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

var users = Slot{Namespace: "shop", Module: "users"}

// newRegistry returns a Registry on a Redis of its own, with the library loaded.
func newRegistry(t *testing.T, config ...string) (*Registry, *redis.Client) {
	t.Helper()
	client := redistest.Start(t, config...).Client()
	return registryOn(t, client), client
}

func registryOn(t *testing.T, client redis.UniversalClient) *Registry {
	t.Helper()
	r := New(client)
	if _, err := r.Install(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r
}

func entry(operation, id, user string) Key {
	return Key{Slot: users, Operation: operation, ID: id, User: user}
}

// caching is a policy that caches every operation for a minute.
func caching() Policy { return Policy{DefaultTTL: new(time.Minute)} }

func apply(t testing.TB, r *Registry, slot Slot, policy Policy) Applied {
	t.Helper()
	applied, err := r.ApplyPolicy(t.Context(), slot, policy)
	if err != nil {
		t.Fatal(err)
	}
	return applied
}

// fillAll stores each key with itself as the payload.
func fillAll(t testing.TB, r *Registry, keys ...Key) {
	t.Helper()
	for _, key := range keys {
		fill(t, r, key, payloadOf(key))
	}
}

func payloadOf(key Key) string { return fmt.Sprintf("%q", []string{key.Operation, key.User, key.ID}) }

func fill(t testing.TB, r *Registry, key Key, payload string) {
	t.Helper()
	lookup := lease(t, r, key)
	if lookup.Hit {
		return
	}
	filled, err := r.Set(t.Context(), key, []byte(payload), lookup.Token)
	if err != nil || filled.Outcome != Stored {
		t.Fatalf("filling %q: %v, %v", key, filled.Outcome, err)
	}
}

func lease(t testing.TB, r *Registry, key Key) Lookup {
	t.Helper()
	lookup, err := r.Lease(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return lookup
}

// isHit reads both ways, by MGET and by the library, which must agree.
func isHit(t testing.TB, r *Registry, key Key) bool {
	t.Helper()
	byMGet, err := r.Read(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	byLibrary := lease(t, r, key)
	if byMGet.Hit != byLibrary.Hit || string(byMGet.Payload) != string(byLibrary.Payload) {
		t.Fatalf("%q: MGET finds (%v, %q), cw_get (%v, %q)",
			key, byMGet.Hit, byMGet.Payload, byLibrary.Hit, byLibrary.Payload)
	}
	return byMGet.Hit
}

func invalidate(t testing.TB, r *Registry, slot Slot, scope Scope) Invalidated {
	t.Helper()
	result, err := r.Invalidate(t.Context(), slot, scope, ModeHard, "")
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// reclaimAll reclaims until nothing is pending and returns how many entries were freed.
func reclaimAll(t testing.TB, r *Registry, slot Slot) int64 {
	t.Helper()
	var freed int64
	for {
		reclaimed, err := r.Reclaim(t.Context(), slot, 200)
		if err != nil {
			t.Fatal(err)
		}
		freed += reclaimed.Freed
		if reclaimed.Pending == 0 {
			return freed
		}
	}
}

// keysOf lists a slot's keys without their common prefix. Tests may scan; the product never does.
func keysOf(t testing.TB, client redis.UniversalClient, slot Slot) []string {
	t.Helper()
	keys, err := client.Keys(context.Background(), keyOf(slot)+"*").Result()
	if err != nil {
		t.Fatal(err)
	}
	for i := range keys {
		keys[i] = strings.TrimPrefix(keys[i], keyOf(slot)+":")
	}
	return keys
}

func keyCount(t testing.TB, client redis.UniversalClient, slot Slot, prefix string) int {
	t.Helper()
	count := 0
	for _, key := range keysOf(t, client, slot) {
		if strings.HasPrefix(key, prefix) {
			count++
		}
	}
	return count
}

func eventually(t *testing.T, actual any) gomega.AsyncAssertion {
	t.Helper()
	return gomega.NewWithT(t).Eventually(actual).WithTimeout(20 * time.Second).WithPolling(20 * time.Millisecond)
}

func keyOf(slot Slot) string { return keyspace.SlotKey(slot) }

func policyKey(slot Slot) string { return keyOf(slot) + ":policy" }

func (k Key) appendReadKeys(keys []string) []string {
	return keyspace.AppendReadKeys(keys, keyspace.Key(k))
}

func (k Key) lockKey() string { return keyspace.LockKey(keyspace.Key(k)) }

// fenceRequest is the request id of a fence, and heartbeatRequest that of a heartbeat.
func fenceRequest(incarnation Incarnation) string { return "fence/" + string(incarnation) }

const heartbeatRequest = "operator/alive"
