// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"testing"
	"time"
)

const lockTime = 10 * time.Minute

// leaseLocked takes the lease of an entry with its load lock.
func leaseLocked(t *testing.T, r *Registry, key Key) Lookup {
	t.Helper()
	lookup, err := r.LeaseLocked(t.Context(), key, lockTime)
	if err != nil {
		t.Fatal(err)
	}
	return lookup
}

// wantLocked says whether somebody else has the load lock, by the library and by MGET.
func wantLocked(t *testing.T, r *Registry, key Key, want bool) {
	t.Helper()
	_, locked, err := r.ReadLocked(t.Context(), key)
	if err != nil || locked != want {
		t.Errorf("%q: MGET finds it locked: %v (%v)", key, locked, err)
	}
	if wait := leaseLocked(t, r, key).Wait; (wait > 0) != want {
		t.Errorf("%q: cw_get says to wait for %v", key, wait)
	}
}

// A load lock ends with the fill, whatever became of that: the next one may load at once.
func TestALoadLockEndsWithItsFillHoweverThatEnded(t *testing.T) {
	for name, test := range map[string]struct {
		after func(*testing.T, *Registry)
		fill  func(*testing.T, *Registry, Key, Token) (Filled, error)
		want  Outcome
	}{
		"stored": {nil, nil, Stored},
		"too large": {nil, func(t *testing.T, r *Registry, k Key, token Token) (Filled, error) {
			t.Helper()
			return r.Set(t.Context(), k, make([]byte, 100), token)
		}, Refused},
		"negative, which is not cached": {nil, func(t *testing.T, r *Registry, k Key, token Token) (Filled, error) {
			t.Helper()
			return r.SetNegative(t.Context(), k, nil, token)
		}, Disabled},
		"fenced": {func(t *testing.T, r *Registry) { t.Helper(); invalidate(t, r, users, Scope{Operation: "list"}) }, nil, Fenced},
		"for users only": {func(t *testing.T, r *Registry) {
			t.Helper()
			apply(t, r, users, Policy{Operations: []OperationPolicy{{Name: "list", TTL: time.Minute, Scope: ScopeUser}}})
		}, nil, Refused},
	} {
		t.Run(name, func(t *testing.T) {
			r, client := newRegistry(t)
			apply(t, r, users, Policy{Operations: []OperationPolicy{{Name: "list", TTL: time.Minute, MaxEntryBytes: 10}}})
			key := entry("list", "a", "")
			token := leaseLocked(t, r, key).Token
			if client.Exists(t.Context(), key.lockKey()).Val() != 1 {
				t.Fatal("there is no lock")
			}
			if test.after != nil {
				test.after(t, r)
			}
			if test.fill == nil {
				test.fill = func(t *testing.T, r *Registry, k Key, token Token) (Filled, error) {
					t.Helper()
					return r.Set(t.Context(), k, []byte("x"), token)
				}
			}
			if filled, err := test.fill(t, r, key, token); err != nil || filled.Outcome != test.want {
				t.Fatalf("the fill was %s (%v), want %s", filled.Outcome, err, test.want)
			}
			if client.Exists(t.Context(), key.lockKey()).Val() != 0 {
				t.Error("the lock is still there")
			}
		})
	}
}

// The deletion of another entry, or a change of the rule, does not fence the load: others go on
// waiting for it.
func TestALoadLockOutlastsWhatDoesNotFenceItsLoad(t *testing.T) {
	for name, change := range map[string]func(*testing.T, *Registry) error{
		"a deletion of another entry": func(t *testing.T, r *Registry) error {
			t.Helper()
			_, err := r.Delete(t.Context(), entry("list", "b", ""))
			return err
		},
		"a change of the rule": func(t *testing.T, r *Registry) error {
			t.Helper()
			apply(t, r, users, Policy{Operations: []OperationPolicy{{Name: "list", TTL: time.Hour}}})
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := newRegistry(t)
			apply(t, r, users, Policy{Operations: []OperationPolicy{{Name: "list", TTL: time.Minute}}})
			for _, key := range []Key{entry("list", "a", ""), entry("list", "a", "u")} {
				token := leaseLocked(t, r, key).Token
				if err := change(t, r); err != nil {
					t.Fatal(err)
				}
				wantLocked(t, r, key, true)
				set(t, r, key, token)
				if !isHit(t, r, key) {
					t.Error("the load was not stored")
				}
			}
		})
	}
}

// The deletion of the entry fences its load, so nobody waits for that.
func TestALoadLockEndsWithTheDeletionOfItsEntry(t *testing.T) {
	r, _ := newRegistry(t)
	apply(t, r, users, caching())
	key := entry("list", "a", "")
	late := leaseLocked(t, r, key).Token
	if _, err := r.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	next := leaseLocked(t, r, key)
	if next.Wait > 0 {
		t.Errorf("the next one is to wait %v", next.Wait)
	}
	if filled, err := r.Set(t.Context(), key, []byte("late"), late); err != nil || filled.Outcome != Fenced {
		t.Errorf("the late load was %s (%v)", filled.Outcome, err)
	}
	wantLocked(t, r, key, true) // the late one did not take the lock of the next one along
	set(t, r, key, next.Token)
}

// A lock that others wrote does not count, and no lock makes anybody wait for longer than a lock
// can last.
func TestAStrangeLoadLockIsNone(t *testing.T) {
	r, client := newRegistry(t)
	apply(t, r, users, caching())
	key := entry("list", "a", "")
	held := leaseLocked(t, r, key).Token
	client.Persist(t.Context(), key.lockKey())
	if wait := leaseLocked(t, r, key).Wait; wait != 0 {
		t.Errorf("to wait %v for a lock without an end", wait)
	}
	client.PExpire(t.Context(), key.lockKey(), 1000*time.Hour)
	if wait := leaseLocked(t, r, key).Wait; wait > lockTime {
		t.Errorf("to wait %v", wait)
	}
	for _, lock := range []string{"", "x", string(held) + "x"} {
		client.Set(t.Context(), key.lockKey(), lock, time.Hour)
		if wait := leaseLocked(t, r, key).Wait; wait != 0 {
			t.Errorf("%q: to wait %v", lock, wait)
		}
	}
}
