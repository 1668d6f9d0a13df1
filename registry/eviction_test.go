// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Whatever single key of a slot is evicted, nothing that was invalidated comes back, a load that
// began before is not stored, and the slot works again.
func TestEvictingAnyKeyOnlyCausesMisses(t *testing.T) {
	r, client := newRegistry(t)
	keys := []Key{entry("list", "a", ""), entry("list", "b", "u"), entry("profile", "c", "u")}
	scopes := []Scope{{}, {Operation: "list"}, {User: "u"}, {Operation: "list", User: "u"}}
	prepare := func(t *testing.T) {
		t.Helper()
		if err := client.FlushDB(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		apply(t, r, users, caching())
		fillAll(t, r, keys...)
		if _, err := r.Delete(t.Context(), entry("list", "gone", "")); err != nil {
			t.Fatal(err)
		}
	}
	// Indexes are named by epochs and their slices by time: each preparation makes others.
	index, slice := regexp.MustCompile(`^i:[^:]+`), regexp.MustCompile(`^i:[^:]+:\d+`)
	masked := func(key string) string {
		return index.ReplaceAllString(slice.ReplaceAllString(key, "i:index:slice"), "i:index")
	}
	keyLike := func(name string) string {
		for _, key := range keysOf(t, client, users) {
			if masked(key) == name {
				return users.key() + ":" + key
			}
		}
		t.Fatalf("no key like %q to evict", name)
		return ""
	}
	prepare(t)
	var names []string
	for _, key := range keysOf(t, client, users) {
		names = append(names, masked(key))
	}
	for _, evicted := range slices.Compact(slices.Sorted(slices.Values(names))) {
		for _, scope := range scopes {
			t.Run(fmt.Sprintf("%q then %q", evicted, scope), func(t *testing.T) {
				prepare(t)
				loading := entry("list", "loading", "u")
				token := leaseAnew(t, r, loading)
				key := keyLike(evicted)
				if err := client.Del(t.Context(), key).Err(); err != nil {
					t.Fatal(err)
				}
				invalidate(t, r, users, scope)
				if err := client.Del(t.Context(), key).Err(); err != nil {
					t.Fatal(err)
				}
				for _, key := range keys {
					if isHit(t, r, key) && covers(users, scope, key) {
						t.Errorf("%q is served after the invalidation", key)
					}
				}
				filled, err := r.Set(t.Context(), loading, []byte("stale"), token)
				if err != nil || filled.Outcome == Stored && covers(users, scope, loading) {
					t.Errorf("the load that began before is %v (%v)", filled.Outcome, err)
				}
				apply(t, r, users, caching())
				fillAll(t, r, keys...)
				for _, key := range keys {
					if !isHit(t, r, key) {
						t.Errorf("%q is not cached again", key)
					}
				}
			})
		}
	}
}

// Under allkeys-random with far too little memory Redis evicts all the time. Every value that is
// read was loaded after the last invalidation that covers it.
func TestEvictionUnderMemoryPressureServesNothingStale(t *testing.T) {
	r, client := newRegistry(t, "--maxmemory", "3mb", "--maxmemory-policy", "allkeys-random")
	random := rand.New(rand.NewPCG(1, 2))
	version := map[string]int{} // of the source, per operation and user
	sourceOf := func(k Key) string {
		return fmt.Sprintf("%s/%s/%d/", k.Operation, k.User, version[k.Operation+"/"+k.User])
	}
	filler := strings.Repeat("x", 2000)
	hits, stored := 0, 0
	for range 20_000 {
		key := entry(fmt.Sprint("op", random.IntN(3)), fmt.Sprint(random.IntN(100)), fmt.Sprint("u", random.IntN(3)))
		switch dice := random.IntN(1000); {
		case dice < 10:
			mayRunOut(t, r.reapply(t, caching()))
		case dice < 14:
			scope := randomScope(random, key)
			// The source changes first, then the cache is told, as an application does.
			for sources := range version {
				operation, user, _ := strings.Cut(sources, "/")
				if covers(users, scope, entry(operation, "", user)) {
					version[sources]++
				}
			}
			if _, err := r.Invalidate(t.Context(), users, scope, ModeHard, ""); err != nil {
				t.Fatal(err)
			}
		default:
			if _, known := version[key.Operation+"/"+key.User]; !known {
				version[key.Operation+"/"+key.User] = 0
			}
			lookup, err := r.Get(t.Context(), key)
			mayRunOut(t, err)
			if lookup.Hit {
				hits++
				if !strings.HasPrefix(string(lookup.Payload), sourceOf(key)) {
					t.Fatalf("read %.20q, the source is at %q", lookup.Payload, sourceOf(key))
				}
				continue
			}
			if err == nil {
				filled, err := r.Set(t.Context(), key, []byte(sourceOf(key)+filler), lookup.Token)
				mayRunOut(t, err)
				if filled.Outcome == Stored {
					stored++
				}
			}
		}
	}
	evicted := client.InfoMap(t.Context(), "stats").Item("Stats", "evicted_keys")
	t.Logf("%d hits, %d fills, %s keys evicted", hits, stored, evicted)
	if evicted == "0" || hits < 100 || stored < 100 {
		t.Errorf("the test did not bite: %d hits, %d fills, %s evicted", hits, stored, evicted)
	}
}

// reapply brings back an evicted policy, as the operator does.
func (r *Registry) reapply(t *testing.T, policy Policy) error {
	_, err := r.ApplyPolicy(t.Context(), users, policy)
	return err
}

func mayRunOut(t *testing.T, err error) {
	t.Helper()
	if err != nil && !errors.Is(err, ErrOutOfMemory) {
		t.Fatal(err)
	}
}

func randomScope(random *rand.Rand, key Key) Scope {
	return []Scope{
		{},
		{Operation: key.Operation},
		{User: key.User},
		{Operation: key.Operation, User: key.User},
	}[random.IntN(4)]
}
