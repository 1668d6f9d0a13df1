// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// headTokenOf makes of the heads that a read finds the token that a lease would give under them.
func headTokenOf(t *testing.T, client *redis.Client, key Key) Token {
	t.Helper()
	token := []string{"1"}
	for _, head := range client.MGet(t.Context(), key.appendReadKeys(nil)[1:]...).Val() {
		text, isText := head.(string)
		if !isText {
			t.Fatalf("a head of %q is missing", key)
		}
		token = append(token, text)
	}
	return Token(strings.Join(token, ""))
}

// The heads that a read finds and the lease that follows it make the same token. So the library
// refuses a fill under the one exactly when it refuses a fill under the other.
func TestAFillUnderTheHeadsThatWereRead(t *testing.T) {
	target := func(user string) Key { return entry("list", "wanted", user) }
	changes := []struct {
		name   string
		change func(t *testing.T, r *Registry, key Key)
		want   Outcome
	}{
		{"none", func(*testing.T, *Registry, Key) {}, Stored},
		{"another entry is deleted", func(t *testing.T, r *Registry, key Key) {
			deleteEntry(t, r, entry(key.Operation, "other", key.User))
		}, Stored},
		{"another operation is invalidated", func(t *testing.T, r *Registry, _ Key) {
			invalidate(t, r, users, Scope{Operation: "get"})
		}, Stored},
		{"the entry is deleted", func(t *testing.T, r *Registry, key Key) { deleteEntry(t, r, key) }, Fenced},
		{"the entry is put", func(t *testing.T, r *Registry, key Key) {
			if _, err := r.Put(t.Context(), key, []byte("put"), FillOptions{}); err != nil {
				t.Fatal(err)
			}
		}, Fenced},
		{"the operation is invalidated", func(t *testing.T, r *Registry, key Key) {
			invalidate(t, r, users, Scope{Operation: key.Operation})
		}, Fenced},
		{"the module is invalidated", func(t *testing.T, r *Registry, _ Key) {
			invalidate(t, r, users, Scope{})
		}, Fenced},
		{"the operation is invalidated softly", func(t *testing.T, r *Registry, key Key) {
			scope := Scope{Operation: key.Operation}
			if _, err := r.Invalidate(t.Context(), users, scope, ModeSoft, ""); err != nil {
				t.Fatal(err)
			}
		}, Fenced},
		{"the operation was held", func(t *testing.T, r *Registry, key Key) {
			holdAndRelease(t, r, HoldScope(Scope{Operation: key.Operation}))
		}, Fenced},
		{"the entry was held", func(t *testing.T, r *Registry, key Key) {
			holdAndRelease(t, r, HoldEntry(key))
		}, Fenced},
		{"the entry is held", func(t *testing.T, r *Registry, key Key) {
			hold(t, r, NewHoldID(), time.Minute, HoldEntry(key))
		}, Fenced},
	}
	r, client := newRegistry(t)
	for _, user := range []string{"", "u"} {
		for _, test := range changes {
			t.Run(test.name+", user "+user, func(t *testing.T) {
				client.FlushDB(t.Context())
				apply(t, r, users, caching())
				key := target(user)
				fillAll(t, r, entry(key.Operation, "other", user), entry("get", "a", user))
				token := headTokenOf(t, client, key)
				if leased := lease(t, r, key).Token; leased != token {
					t.Fatalf("the heads make the token %q, the lease gives %q", token, leased)
				}
				test.change(t, r, key)
				filled, err := r.Set(t.Context(), key, []byte("x"), token)
				if err != nil || filled.Outcome != test.want {
					t.Errorf("the fill is %v (%v), want %v", filled.Outcome, err, test.want)
				}
			})
		}
	}
}

func deleteEntry(t *testing.T, r *Registry, key Key) {
	t.Helper()
	if _, err := r.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
}

func holdAndRelease(t *testing.T, r *Registry, target HoldTarget) {
	t.Helper()
	id := NewHoldID()
	hold(t, r, id, time.Minute, target)
	releaseHold(t, r, id, target)
	lease(t, r, entry("list", "another", "")) // so heads are there again
}
