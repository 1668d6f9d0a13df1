// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/cachewright/cachewright/internal/redistest"
)

// trickyBytes draws any bytes, and often those that a key could be confused by.
func trickyBytes(minLen, maxLen int) *rapid.Generator[string] {
	tricky := rapid.SampledFrom([]string{":", "1:a", "{", "}", "\x00", "\xff", "%", "a", "0::", ":e:", "b"})
	text := rapid.Custom(func(t *rapid.T) string {
		s := ""
		for _, part := range rapid.SliceOfN(tricky, minLen, 4).Draw(t, "parts") {
			s += part
		}
		return s
	})
	raw := rapid.Map(rapid.SliceOfN(rapid.Byte(), minLen, maxLen), func(b []byte) string { return string(b) })
	return rapid.OneOf(text, raw)
}

// covers is what an invalidation means, said without heads: the oracle of the property.
func covers(slot Slot, scope Scope, key Key) bool {
	return key.Slot == slot &&
		(scope.Operation == "" || scope.Operation == key.Operation) &&
		(scope.User == "" || scope.User == key.User)
}

func checkIsolation(t *rapid.T, r *Registry, tb testing.TB) {
	slots := []Slot{{Namespace: "shop", Module: "users"}, {Namespace: "shop", Module: "posts"}, {Namespace: "shop2", Module: "users"}}
	operations := rapid.SliceOfNDistinct(trickyBytes(1, 12), 2, 3, rapid.ID).Draw(t, "operations")
	userIDs := append([]string{""}, rapid.SliceOfNDistinct(trickyBytes(1, 12), 2, 2, rapid.ID).Draw(t, "users")...)
	ids := rapid.SliceOfNDistinct(trickyBytes(0, 24), 2, 3, rapid.ID).Draw(t, "ids")

	var keys []Key
	for _, slot := range slots {
		if _, err := r.DeletePolicy(tb.Context(), slot); err != nil {
			t.Fatal(err)
		}
		reclaimAll(tb, r, slot)
		apply(tb, r, slot, caching())
		for _, operation := range operations {
			for _, user := range userIDs {
				for _, id := range ids {
					keys = append(keys, Key{Slot: slot, Operation: operation, User: user, ID: id})
				}
			}
		}
	}
	fillAll(tb, r, keys...)

	slot := rapid.SampledFrom(slots).Draw(t, "slot")
	scope := Scope{
		Operation: rapid.SampledFrom(append([]string{""}, operations...)).Draw(t, "operation"),
		User:      rapid.SampledFrom(userIDs).Draw(t, "user"),
	}
	want := int64(0)
	for _, key := range keys {
		if covers(slot, scope, key) {
			want++
		}
	}
	if counted, err := r.Invalidate(tb.Context(), slot, scope, ModeDry, ""); err != nil || counted.Keys != want {
		t.Fatalf("a dry run of %q counted %d, want %d (%v)", scope, counted.Keys, want, err)
	}
	if result := invalidate(tb, r, slot, scope); result.Keys != want {
		t.Fatalf("%q invalidated %d, want %d", scope, result.Keys, want)
	}
	for _, key := range keys {
		lookup, err := r.Read(tb.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if lookup.Hit == covers(slot, scope, key) {
			t.Fatalf("after %q of %s, %q: hit is %v", scope, slot, key, lookup.Hit)
		}
		if lookup.Hit && string(lookup.Payload) != payloadOf(key) {
			t.Fatalf("%q holds %q", key, lookup.Payload)
		}
	}
}

// An invalidation takes exactly what it names: entries of other operations, users, modules and
// namespaces survive, for any bytes in names, ids and users.
func TestInvalidationTakesExactlyWhatItNames(t *testing.T) {
	r, _ := newRegistry(t)
	rapid.Check(t, func(rt *rapid.T) { checkIsolation(rt, r, t) })
}

func TestInvalidationTakesExactlyWhatItNamesInACluster(t *testing.T) {
	t.Parallel()
	client := redistest.StartCluster(t, 3).Client()
	r := registryOn(t, client)
	rapid.Check(t, func(rt *rapid.T) { checkIsolation(rt, r, t) })
}

// Any payload comes back as it went in.
func TestPayloadsAreUnchanged(t *testing.T) {
	r, _ := newRegistry(t)
	apply(t, r, users, caching())
	rapid.Check(t, func(rt *rapid.T) {
		payload := rapid.SliceOf(rapid.Byte()).Draw(rt, "payload")
		key := entry("op", rapid.StringN(0, 20, -1).Draw(rt, "id"), trickyBytes(0, 8).Draw(rt, "user"))
		if _, err := r.Delete(t.Context(), key); err != nil {
			rt.Fatal(err)
		}
		fill(t, r, key, string(payload))
		lookup, err := r.Read(t.Context(), key)
		if err != nil || !lookup.Hit || !slices.Equal(lookup.Payload, payload) && len(payload) > 0 {
			rt.Fatalf("got %v %q (%v), want %q", lookup.Hit, lookup.Payload, err, payload)
		}
	})
}
