// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/onsi/gomega"
	"github.com/redis/go-redis/v9"
)

// holdTargets are all kinds of targets that cover the entry "list a" of user "u".
var holdTargets = map[string]HoldTarget{
	"module":              HoldScope(Scope{}),
	"operation":           HoldScope(Scope{Operation: "list"}),
	"user":                HoldScope(Scope{User: "u"}),
	"operation of a user": HoldScope(Scope{Operation: "list", User: "u"}),
	"entry":               HoldEntry(entry("list", "a", "u")),
}

// markKeys are the keys of their marks.
var markKeys = map[string]string{
	"module":              keyOf(users) + ":m",
	"operation":           keyOf(users) + ":o:list",
	"user":                keyOf(users) + ":u:u",
	"operation of a user": keyOf(users) + ":u:u",
	"entry":               keyOf(users) + ":e:4:list:1:u:a",
}

func hold(t testing.TB, r *Registry, id HoldID, ttl time.Duration, targets ...HoldTarget) Held {
	t.Helper()
	held, err := r.Hold(t.Context(), users, id, ttl, targets...)
	if err != nil {
		t.Fatal(err)
	}
	return held
}

func releaseHold(t testing.TB, r *Registry, id HoldID, targets ...HoldTarget) int64 {
	t.Helper()
	lifted, err := r.Release(t.Context(), users, id, targets...)
	if err != nil {
		t.Fatal(err)
	}
	return lifted
}

func TestAHoldForbidsFillsUntilItIsReleased(t *testing.T) {
	r, client := newRegistry(t)
	key := entry("list", "a", "u")
	for name, target := range holdTargets {
		t.Run(name, func(t *testing.T) {
			client.FlushDB(t.Context())
			apply(t, r, users, caching())
			fillAll(t, r, key)
			before := lease(t, r, entry("list", "b", "u"))
			id := NewHoldID()
			if held := hold(t, r, id, time.Minute, target); held != (Held{Keys: 1}) {
				t.Errorf("the hold returns %+v", held)
			}
			wantHeld(t, r, key, before.Token)
			if held := hold(t, r, id, time.Minute, target); held != (Held{Stood: 1}) {
				t.Errorf("its renewal returns %+v", held)
			}
			if lifted := releaseHold(t, r, id, target); lifted != 1 {
				t.Errorf("the release lifts %d marks", lifted)
			}
			if client.Exists(t.Context(), markKeys[name]).Val() != 0 {
				t.Error("a mark is left")
			}
			if filled, err := r.Set(t.Context(), key, nil, before.Token); err != nil || filled.Outcome != Fenced {
				t.Errorf("a load from before the hold is %v (%v)", filled.Outcome, err)
			}
			fillAll(t, r, key)
			if !isHit(t, r, key) {
				t.Error("what was filled after the hold is not found")
			}
		})
	}
}

func wantHeld(t *testing.T, r *Registry, key Key, token Token) {
	t.Helper()
	if isHit(t, r, key) {
		t.Error("a hit during the hold")
	}
	lookup, err := r.LeaseLocked(t.Context(), key, time.Minute)
	if err != nil || lookup.Cacheable || lookup.Token != noLease || lookup.Wait != 0 ||
		lookup.Held < 50*time.Second || lookup.Held > time.Minute {
		t.Errorf("a lease during the hold is %+v (%v)", lookup, err)
	}
	if _, locked, err := r.ReadLocked(t.Context(), key); err != nil || locked {
		t.Errorf("during the hold, the entry is locked: %v (%v)", locked, err)
	}
	for _, token := range []Token{token, lookup.Token} {
		if filled, err := r.Set(t.Context(), key, nil, token); err != nil || filled.Outcome != Fenced {
			t.Errorf("a fill during the hold with %q is %v (%v)", token, filled.Outcome, err)
		}
	}
}

func TestAHoldEndsAtItsDeadline(t *testing.T) {
	r, client := newRegistry(t)
	for name, target := range holdTargets {
		client.FlushDB(t.Context())
		apply(t, r, users, caching())
		hold(t, r, NewHoldID(), 300*time.Millisecond, target)
		if lookup := lease(t, r, entry("list", "a", "u")); lookup.Held <= 0 || lookup.Held > 300*time.Millisecond {
			t.Errorf("%s: held for %s", name, lookup.Held)
		}
		eventually(t, func() bool { return lease(t, r, entry("list", "a", "u")).Cacheable }).Should(gomega.BeTrue())
	}
}

// Deadlines are whole milliseconds. What another holder does in the last one of a hold leaves that
// hold in place until its time is over.
func TestAHoldLastsToTheEndOfItsTime(t *testing.T) {
	r, _ := newRegistry(t)
	apply(t, r, users, caching())
	const ttl = 20 * time.Millisecond
	target, other := holdTargets["entry"], NewHoldID()
	tried := 0
	for tries := 0; tried < 10 && tries < 1000; tries++ {
		hold(t, r, other, time.Minute, target)
		// It begins late in a millisecond, so that much of its time is in the one of its deadline.
		now := time.Now()
		time.Sleep(now.Truncate(time.Millisecond).Add(1800 * time.Microsecond).Sub(now))
		end := time.Now().Add(ttl)
		hold(t, r, NewHoldID(), ttl, target)
		time.Sleep(time.Until(end.Truncate(time.Millisecond)))
		releaseHold(t, r, other, target)
		lookup := lease(t, r, entry("list", "a", "u"))
		if time.Now().After(end) {
			continue // the machine was too slow to see anything
		}
		tried++
		if lookup.Cacheable {
			t.Fatalf("nothing is held %s before the end of a hold", time.Until(end))
		}
	}
	if tried == 0 {
		t.Skip("the machine is too busy")
	}
}

// A mark lasts until its last holder leaves, and each may change its own deadline only.
func TestHoldersOfOneMark(t *testing.T) {
	r, client := newRegistry(t)
	apply(t, r, users, caching())
	for name, target := range holdTargets {
		t.Run(name, func(t *testing.T) {
			short, long := NewHoldID(), NewHoldID()
			hold(t, r, short, 20*time.Second, target)
			hold(t, r, long, time.Minute, target)
			wantTTL(t, client, markKeys[name], time.Minute)
			hold(t, r, long, 10*time.Second, target)
			wantTTL(t, client, markKeys[name], 20*time.Second)
			if lifted := releaseHold(t, r, short, target); lifted != 1 {
				t.Errorf("lifted %d", lifted)
			}
			wantTTL(t, client, markKeys[name], 10*time.Second)
			if lifted := releaseHold(t, r, short, target); lifted != 0 {
				t.Errorf("lifted %d again", lifted)
			}
			wantTTL(t, client, markKeys[name], 10*time.Second)
			releaseHold(t, r, long, target)
			wantTTL(t, client, markKeys[name], 0)
		})
	}
}

func wantTTL(t *testing.T, client *redis.Client, key string, want time.Duration) {
	t.Helper()
	got := client.PTTL(t.Context(), key).Val()
	if got > want || got < want-3*time.Second {
		t.Errorf("%s lives for %s, want %s", key, got, want)
	}
}

// More holders than a mark names: none is refused, and the mark lasts for the longest of them.
func TestAMarkOutlastsHoldersThatItDoesNotName(t *testing.T) {
	r, client := newRegistry(t)
	apply(t, r, users, caching())
	target, key := HoldScope(Scope{Operation: "list"}), markKeys["operation"]
	ids := make([]HoldID, 200)
	for i := range ids {
		ids[i] = NewHoldID()
		hold(t, r, ids[i], time.Duration(60+i)*time.Second, target)
	}
	if mark := client.Get(t.Context(), key).Val(); len(mark) != 2+24*65 {
		t.Errorf("the mark has %d bytes", len(mark))
	}
	if held := hold(t, r, ids[199], time.Second, target); held.Stood != 0 {
		t.Errorf("an id that is not named: %+v", held)
	}
	wantTTL(t, client, key, 259*time.Second)
	lifted := int64(0)
	for _, id := range ids {
		lifted += releaseHold(t, r, id, target)
	}
	if lifted != 64 {
		t.Errorf("lifted %d", lifted)
	}
	wantTTL(t, client, key, 259*time.Second)
	if mark := client.Get(t.Context(), key).Val(); len(mark) != 2+24 || mark[2:18] != strings.Repeat("\x00", 16) {
		t.Errorf("the mark is %q", mark)
	}
}

func TestAReleaseInvalidatesWhatHasNoMark(t *testing.T) {
	r, client := newRegistry(t)
	key := entry("list", "a", "u")
	for name, target := range holdTargets {
		t.Run(name, func(t *testing.T) {
			client.FlushDB(t.Context())
			apply(t, r, users, caching())
			id := NewHoldID()
			hold(t, r, id, time.Minute, target)
			client.Del(t.Context(), markKeys[name]) // it is evicted
			fillAll(t, r, key)
			loading := lease(t, r, entry("list", "b", "u"))
			if lifted := releaseHold(t, r, id, target); lifted != 0 {
				t.Errorf("lifted %d", lifted)
			}
			if isHit(t, r, key) {
				t.Error("what was stored while the mark was lost is served")
			}
			if filled, err := r.Set(t.Context(), key, nil, loading.Token); err != nil || filled.Outcome != Fenced {
				t.Errorf("what was loaded while the mark was lost is %v (%v)", filled.Outcome, err)
			}
			hold(t, r, id, time.Minute, target)
			client.Del(t.Context(), markKeys[name])
			if held := hold(t, r, id, time.Minute, target); held.Stood != 0 {
				t.Errorf("the renewal does not find that a mark was lost: %+v", held)
			}
		})
	}
}

func TestTargetsInOnePlaceShareTheirMark(t *testing.T) {
	r, _ := newRegistry(t)
	apply(t, r, users, caching())
	id := NewHoldID()
	targets := []HoldTarget{holdTargets["user"], holdTargets["operation of a user"], holdTargets["entry"], holdTargets["entry"]}
	for _, want := range []int64{0, 4} {
		if held := hold(t, r, id, time.Minute, targets...); held.Stood != want {
			t.Errorf("%d stood, want %d", held.Stood, want)
		}
	}
	if lifted := releaseHold(t, r, id, targets...); lifted != 4 {
		t.Errorf("lifted %d", lifted)
	}
}

// One call takes 64 targets; the client makes as many as it needs.
func TestAHoldOfManyEntries(t *testing.T) {
	r, client := newRegistry(t)
	apply(t, r, users, caching())
	keys, targets := make([]Key, 150), make([]HoldTarget, 150)
	for i := range keys {
		keys[i] = entry("list", fmt.Sprint(i), "")
		targets[i] = HoldEntry(keys[i])
	}
	fillAll(t, r, keys...)
	id := NewHoldID()
	if held := hold(t, r, id, time.Minute, targets...); held != (Held{Keys: 150}) {
		t.Errorf("held %+v", held)
	}
	if held := hold(t, r, id, time.Minute, targets...); held != (Held{Stood: 150}) {
		t.Errorf("renewed %+v", held)
	}
	if lifted := releaseHold(t, r, id, targets...); lifted != 150 || keyCount(t, client, users, "e:") != 0 {
		t.Errorf("lifted %d, and %d marks are left", lifted, keyCount(t, client, users, "e:"))
	}
}

func TestHoldsThatTheLibraryRefuses(t *testing.T) {
	r, client := newRegistry(t)
	for name, do := range map[string]func() error{
		"no id": func() error {
			_, err := r.Hold(t.Context(), users, HoldID{}, time.Minute, HoldScope(Scope{}))
			return err
		},
		"no time": func() error { _, err := r.Hold(t.Context(), users, NewHoldID(), 0, HoldScope(Scope{})); return err },
		"too long": func() error {
			_, err := r.Hold(t.Context(), users, NewHoldID(), MaxHold+time.Millisecond, HoldScope(Scope{}))
			return err
		},
		"bad entry": func() error {
			_, err := r.Hold(t.Context(), users, NewHoldID(), time.Minute, HoldEntry(Key{}))
			return err
		},
		"no target": func() error {
			_, err := r.library.Call(t.Context(), "cw_hold", users, strings.Repeat("x", 16), 1)
			return err
		},
		"release": func() error { _, err := r.Release(t.Context(), users, HoldID{}, HoldScope(Scope{})); return err },
		"long user": func() error {
			_, err := r.Release(t.Context(), users, NewHoldID(), HoldScope(Scope{User: strings.Repeat("u", 257)}))
			return err
		},
		"zero target": func() error { _, err := r.Release(t.Context(), users, NewHoldID(), HoldTarget{}); return err },
	} {
		if err := do(); !errors.Is(err, ErrRejected) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if names := keysOf(t, client, users); len(names) != 0 {
		t.Errorf("they left %q", names)
	}
}

// Without a policy nothing is cached, and a hold is harmless.
func TestAHoldWithoutAPolicy(t *testing.T) {
	r, client := newRegistry(t)
	for _, target := range holdTargets {
		id := NewHoldID()
		hold(t, r, id, time.Minute, target)
		if lookup := lease(t, r, entry("list", "a", "u")); lookup.Cacheable || lookup.Held != 0 {
			t.Errorf("a lease is %+v", lookup)
		}
		releaseHold(t, r, id, target)
	}
	if names := keysOf(t, client, users); len(names) > 1 {
		t.Errorf("they left %q", names)
	}
}

func TestHeldReadsOfOperationsOfUsers(t *testing.T) {
	r, _ := newRegistry(t)
	apply(t, r, users, Policy{Operations: []OperationPolicy{{Name: "mine", TTL: time.Minute, Scope: ScopeUser}}})
	hold(t, r, NewHoldID(), time.Minute, HoldScope(Scope{}))
	if lookup := lease(t, r, entry("mine", "a", "")); lookup.Held != 0 || lookup.Cacheable {
		t.Errorf("without a user, a fill would be refused anyway: %+v", lookup)
	}
	if lookup := lease(t, r, entry("mine", "a", "u")); lookup.Held == 0 {
		t.Errorf("with a user: %+v", lookup)
	}
	stats, err := r.Stats(t.Context(), users)
	if of := stats.Operations["mine"]; err != nil || of.HeldReads != 1 || of.Misses != 0 || of.Held <= 50*time.Second || of.Held > time.Minute {
		t.Errorf("statistics are %+v (%v)", stats, err)
	}
}

// noLease is the token of an entry that is held, or of an operation that is not cached.
const noLease = Token("0")

// isMark says whether a hold left this value in place of a head or an entry.
func isMark(value string) bool { return strings.HasPrefix(value, "!!") }
