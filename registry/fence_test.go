// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"fmt"
	"os"
	"testing"
)

// fencedLoads is how often each kind of invalidation is forced between a lease and its fill. Epochs
// are random, so CHAOS_FAULTS=all tries it many times.
func fencedLoads() int {
	if os.Getenv("CHAOS_FAULTS") == "all" {
		return 10_000
	}
	return 100
}

// A load that began before an invalidation is never stored after it. A second load that began after
// it is.
func TestALoadBegunBeforeAnInvalidationIsNeverStored(t *testing.T) {
	r, _ := newRegistry(t)
	tests := []struct {
		name       string
		key        Key
		invalidate func(t *testing.T, key Key)
	}{
		{"module", entry("list", "a", ""), func(t *testing.T, _ Key) { invalidate(t, r, users, Scope{}) }},
		{"operation", entry("list", "b", ""), func(t *testing.T, k Key) { invalidate(t, r, users, Scope{Operation: k.Operation}) }},
		{"user", entry("list", "c", "u"), func(t *testing.T, k Key) { invalidate(t, r, users, Scope{User: k.User}) }},
		{"operation of a user", entry("list", "d", "u"), func(t *testing.T, k Key) {
			invalidate(t, r, users, Scope{Operation: k.Operation, User: k.User})
		}},
		{"module, softly", entry("list", "h", ""), func(t *testing.T, _ Key) { softly(t, r, Scope{}) }},
		{"operation of a user, softly", entry("list", "i", "u"), func(t *testing.T, k Key) {
			softly(t, r, Scope{Operation: k.Operation, User: k.User})
		}},
		{"deletion", entry("list", "e", ""), func(t *testing.T, k Key) {
			if _, err := r.Delete(t.Context(), k); err != nil {
				t.Fatal(err)
			}
		}},
		{"deletion of a user's entry", entry("list", "f", "u"), func(t *testing.T, k Key) {
			if _, err := r.Delete(t.Context(), k); err != nil {
				t.Fatal(err)
			}
		}},
		{"revision", entry("list", "g", ""), func() func(*testing.T, Key) {
			n := 0
			return func(t *testing.T, _ Key) {
				n++
				policy := caching()
				policy.Revision = fmt.Sprint(n)
				if !apply(t, r, users, policy).Purged {
					t.Fatal("a changed revision did not purge")
				}
			}
		}()},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			apply(t, r, users, caching())
			for i := range fencedLoads() {
				stale := leaseAnew(t, r, test.key)
				test.invalidate(t, test.key)
				filled, err := r.Set(t.Context(), test.key, []byte("stale"), stale)
				if err != nil || filled.Outcome != Fenced {
					t.Fatalf("round %d: a load begun before was %v (%v)", i, filled.Outcome, err)
				}
				fresh := leaseAnew(t, r, test.key)
				filled, err = r.Set(t.Context(), test.key, []byte("fresh"), fresh)
				if err != nil || filled.Outcome != Stored {
					t.Fatalf("round %d: a load begun after was %v (%v)", i, filled.Outcome, err)
				}
				// The next round's lease needs a miss.
				if _, err := r.Delete(t.Context(), test.key); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func leaseAnew(t *testing.T, r *Registry, key Key) Token {
	t.Helper()
	lookup := lease(t, r, key)
	if lookup.Hit {
		t.Fatalf("%q is a hit: %q", key, lookup.Payload)
	}
	return lookup.Token
}

// Kill switch and withdrawal of a policy fence too, and so does bringing the policy back.
func TestALoadBegunBeforeAPolicyChangeIsNotStored(t *testing.T) {
	r, _ := newRegistry(t)
	key := entry("list", "a", "")
	off := Policy{Operations: []OperationPolicy{{Name: "list", TTL: 0}}}
	for name, change := range map[string]func(t *testing.T){
		"kill switch": func(t *testing.T) { apply(t, r, users, off) },
		"withdrawal": func(t *testing.T) {
			if _, err := r.DeletePolicy(t.Context(), users); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			apply(t, r, users, caching())
			token := leaseAnew(t, r, key)
			change(t)
			if filled, err := r.Set(t.Context(), key, []byte("stale"), token); err != nil || filled.Outcome != Disabled {
				t.Fatalf("got %v (%v), want disabled", filled.Outcome, err)
			}
			apply(t, r, users, caching())
			if filled, err := r.Set(t.Context(), key, []byte("stale"), token); err != nil || filled.Outcome != Fenced {
				t.Fatalf("got %v (%v), want fenced", filled.Outcome, err)
			}
		})
	}
}

// More deletions than the log remembers: the answer is the safe one.
func TestAForgottenDeletionFences(t *testing.T) {
	r, _ := newRegistry(t)
	apply(t, r, users, caching())
	key := entry("list", "a", "")
	token := leaseAnew(t, r, key)
	for i := range 200 {
		if _, err := r.Delete(t.Context(), entry("list", fmt.Sprint("other", i), "")); err != nil {
			t.Fatal(err)
		}
	}
	if filled, err := r.Set(t.Context(), key, []byte("x"), token); err != nil || filled.Outcome != Fenced {
		t.Fatalf("got %v (%v), want fenced", filled.Outcome, err)
	}
}
