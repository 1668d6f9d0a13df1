// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/internal/redistest"
)

// vmMemory is what the Lua VM of functions takes, beside maxmemory.
func vmMemory(t *testing.T, client *redis.Client) int64 {
	t.Helper()
	info := client.Info(t.Context(), "memory").Val()
	_, rest, _ := strings.Cut(info, "used_memory_vm_functions:")
	digits, _, _ := strings.Cut(rest, "\r\n")
	bytes, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return bytes
}

const maxVMMemory = 16 << 20

// Names are as long as Kubernetes allows, and no longer: others are refused before anything is
// remembered of them.
func TestNamesAreBoundedAsKubernetesBoundsThem(t *testing.T) {
	r, client := newRegistry(t)
	long := strings.Repeat("n", 63)
	apply(t, r, Slot{Namespace: long, Module: long}, caching())
	fillAll(t, r, Key{Slot: Slot{Namespace: long, Module: long}, Operation: "list", ID: "a"})
	for _, slot := range []Slot{{Namespace: long + "n", Module: "m"}, {Namespace: "n", Module: long + "n"}, {Namespace: "n", Module: strings.Repeat("m", 1<<20)}, {Namespace: strings.Repeat("n", 1<<20), Module: "m"}, {Namespace: "", Module: "m"}, {Namespace: "n", Module: ""}} {
		for range 20 {
			err := client.FCall(t.Context(), "cw_get", []string{keyOf(slot)}, "list", "a", "").Err()
			if err == nil || !strings.HasPrefix(err.Error(), "CACHEWRIGHT cw_get") || len(err.Error()) > 300 {
				t.Fatalf("a slot of %d bytes: %.300v", len(keyOf(slot)), err)
			}
		}
	}
	if used := vmMemory(t, client); used > maxVMMemory {
		t.Errorf("the Lua VM takes %d bytes", used)
	}
}

// Whatever a tenant makes the library remember takes a bounded number of bytes, not of things.
func TestWhatTheLibraryRemembersIsBoundedInBytes(t *testing.T) {
	r, client := newRegistry(t)
	long := strings.Repeat("n", 56)
	payload := strings.Repeat("x", 1<<20)
	const slots, operations = 80, 60
	pipe := client.Pipeline()
	for i := range slots {
		slot := Slot{Namespace: long, Module: fmt.Sprint(long, i)}
		apply(t, r, slot, caching())
		for j := range operations {
			operation := fmt.Sprint(strings.Repeat("o", 124), j)
			for _, user := range []string{"", strings.Repeat("u", 250) + strconv.Itoa(j)} {
				pipe.FCall(t.Context(), "cw_get", []string{keyOf(slot)}, operation, strings.Repeat("i", 1024), user)
			}
		}
		pipe.FCall(t.Context(), "cw_set", []string{keyOf(slot)}, "list", "a", "", payload, "1")
		if _, err := pipe.Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if used := vmMemory(t, client); used > maxVMMemory {
		t.Errorf("the Lua VM takes %d bytes", used)
	}
}

// libraryWith loads the library with other figures in it.
func libraryWith(t *testing.T, figures ...string) (*Registry, *redis.Client) {
	t.Helper()
	source := Library
	for i := 0; i < len(figures); i += 2 {
		if strings.Count(source, figures[i]) != 1 {
			t.Fatalf("the library has %q %d times", figures[i], strings.Count(source, figures[i]))
		}
		source = strings.Replace(source, figures[i], figures[i+1], 1)
	}
	client := redistest.Start(t).Client()
	if err := client.FunctionLoadReplace(t.Context(), source).Err(); err != nil {
		t.Fatal(err)
	}
	return New(client), client
}

// A slice of an index whose chunks are all full goes on in narrower ones, so that no chunk grows
// without a bound. With the figures of the library that takes 33 million entries.
func TestAFullSliceGoesOnInNarrowerOnes(t *testing.T) {
	const chunk = 16
	r, client := libraryWith(t, "local CHUNK_MEMBERS = 512", fmt.Sprint("local CHUNK_MEMBERS = ", chunk), "local MAX_CHUNK = 65535", "local MAX_CHUNK = 1")
	apply(t, r, users, Policy{DefaultTTL: new(time.Hour)})
	const entries = 200
	fillMany(t, r, "list", "", entries)
	for _, key := range keysOf(t, client, users) {
		if strings.HasPrefix(key, "i:") && strings.Count(key, ":") > 1 {
			if length := client.LLen(t.Context(), keyOf(users)+":"+key).Val(); length > 2*chunk {
				t.Errorf("%s lists %d members", key, length)
			}
		}
	}
	for i := range entries / 2 {
		if deleted, err := r.Delete(t.Context(), entry("list", fmt.Sprint(i), "")); err != nil || !deleted {
			t.Fatalf("entry %d: %v (%v)", i, deleted, err)
		}
	}
	if listed := listedMembers(t, client, users); listed != entries/2 {
		t.Errorf("%d are listed, want %d", listed, entries/2)
	}
	apply(t, r, users, caching())
	reclaimAll(t, r, users)
	for _, key := range keysOf(t, client, users) {
		if left := ttlOf(t, client, key); strings.HasPrefix(key, "e:") && left > time.Minute {
			t.Fatalf("%s has %v left", key, left)
		}
	}
	if stats, err := r.Stats(t.Context(), users); err != nil || stats.Keys != entries/2 {
		t.Errorf("%d keys (%v), want %d", stats.Keys, err, entries/2)
	}
	invalidate(t, r, users, Scope{})
	reclaimAll(t, r, users)
	if keyCount(t, client, users, "e:") > 0 {
		t.Error("entries were not freed")
	}
}

// One operation of a user with many entries is invalidated with all that the user has: a bounded
// call, and nothing stale.
func TestAnOperationOfALargeUserIsInvalidatedWithTheUser(t *testing.T) {
	r, client := newRegistry(t)
	apply(t, r, users, caching())
	few, many := 200, 1000
	fillCount(t, r, "other", "u", few/2, "x")
	fillCount(t, r, "list", "u", few/2, "x")
	before := commandsRun(t, client)
	if got := invalidate(t, r, users, Scope{Operation: "list", User: "u"}); got != (Invalidated{Keys: int64(few / 2)}) || !isHit(t, r, entry("other", "1", "u")) {
		t.Errorf("of few: %+v", got)
	}
	if took := commandsRun(t, client) - before; took > 8*few {
		t.Errorf("of few: in %d commands", took)
	}
	fillCount(t, r, "list", "u", many, "x")
	fillCount(t, r, "list", "v", 1, "x")
	for _, mode := range []Mode{ModeSoft, ModeHard} {
		before := commandsRun(t, client)
		got, err := r.Invalidate(t.Context(), users, Scope{Operation: "list", User: "u"}, mode, "")
		if took := commandsRun(t, client) - before; err != nil || got.Keys != int64(many+few/2) || took > 100 {
			t.Errorf("%s: %+v (%v) in %d commands", mode, got, err, took)
		}
		for _, operation := range []string{"list", "other"} {
			lookup, err := r.Read(t.Context(), entry(operation, "1", "u"))
			if err != nil || lookup.Hit != (mode == ModeSoft) || lookup.Stale != (mode == ModeSoft) {
				t.Errorf("%s, %s: %+v (%v)", mode, operation, lookup, err)
			}
		}
	}
	if !isHit(t, r, entry("list", "0", "v")) {
		t.Error("another user's went, too")
	}
}
