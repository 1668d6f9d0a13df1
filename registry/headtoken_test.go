// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/internal/redistest"
)

// unleased reads an entry, which must be a miss under heads that are all there, and returns the token.
func unleased(t *testing.T, r *Registry, key Key) Token {
	t.Helper()
	lookup, err := r.Read(t.Context(), key)
	if err != nil || lookup.Hit || !lookup.Token.Unleased() {
		t.Fatalf("%q: %+v (%v), want a miss with a token", key, lookup, err)
	}
	return lookup.Token
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
		{"the operation is held", func(t *testing.T, r *Registry, key Key) {
			hold(t, r, NewHoldID(), time.Minute, HoldScope(Scope{Operation: key.Operation}))
		}, Fenced},
		{"the user is invalidated", func(t *testing.T, r *Registry, key Key) {
			invalidate(t, r, users, Scope{User: cmp.Or(key.User, "another")})
		}, 0},
		{"the policy changes", func(t *testing.T, r *Registry, _ Key) {
			apply(t, r, users, Policy{DefaultTTL: new(time.Hour)})
		}, Stored},
		{"another revision", func(t *testing.T, r *Registry, _ Key) {
			apply(t, r, users, Policy{Revision: "2", DefaultTTL: new(time.Minute)})
		}, Fenced},
		{"a server of another life", func(t *testing.T, r *Registry, _ Key) { ensureFenced(t, r) }, Fenced},
		{"the head of the operation is evicted", evictHead(":o:list"), Fenced},
		{"the head of the module is evicted", evictHead(":m"), Fenced},
		{"the log of deletions is evicted", func(t *testing.T, r *Registry, key Key) {
			deleteEntry(t, r, entry(key.Operation, "other", key.User))
			evictHead(":d:list")(t, r, key)
		}, Fenced},
		{"everything is flushed", func(t *testing.T, r *Registry, _ Key) {
			r.library.Client().FlushAll(t.Context())
			apply(t, r, users, caching())
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
				token := unleased(t, r, key)
				if leased := lease(t, r, key).Token; string(leased) != token.Sent() {
					t.Fatalf("the heads make the token %q, the lease gives %q", token.Sent(), leased)
				}
				test.change(t, r, key)
				lease(t, r, entry(key.Operation, "another", key.User)) // heads that were missing are there again
				want := test.want
				if want == 0 {
					want = map[bool]Outcome{true: Fenced, false: Stored}[user != ""]
				}
				filled, err := r.Set(t.Context(), key, []byte("x"), token)
				if err != nil || filled.Outcome != want {
					t.Errorf("the fill is %v (%v), want %v", filled.Outcome, err, want)
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
}

// evictHead deletes a key of the slot behind the library's back.
func evictHead(key string) func(*testing.T, *Registry, Key) {
	return func(t *testing.T, r *Registry, _ Key) {
		t.Helper()
		if n := r.library.Client().Del(t.Context(), keyOf(users)+key).Val(); n != 1 {
			t.Fatalf("there is no %s", key)
		}
	}
}

// Where a load lock or a new head may be needed, a read gives no token, and the caller takes a lease.
func TestAReadGivesNoTokenWhereALeaseIsNeeded(t *testing.T) {
	r, client := newRegistry(t)
	wanted := entry("list", "wanted", "u")
	for name, change := range map[string]func(){
		"no head":                   func() { client.Del(t.Context(), keyOf(users)+":u:u") },
		"an operation just purged":  func() { invalidate(t, r, users, Scope{Operation: "list"}) },
		"a module just purged":      func() { invalidate(t, r, users, Scope{}) },
		"a head of another length":  func() { client.Set(t.Context(), keyOf(users)+":m", "short", 0) },
		"a mark for the entry":      func() { hold(t, r, NewHoldID(), time.Minute, HoldEntry(wanted)) },
		"a mark for the operation":  func() { hold(t, r, NewHoldID(), time.Minute, HoldScope(Scope{Operation: "list"})) },
		"what others wrote as mark": func() { client.Set(t.Context(), keyOf(users)+":m", "!!456789012", 0) },
		"an entry of another schema": func() {
			other := wanted
			other.Schema = "v2"
			fill(t, r, other, "x")
		},
		"an entry from before an invalidation": func() {
			fill(t, r, wanted, "x")
			client.Del(t.Context(), keyOf(users)+":m")
			lease(t, r, entry("list", "another", "u"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			client.FlushDB(t.Context())
			apply(t, r, users, caching())
			fill(t, r, entry("list", "other", "u"), "x")
			unleased(t, r, wanted)
			change()
			if lookup, err := r.Read(t.Context(), wanted); err != nil || lookup.Hit || lookup.Token != "" {
				t.Errorf("%+v (%v)", lookup, err)
			}
		})
	}
}

// brief lets entries, and the heads without fills, last for fractions of a second.
func brief(t *testing.T) (r *Registry, client *redis.Client, headsLast time.Duration) {
	t.Helper()
	const ttl, load, margin = 20, 300, 200
	client = redistest.Start(t).Client()
	library := Library
	for constant, value := range map[string]int{"MIN_LOAD_MS": load, "MARGIN_MS": margin} {
		before := regexp.MustCompile(`\nlocal ` + constant + ` = \d+\n`)
		if !before.MatchString(library) {
			t.Fatalf("the library has no %s", constant)
		}
		library = before.ReplaceAllString(library, fmt.Sprintf("\nlocal %s = %d\n", constant, value))
	}
	if err := client.FunctionLoad(t.Context(), library).Err(); err != nil {
		t.Fatal(err)
	}
	r = New(client)
	apply(t, r, users, Policy{DefaultTTL: new(ttl * time.Millisecond)})
	return r, client, (ttl + load + margin) * time.Millisecond
}

// Fills without a lease keep heads, and clean what lists the entries. In relation to how long heads
// last, this is an hour of an operation whose TTL is some minutes.
func TestAnHourOfFillsWithoutALease(t *testing.T) {
	t.Parallel()
	r, client, headsLast := brief(t)
	const (
		lives = 8
		// kept is more than are live at a time, and maxKeys counts the chunks of an index, too.
		kept, maxKeys = 120, 600
	)
	for range 10 { // a machine that stands still for so long lets heads end
		if fillsInTime(t, r, client, headsLast, lives*headsLast) {
			break
		}
	}
	if listed := listedOfUser(t, client, "u"); listed > kept {
		t.Errorf("the index of the user has %d members", listed)
	}
	if keys := len(keysOf(t, client, users)); keys > maxKeys {
		t.Errorf("there are %d keys", keys)
	}
}

// fillsInTime stores entries for so long, without a lease after the first. It returns false if a fill
// came so late that heads may have ended.
func fillsInTime(t *testing.T, r *Registry, client *redis.Client, headsLast, period time.Duration) bool {
	t.Helper()
	fillAll(t, r, entry("list", "first", ""), entry("list", "first", "u"))
	heads := append([]string{keyOf(users) + ":u:u"}, entry("list", "", "").appendReadKeys(nil)[1:]...)
	before := client.MGet(t.Context(), heads...).Val()
	began, last := time.Now(), time.Now()
	for i := 0; time.Since(began) < period; i++ {
		for _, user := range []string{"", "u"} {
			key := entry("list", fmt.Sprint(i), user)
			lookup, err := r.Read(t.Context(), key)
			inTime := time.Since(last) < headsLast/2
			if !inTime {
				return false
			}
			if err != nil || !lookup.Token.Unleased() {
				t.Fatalf("after %s: %+v (%v)", time.Since(began), lookup, err)
			}
			if filled, err := r.Set(t.Context(), key, []byte("x"), lookup.Token); err != nil || filled.Outcome != Stored {
				t.Fatalf("after %s: %+v (%v)", time.Since(began), filled, err)
			}
		}
		last = time.Now()
		time.Sleep(time.Millisecond)
	}
	if now := client.MGet(t.Context(), heads...).Val(); !slices.Equal(before, now) {
		t.Errorf("the heads were %q, and are %q", before, now)
	}
	return true
}

// The counters list the operations that have entries, also if they were lost, and there is no lease.
func TestAFillWithoutALeaseAdmitsItsOperation(t *testing.T) {
	r, client := newRegistry(t)
	apply(t, r, users, caching())
	filled := func(operation string) Outcome {
		key := entry(operation, "wanted", "")
		set, err := r.Set(t.Context(), key, []byte("x"), unleased(t, r, key))
		if err != nil {
			t.Fatal(err)
		}
		return set.Outcome
	}
	fillAll(t, r, entry("kept", "other", ""), entry("refused", "other", ""))
	client.Del(t.Context(), keyOf(users)+":counters")
	if outcome := filled("kept"); outcome != Stored {
		t.Errorf("a fill of what was lost: %s", outcome)
	}
	const unlisted = 128
	for i := 1; i < unlisted; i++ {
		lease(t, r, entry(fmt.Sprint("another", i), "", ""))
	}
	if outcome := filled("refused"); outcome != Disabled {
		t.Errorf("a fill of one operation too many: %s", outcome)
	}
	deleteEntry(t, r, entry("kept", "wanted", ""))
	if outcome := filled("kept"); outcome != Stored {
		t.Errorf("a fill of what is counted: %s", outcome)
	}
	stats, err := r.Stats(t.Context(), users)
	if err != nil {
		t.Fatal(err)
	}
	if _, listed := stats.Operations["refused"]; listed || len(stats.Operations) != unlisted || stats.Operations["kept"].Fills != 2 {
		t.Errorf("%d operations, %+v", len(stats.Operations), stats.Operations["kept"])
	}
}

// An older library does not do without a lease.
func TestAnOlderLibraryThatMustNotBeReplacedKnowsNoTokensOfReads(t *testing.T) {
	for version, library := range map[int]string{PutLibrary - 1: olderLibrary(t), HeadsLibrary - 1: libraryBeforeHeads(t)} {
		server := redistest.Start(t)
		if err := server.Client().FunctionLoad(t.Context(), library).Err(); err != nil {
			t.Fatal(err)
		}
		documentedUsers(t, server)
		r, key := registryAs(server, "shop"), entry("list", "a", "")
		apply(t, New(server.Client()), users, caching())
		if err := server.Client().FunctionLoadReplace(t.Context(), library).Err(); err != nil {
			t.Fatal(err)
		}
		fill(t, r, entry("list", "other", ""), "x")
		for name, call := range map[string]func() (Filled, error){
			"alone": func() (Filled, error) { return r.Set(t.Context(), key, nil, unleased(t, r, key)) },
			"together": func() (Filled, error) {
				result := r.SetMany(t.Context(), []Fill{{Key: key, Token: unleased(t, r, key)}})[0]
				return result.Filled, result.Err
			},
		} {
			if filled, err := call(); !errors.Is(err, ErrLibraryTooOld) {
				t.Errorf("version %d, %s: %+v (%v)", version, name, filled, err)
			}
		}
		filled, err := New(server.Client()).Set(t.Context(), key, nil, unleased(t, r, key))
		if err != nil || filled.Outcome != Stored {
			t.Errorf("version %d, by a user who may load the library: %+v (%v)", version, filled, err)
		}
	}
}

// libraryBeforeHeads is a library without what came with HeadsLibrary.
func libraryBeforeHeads(t *testing.T) string {
	t.Helper()
	older := Library
	for now, before := range map[string]string{
		fmt.Sprintf("local VERSION = %d\n", LibraryVersion): fmt.Sprintf("local VERSION = %d\n", HeadsLibrary-1),
		"'schema', 'heads'}":       "'schema'}",
		"'room, schema, heads' or": "'room, schema' or",
	} {
		if strings.Count(older, now) != 1 {
			t.Fatalf("the library has no %s", now)
		}
		older = strings.Replace(older, now, before, 1)
	}
	return older
}
