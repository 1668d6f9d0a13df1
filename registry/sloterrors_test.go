// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry/internal/fault"
	"github.com/cachewright/cachewright/registry/internal/keyspace"
	"github.com/cachewright/cachewright/registry/internal/sloterr"
)

var (
	posts     = Slot{Namespace: "shop", Module: "posts"}
	forbidden = Slot{Namespace: "bank", Module: "users"}
	damaged   = Slot{Namespace: "evil", Module: "users"}
)

// divided returns a registry that may not touch namespace bank, and its administrator. In its
// Redis, namespace evil wrote other things than the library does.
func divided(t *testing.T) (*Registry, redis.UniversalClient) {
	t.Helper()
	server := redistest.Start(t)
	admin := server.Client()
	if err := admin.Do(t.Context(), "ACL", "SETUSER", "limited", "on", ">secret", "~cw:{shop*", "~cw:{evil*", "+@all").Err(); err != nil {
		t.Fatal(err)
	}
	registryOn(t, admin)
	r := New(server.ClientAs("limited", "secret"))
	for _, slot := range []Slot{users, posts} {
		apply(t, r, slot, caching())
	}
	for _, key := range []string{policyKey(damaged), keyOf(damaged) + ":counters", keyspace.ModulesKey("evil")} {
		if err := admin.Set(t.Context(), key, "x", 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	return r, admin
}

func wantBroken(t *testing.T, err error, slots ...Slot) {
	t.Helper()
	var broken SlotErrors
	if len(slots) > 0 && !errors.As(err, &broken) || len(slots) == 0 && err != nil {
		t.Fatalf("got %v, want errors of %v", err, slots)
	}
	for _, slot := range slots {
		if broken[slot] == nil || ConcernsStore(broken[slot]) {
			t.Errorf("of %s: %v", slot, broken[slot])
		}
	}
	if len(broken) != len(slots) {
		t.Errorf("got %v, want errors of %v alone", broken, slots)
	}
}

// What is wrong with one slot keeps a call on many from none of the others.
func TestTroubleWithASlotIsItsOwn(t *testing.T) {
	slots := []Slot{users, forbidden, damaged, posts}
	t.Run("hashes", func(t *testing.T) {
		r, _ := divided(t)
		hashes, err := r.PolicyHashes(t.Context(), slots)
		wantBroken(t, err, forbidden)
		if want := caching().Hash(); hashes[0] != want || hashes[2] != "" || hashes[3] != want {
			t.Errorf("got %q", hashes)
		}
	})
	t.Run("presence", func(t *testing.T) {
		r, admin := divided(t)
		admin.Del(t.Context(), keyspace.PolicyKey(posts))
		present, err := r.HavePolicies(t.Context(), slots)
		wantBroken(t, err, forbidden)
		if !slices.Equal(present, []bool{true, false, true, false}) {
			t.Errorf("got %v", present)
		}
	})
	t.Run("figures", func(t *testing.T) {
		r, _ := divided(t)
		fillAll(t, r, entry("list", "a", ""))
		stats, err := r.StatsOf(t.Context(), slots)
		wantBroken(t, err, forbidden)
		if stats[0].Keys != 1 || stats[2].Keys != 0 {
			t.Errorf("got %+v", stats)
		}
	})
	t.Run("modules", func(t *testing.T) {
		r, _ := divided(t)
		wantBroken(t, r.AddAllModules(t.Context(), map[string][]string{"shop": {"carts"}, "bank": {"users"}, "evil": {"users"}}),
			Slot{Namespace: "bank"})
		for namespace, want := range map[string]int{"shop": 3, "evil": 1} {
			if modules, err := r.Modules(t.Context(), namespace); err != nil || len(modules) != want {
				t.Errorf("%s has %v (%v)", namespace, modules, err)
			}
		}
	})
	t.Run("heartbeats", func(t *testing.T) {
		r, admin := divided(t)
		admin.HSet(t.Context(), keyspace.RequestKey(damaged, heartbeatRequest), "a", "b")
		if last, err := r.LastHeartbeat(t.Context(), damaged); err != nil || !last.IsZero() {
			t.Errorf("got %s (%v)", last, err)
		}
		now := time.UnixMilli(1_700_000_000_000)
		wantBroken(t, r.Heartbeat(t.Context(), servedBy(t, r, forbidden), now), forbidden)
		for _, slot := range []Slot{damaged, posts} {
			wantBroken(t, r.Heartbeat(t.Context(), servedBy(t, r, slot), now))
			wantHeartbeat(t, r, slot, now)
		}
	})
	t.Run("fences", func(t *testing.T) {
		r, admin := divided(t)
		fillAll(t, r, entry("list", "a", ""))
		admin.HSet(t.Context(), keyspace.RequestKey(damaged, fenceRequest(fenceOf(t, r, users).Incarnation)), "a", "b")

		fences, err := r.Fences(t.Context(), slots)
		wantBroken(t, err, forbidden)
		if fences[0].InPlace || fences[2].InPlace {
			t.Errorf("got %+v", fences)
		}
		wantBroken(t, r.Fence(t.Context(), fences), forbidden)
		if !fences[0].InPlace || !fences[2].InPlace || fences[0].Covered.Keys != 1 || isHit(t, r, entry("list", "a", "")) || fences[1].InPlace {
			t.Errorf("got %+v", fences)
		}
		wantBroken(t, r.MarkFenced(t.Context(), fences), forbidden)
	})
}

// If no server can be reached, that is not an error of slots.
func TestTroubleWithTheStoreIsNotOfSlots(t *testing.T) {
	away := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1})
	t.Cleanup(func() { _ = away.Close() })
	r := New(away)
	calls := map[string]func(context.Context) error{
		"hashes":   func(ctx context.Context) error { _, err := r.PolicyHashes(ctx, []Slot{users, posts}); return err },
		"presence": func(ctx context.Context) error { _, err := r.HavePolicies(ctx, []Slot{users, posts}); return err },
		"figures":  func(ctx context.Context) error { _, err := r.StatsOf(ctx, []Slot{users, posts}); return err },
		"modules": func(ctx context.Context) error {
			return r.AddAllModules(ctx, map[string][]string{"shop": {"users"}, "blog": {"posts"}})
		},
		"fences": func(ctx context.Context) error { _, err := r.Fences(ctx, []Slot{users, posts}); return err },
		"heartbeats": func(ctx context.Context) error {
			return r.Heartbeat(ctx, map[Incarnation]Slot{"a": users, "b": posts}, time.Now())
		},
	}
	for name, call := range calls {
		var broken SlotErrors
		if err := call(t.Context()); !ConcernsStore(err) || errors.As(err, &broken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhatConcernsTheStore(t *testing.T) {
	for reply, want := range map[string]bool{
		"LOADING Redis is loading the dataset in memory":                    true,
		"MISCONF Redis is configured to save RDB snapshots":                 true,
		"NOAUTH Authentication required.":                                   true,
		"WRONGPASS invalid username-password pair":                          true,
		"ERR unknown command 'FCALL', with args beginning with:":            true,
		"NOPERM this user has no permissions to access one of the keys":     false,
		"ERR The user executing the script can't run this command":          false,
		"WRONGTYPE Operation against a key holding the wrong kind of value": false,
		"OOM command not allowed when used memory > 'maxmemory'":            false,
		"CACHEWRIGHT cw_get: …":                                             false,
	} {
		err := sloterr.Call("cw_get", users, serverReply(reply))
		if got := ConcernsStore(err); got != want {
			t.Errorf("%s: %t", reply, got)
		}
		if broken := (SlotErrors{users: fmt.Errorf("met: %w", err)}); ConcernsStore(broken) != want {
			t.Errorf("%s, of a slot: %t", reply, !want)
		}
	}
	if ConcernsStore(nil) || ConcernsStore(fault.Classify("asking", context.Canceled)) || !ConcernsStore(fault.Classify("asking", context.DeadlineExceeded)) {
		t.Error("whoever gives up says nothing of the store; a timeout does")
	}
}
