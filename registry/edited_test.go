// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func editedPolicy() Policy {
	return Policy{Revision: "1", DefaultTTL: new(time.Minute), Operations: []OperationPolicy{{Name: "list", TTL: time.Minute}, {Name: "one", TTL: time.Hour}}}
}

func hashOf(t *testing.T, r *Registry, slot Slot) string {
	t.Helper()
	hashes, err := r.PolicyHashes(t.Context(), []Slot{slot})
	if err != nil {
		return err.Error()
	}
	return hashes[0]
}

// An edit of a policy in Redis is noticed and undone, whichever field it was.
func TestAnEditedPolicyIsNotTakenForTheOneThatWasWritten(t *testing.T) {
	edits := map[string]func(context.Context, redis.UniversalClient, string){
		"a rule": func(ctx context.Context, c redis.UniversalClient, key string) {
			c.HSet(ctx, key, "o:list", "3600000 0 0 0 Any 67108864")
		},
		"a new rule": func(ctx context.Context, c redis.UniversalClient, key string) {
			c.HSet(ctx, key, "o:mine", "3600000 0 0 0 Any 67108864")
		},
		"no rule":     func(ctx context.Context, c redis.UniversalClient, key string) { c.HDel(ctx, key, "o:list") },
		"a field":     func(ctx context.Context, c redis.UniversalClient, key string) { c.HSet(ctx, key, "mine", "x") },
		"no default":  func(ctx context.Context, c redis.UniversalClient, key string) { c.HDel(ctx, key, "default") },
		"no revision": func(ctx context.Context, c redis.UniversalClient, key string) { c.HDel(ctx, key, "revision") },
		"no document": func(ctx context.Context, c redis.UniversalClient, key string) { c.HDel(ctx, key, "json") },
		"no seal":     func(ctx context.Context, c redis.UniversalClient, key string) { c.HDel(ctx, key, "seal") },
		"nothing left": func(ctx context.Context, c redis.UniversalClient, key string) {
			c.HDel(ctx, key, "json", "revision", "default", "o:list", "o:one")
		},
	}
	r, client := newRegistry(t)
	for name, edit := range edits {
		t.Run(name, func(t *testing.T) {
			policy := editedPolicy()
			apply(t, r, users, policy)
			before := client.HGetAll(t.Context(), policyKey(users)).Val()
			edit(t.Context(), client, policyKey(users))

			if hash := hashOf(t, r, users); hash != "" {
				t.Errorf("it is taken for %q", hash)
			}
			if !apply(t, r, users, policy).Changed || hashOf(t, r, users) != policy.Hash() {
				t.Error("it was not put in force again")
			}
			after := client.HGetAll(t.Context(), policyKey(users)).Val()
			for field, value := range before {
				if after[field] != value || len(after) != len(before) {
					t.Fatalf("left %v, want %v", after, before)
				}
			}
			if apply(t, r, users, policy).Changed {
				t.Error("it changed again")
			}
		})
	}
}

// Entries that were stored by an edited rule do not outlive it.
func TestEntriesObeyThePolicyThatReplacesAnEditedOne(t *testing.T) {
	r, client := newRegistry(t)
	apply(t, r, users, editedPolicy())
	fillAll(t, r, entry("list", "before", "")) // now the library remembers the rule
	client.HSet(t.Context(), policyKey(users), "o:list", "3600000 0 0 0 Any 67108864")
	invalidate(t, r, users, Scope{Operation: "list"})
	fillAll(t, r, entry("list", "a", ""))
	left := func() time.Duration {
		return client.PTTL(t.Context(), entry("list", "a", "").appendReadKeys(nil)[0]).Val()
	}
	if left() <= time.Minute {
		t.Fatalf("it has %s left: the test shows nothing", left())
	}
	client.HDel(t.Context(), policyKey(users), "o:list") // and the edit is edited
	apply(t, r, users, editedPolicy())
	if left() > time.Minute || !isHit(t, r, entry("list", "a", "")) {
		t.Errorf("it has %s left", left())
	}
}

// A policy can be put in force even if any key of the slot has another type. Whatever is cached
// after that works.
func TestAPolicyMakesItsWayThroughDamage(t *testing.T) {
	r, client := newRegistry(t)
	ctx := t.Context()
	policy := editedPolicy()
	fillUp := func() {
		client.FlushDB(ctx)
		apply(t, r, users, policy)
		fillAll(t, r, entry("list", "a", "u"), entry("mine", "a", ""))
		invalidate(t, r, users, Scope{User: "u"})
		if _, err := r.Delete(ctx, entry("list", "a", "")); err != nil {
			t.Fatal(err)
		}
		fillAll(t, r, entry("list", "a", "u"), entry("mine", "b", ""))
	}
	for i := 0; ; i++ {
		fillUp()
		// Epochs differ each time, so keys are known by their order.
		names := append(keysOfMany(t, client, users), "pending")
		if i == len(names) {
			break
		}
		name := names[i]
		t.Run(name, func(t *testing.T) {
			damage(t, client, keyOf(users)+":"+name)
			if name != "policy" {
				client.HDel(ctx, policyKey(users), "json") // so that there is something to apply
			}
			apply(t, r, users, policy)
			if got := hashOf(t, r, users); got != policy.Hash() {
				t.Errorf("got %q", got)
			}
			fillAll(t, r, entry("list", "new", ""))
			if !isHit(t, r, entry("list", "new", "")) {
				t.Error("nothing is cached")
			}
			if stats, err := r.Stats(ctx, users); err != nil || stats.Keys == 0 {
				t.Errorf("got %+v (%v)", stats, err)
			}
			invalidate(t, r, users, Scope{})
			reclaimAll(t, r, users)
			if isHit(t, r, entry("list", "new", "")) {
				t.Error("it was not invalidated")
			}
		})
	}
}

// keysOfMany lists the keys of a slot that concern more than one entry or user.
func keysOfMany(t *testing.T, client redis.UniversalClient, slot Slot) []string {
	t.Helper()
	names := slices.DeleteFunc(keysOf(t, client, slot), func(name string) bool {
		return strings.HasPrefix(name, "e:") || strings.HasPrefix(name, "u:") || strings.HasPrefix(name, "iu:")
	})
	slices.Sort(names)
	return names
}

// damage puts a key of another type in the place of one.
func damage(t *testing.T, client redis.UniversalClient, key string) {
	t.Helper()
	kind := client.Type(t.Context(), key).Val()
	client.Del(t.Context(), key)
	err := client.Set(t.Context(), key, "x", 0).Err()
	if kind == "string" {
		client.Del(t.Context(), key)
		err = client.HSet(t.Context(), key, "a", "b").Err()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// What lasts beside the policy is looked at with it, as nothing else would replace it.
func TestDamageBesideThePolicyIsSeen(t *testing.T) {
	r, client := newRegistry(t)
	for _, name := range []string{":counters", ":pending"} {
		apply(t, r, users, editedPolicy())
		damage(t, client, keyOf(users)+name)
		if hash := hashOf(t, r, users); hash != "" {
			t.Errorf("%s: the policy counts as whole: %q", name, hash)
		}
		apply(t, r, users, editedPolicy())
		if got := hashOf(t, r, users); got != editedPolicy().Hash() {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestReadingHashesLoadsAMissingLibrary(t *testing.T) {
	r, client := newRegistry(t)
	apply(t, r, users, editedPolicy())
	if err := client.FunctionFlush(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if got := hashOf(t, r, users); got != editedPolicy().Hash() {
		t.Errorf("got %q", got)
	}
}
