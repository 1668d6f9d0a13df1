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
	"time"

	"github.com/redis/go-redis/v9"
)

// Indexes are named by epochs and their slices by time: each preparation makes others.
var indexName, sliceName = regexp.MustCompile(`^i:[^:]+`), regexp.MustCompile(`^i:[^:]+:\d+`)

func kindOfKey(key string) string {
	return indexName.ReplaceAllString(sliceName.ReplaceAllString(key, "i:index:slice"), "i:index")
}

func kindsOfKeys(t *testing.T, client *redis.Client) (kinds []string) {
	t.Helper()
	for _, key := range keysOf(t, client, users) {
		kinds = append(kinds, kindOfKey(key))
	}
	return slices.Compact(slices.Sorted(slices.Values(kinds)))
}

func keyLike(t *testing.T, client *redis.Client, kind string) string {
	t.Helper()
	for _, key := range keysOf(t, client, users) {
		if kindOfKey(key) == kind {
			return keyOf(users) + ":" + key
		}
	}
	t.Fatalf("no key like %q to evict", kind)
	return ""
}

// Whatever single key of a slot is evicted, nothing that was invalidated comes back. A load that
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
	prepare(t)
	for _, evicted := range kindsOfKeys(t, client) {
		for _, scope := range scopes {
			t.Run(fmt.Sprintf("%q then %q", evicted, scope), func(t *testing.T) {
				prepare(t)
				loading := entry("list", "loading", "u")
				token := leaseAnew(t, r, loading)
				key := keyLike(t, client, evicted)
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

// Whatever single key of a slot is evicted, a policy takes effect on what is cached. Nothing is
// served that it does not permit, or for longer.
func TestEvictingAnyKeyKeepsNoPolicyFromTakingEffect(t *testing.T) {
	r, client := newRegistry(t)
	list := OperationPolicy{Name: "list", TTL: time.Hour}
	listed, byDefault := entry("list", "a", ""), entry("other", "a", "u")
	prepare := func(t *testing.T) {
		t.Helper()
		if err := client.FlushDB(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		apply(t, r, users, Policy{DefaultTTL: new(time.Hour), Operations: []OperationPolicy{list}})
		fillAll(t, r, listed, byDefault)
	}
	changes := map[string]Policy{
		"off by default":   {DefaultTTL: new(time.Duration(0)), Operations: []OperationPolicy{list}},
		"without default":  {Operations: []OperationPolicy{list}},
		"shorter":          {DefaultTTL: new(time.Minute), Operations: []OperationPolicy{list}},
		"off":              {DefaultTTL: new(time.Hour), Operations: []OperationPolicy{{Name: "list"}}},
		"all by default":   {DefaultTTL: new(time.Minute)},
		"nothing":          {},
		"of users":         {DefaultTTL: new(time.Hour), Operations: []OperationPolicy{{Name: "list", TTL: time.Hour, Scope: ScopeUser}}},
		"listed and short": {Operations: []OperationPolicy{{Name: "list", TTL: time.Minute}, {Name: "other", TTL: time.Minute}}},
	}
	prepare(t)
	for _, evicted := range kindsOfKeys(t, client) {
		for name, change := range changes {
			t.Run(fmt.Sprintf("%q then %s", evicted, name), func(t *testing.T) {
				prepare(t)
				if err := client.Del(t.Context(), keyLike(t, client, evicted)).Err(); err != nil {
					t.Fatal(err)
				}
				// Reads recreate the counters meanwhile.
				lease(t, r, entry("another", "a", ""))
				apply(t, r, users, change)
				reclaimAll(t, r, users)
				for _, key := range []Key{listed, byDefault} {
					wantObeyed(t, r, client, key, change, strings.HasPrefix(evicted, "i:"))
				}
			})
		}
	}
}

// wantObeyed checks that a policy lets an entry be served for as long as it is. A TTL that was
// lowered does not reach what an index does not list any more.
func wantObeyed(t *testing.T, r *Registry, client *redis.Client, key Key, policy Policy, unlisted bool) {
	t.Helper()
	rule := OperationPolicy{}
	if policy.DefaultTTL != nil {
		rule.TTL = *policy.DefaultTTL
	}
	for _, operation := range policy.Operations {
		if operation.Name == key.Operation {
			rule = operation
		}
	}
	lookup, err := r.Read(t.Context(), key)
	if err != nil || !lookup.Hit {
		return
	}
	if rule.TTL == 0 || rule.Scope == ScopeUser && key.User == "" {
		t.Errorf("an entry of %q is served, which is not cached", key.Operation)
	}
	if left := client.PTTL(t.Context(), key.appendReadKeys(nil)[0]).Val(); left > rule.TTL && !unlisted {
		t.Errorf("an entry of %q is served for %v, longer than %v", key.Operation, left, rule.TTL)
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
	for range 8_000 {
		key := entry(fmt.Sprint("op", random.IntN(3)), fmt.Sprint(random.IntN(100)), fmt.Sprint("u", random.IntN(3)))
		switch dice := random.IntN(1000); {
		case dice < 10:
			mayRunOut(t, r.reapply(t, caching()))
		case dice < 14:
			scope := randomScope(random, key)
			// The source changes first, then the cache is invalidated, as applications do.
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

// A purge of a module whose policy was evicted frees and counts what was cached under it.
func TestAPurgeWithoutThePolicyKnowsItsOperations(t *testing.T) {
	r, client := newRegistry(t)
	apply(t, r, users, Policy{Operations: []OperationPolicy{{Name: "list", TTL: time.Hour}}})
	fill(t, r, entry("list", "0", ""), "x")
	client.Del(t.Context(), keyOf(users)+":policy")
	if result := invalidate(t, r, users, Scope{}); result.Keys != 1 {
		t.Errorf("it counted %d entries, want 1", result.Keys)
	}
	if left := client.Keys(t.Context(), keyOf(users)+":e:*").Val(); len(left) > 0 {
		t.Errorf("it left %d entries", len(left))
	}
}
