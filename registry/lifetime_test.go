// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"testing"
	"time"

	"github.com/onsi/gomega"
	"github.com/redis/go-redis/v9"
)

func ttlOf(tb testing.TB, client *redis.Client, key string) time.Duration {
	tb.Helper()
	ttl, err := client.PTTL(tb.Context(), keyOf(users)+":"+key).Result()
	if err != nil {
		tb.Fatal(err)
	}
	return ttl
}

func set(tb testing.TB, r *Registry, key Key, token Token) {
	tb.Helper()
	if filled, err := r.Set(tb.Context(), key, []byte("x"), token); err != nil || filled.Outcome != Stored {
		tb.Fatalf("filling %q: %+v, %v", key, filled, err)
	}
}

// A user's index lives as long as the longest-lived entry, whichever load ends first.
func TestAUsersIndexOutlivesItsEntries(t *testing.T) {
	r, client := newRegistry(t)
	apply(t, r, users, Policy{Operations: []OperationPolicy{
		{Name: "short", TTL: 200 * time.Millisecond}, {Name: "long", TTL: time.Hour}, {Name: "other", TTL: time.Hour},
	}})
	short, long := entry("short", "a", "u"), entry("long", "b", "u")
	shorter, longer := leaseAnew(t, r, short), leaseAnew(t, r, long)
	set(t, r, short, shorter)
	set(t, r, long, longer)
	if ttl := ttlOf(t, client, "iu:u"); ttl <= time.Hour-time.Minute {
		t.Fatalf("the index expires in %v, before an entry that it lists", ttl)
	}
	eventually(t, func() int64 { return client.Exists(t.Context(), short.appendReadKeys(nil)[0]).Val() }).Should(gomega.BeZero())
	if counted, err := r.Invalidate(t.Context(), users, Scope{User: "u"}, ModeDry, ""); err != nil || counted.Keys != 1 {
		t.Errorf("%d entries of the user are counted (%v), want 1", counted.Keys, err)
	}
	invalidate(t, r, users, Scope{Operation: "other", User: "u"})
	if !isHit(t, r, long) {
		t.Error("an entry went with another operation of its user")
	}
	invalidate(t, r, users, Scope{User: "u"})
	if left := keyCount(t, client, users, "e:"); left != 0 {
		t.Errorf("%d entries of the user were not freed", left)
	}
}

// wantCovered checks that the heads of an entry outlive it.
func wantCovered(t *testing.T, client *redis.Client, key Key) {
	t.Helper()
	keys := key.appendReadKeys(nil)
	expiry := client.PExpireTime(t.Context(), keys[0]).Val()
	for _, head := range keys[1:] {
		if outlived := client.PExpireTime(t.Context(), head).Val() - expiry; outlived <= 0 {
			t.Errorf("%s expires %v before the entry that it covers", head, -outlived)
		}
	}
}

func TestHeadsOutliveNegativeEntries(t *testing.T) {
	r, client := newRegistry(t)
	apply(t, r, users, Policy{Operations: []OperationPolicy{{Name: "list", TTL: time.Second, NegativeTTL: time.Hour}}})
	for _, key := range []Key{entry("list", "a", ""), entry("list", "a", "u")} {
		if filled, err := r.SetNegative(t.Context(), key, nil, leaseAnew(t, r, key)); err != nil || filled.Outcome != Stored {
			t.Fatal(filled, err)
		}
		wantCovered(t, client, key)
	}
}

// A policy that lets entries live longer also covers entries whose load is in progress.
func TestHeadsOutliveEntriesOfALongerRule(t *testing.T) {
	for name, test := range map[string]struct{ before, after Policy }{
		"ttl": {
			Policy{Operations: []OperationPolicy{{Name: "list", TTL: time.Second}}},
			Policy{Operations: []OperationPolicy{{Name: "list", TTL: time.Hour}}},
		},
		"stale": {
			Policy{Operations: []OperationPolicy{{Name: "list", TTL: time.Second}}},
			Policy{Operations: []OperationPolicy{{Name: "list", TTL: time.Second, StaleFor: time.Hour}}},
		},
		"default": {Policy{DefaultTTL: new(time.Second)}, Policy{DefaultTTL: new(time.Hour)}},
	} {
		t.Run(name, func(t *testing.T) {
			r, client := newRegistry(t)
			apply(t, r, users, test.before)
			shared, ofUser := entry("list", "a", ""), entry("list", "a", "u")
			fill(t, r, entry("list", "before", "u"), "x") // so the rule is remembered
			sharedToken, userToken := leaseAnew(t, r, shared), leaseAnew(t, r, ofUser)
			apply(t, r, users, test.after)
			set(t, r, shared, sharedToken)
			set(t, r, ofUser, userToken)
			wantCovered(t, client, shared)
			wantCovered(t, client, ofUser)
		})
	}
}
