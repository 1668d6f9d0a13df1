// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cachewright/cachewright/internal/redistest"
)

func put(t testing.TB, r *Registry, key Key, payload string, options FillOptions) Filled {
	t.Helper()
	filled, err := r.Put(t.Context(), key, []byte(payload), options)
	if err != nil {
		t.Fatalf("putting %q: %v", key, err)
	}
	return filled
}

// wantFound reads both ways.
func wantFound(t testing.TB, r *Registry, key Key, payload string, negative bool) {
	t.Helper()
	for name, read := range map[string]func() (Lookup, error){
		"MGET":   func() (Lookup, error) { return r.Read(t.Context(), key) },
		"cw_get": func() (Lookup, error) { return r.Lease(t.Context(), key) },
	} {
		found, err := read()
		if err != nil || !found.Hit || found.Stale || string(found.Payload) != payload || found.Negative != negative {
			t.Errorf("%s of %q finds %+v (%v), want %q", name, key, found, err, payload)
		}
	}
}

func TestAPutReplacesAnEntryAndFencesItsLoadsOnly(t *testing.T) {
	r, _ := newRegistry(t)
	apply(t, r, users, Policy{DefaultTTL: new(time.Minute), Operations: []OperationPolicy{
		{Name: "list", TTL: time.Minute, NegativeTTL: time.Minute},
	}})
	versioned := entry("list", "v", "")
	versioned.Schema = "v2"
	for name, key := range map[string]Key{"shared": entry("list", "a", ""), "of a user": entry("list", "a", "u"), "with a schema": versioned} {
		t.Run(name, func(t *testing.T) {
			own, other := leaseAnew(t, r, key), key
			other.ID = "other"
			others := leaseAnew(t, r, other)
			for i, options := range []FillOptions{{}, {}, {Negative: true}, {TTL: time.Second}} {
				payload := fmt.Sprint(name, i)
				want := cmp.Or(options.TTL, time.Minute)
				if filled := put(t, r, key, payload, options); filled.Outcome != Stored || filled.TTL != want {
					t.Fatalf("put %d: %+v", i, filled)
				}
				wantFound(t, r, key, payload, options.Negative)
			}
			if filled, err := r.Set(t.Context(), key, []byte("old"), own); err != nil || filled.Outcome != Fenced {
				t.Errorf("a load of the entry from before is %s (%v)", filled.Outcome, err)
			}
			if filled, err := r.Set(t.Context(), other, []byte("old"), others); err != nil || filled.Outcome != Stored {
				t.Errorf("a load of another entry is %s (%v)", filled.Outcome, err)
			}
		})
	}
}

// A put needs no lease before it: it makes the heads that are missing.
func TestAPutMakesTheHeadsThatAreMissing(t *testing.T) {
	for _, key := range []Key{entry("list", "a", ""), entry("list", "a", "u")} {
		for _, missing := range []string{"m", "o:list", "u:u", "m o:list", "o:list u:u", "m o:list u:u"} {
			t.Run(missing+" of "+key.User, func(t *testing.T) {
				r, client := newRegistry(t)
				apply(t, r, users, caching())
				fillAll(t, r, key, entry("other", "a", key.User))
				for name := range strings.FieldsSeq(missing) {
					client.Del(t.Context(), keyOf(users)+":"+name)
				}
				if filled := put(t, r, key, "x", FillOptions{}); filled.Outcome != Stored {
					t.Fatalf("%+v", filled)
				}
				wantFound(t, r, key, "x", false)
				for _, head := range key.appendReadKeys(nil) {
					if left := client.PTTL(t.Context(), head).Val(); left < time.Minute-time.Second {
						t.Errorf("%s lasts for %s, less than the entry", head, left)
					}
				}
				wantKeys(t, r, "list", 1)
			})
		}
	}
}

func wantKeys(t *testing.T, r *Registry, operation string, want int64) {
	t.Helper()
	stats, err := r.Stats(t.Context(), users)
	if err != nil {
		t.Fatal(err)
	}
	if got := stats.Operations[operation].Keys; got != want {
		t.Errorf("%d keys of %s, want %d", got, operation, want)
	}
}

// What is put over and over is one entry, which each scope counts and frees once.
func TestPutsKeepCountsAndIndexesRight(t *testing.T) {
	r, client := newRegistry(t)
	apply(t, r, users, Policy{DefaultTTL: new(time.Hour)})
	for round := range 5 {
		for i := range 100 {
			ttl := []time.Duration{0, time.Minute, time.Hour}[(i+round)%3]
			put(t, r, entry("list", fmt.Sprint(i), "u"), "x", FillOptions{TTL: ttl})
			put(t, r, entry("list", fmt.Sprint(i), ""), "x", FillOptions{TTL: ttl})
		}
	}
	wantKeys(t, r, "list", 200)
	if got := client.ZCard(t.Context(), keyOf(users)+":iu:u").Val(); got != 100 {
		t.Errorf("the index of the user has %d names, want 100", got)
	}
	if got := invalidate(t, r, users, Scope{User: "u"}); got.Keys != 100 {
		t.Errorf("invalidated %+v of the user, want 100", got)
	}
	wantKeys(t, r, "list", 100)
	if got := invalidate(t, r, users, Scope{Operation: "list"}); got.Keys != 100 {
		t.Errorf("invalidated %+v, want 100", got)
	}
	reclaimAll(t, r, users)
	if left := keyCount(t, client, users, "e:"); left > 0 {
		t.Errorf("%d entries are left", left)
	}
}

// Whatever the outcome, what was there before is gone, and its loads are fenced.
func TestAPutThatStoresNothingDeletes(t *testing.T) {
	list := func(o OperationPolicy) Policy {
		o.Name = "list"
		return Policy{Operations: []OperationPolicy{o}}
	}
	minute := OperationPolicy{TTL: time.Minute, MaxEntryBytes: 4}
	key := entry("list", "a", "")
	for name, test := range map[string]struct {
		prepare func(*testing.T, *Registry)
		payload string
		options FillOptions
		want    Outcome
	}{
		"too large":    {func(*testing.T, *Registry) {}, "12345", FillOptions{}, Refused},
		"no negatives": {func(*testing.T, *Registry) {}, "", FillOptions{Negative: true}, Disabled},
		"held": {func(t *testing.T, r *Registry) {
			hold(t, r, NewHoldID(), time.Minute, HoldScope(Scope{Operation: "list"}))
		}, "x", FillOptions{}, Fenced},
		"the entry is held": {func(t *testing.T, r *Registry) { hold(t, r, NewHoldID(), time.Minute, HoldEntry(key)) }, "x", FillOptions{}, Fenced},
		"the module is held": {func(t *testing.T, r *Registry) {
			hold(t, r, NewHoldID(), time.Minute, HoldScope(Scope{}))
		}, "x", FillOptions{}, Fenced},
		"no policy": {func(t *testing.T, r *Registry) {
			if _, err := r.DeletePolicy(t.Context(), users); err != nil {
				t.Fatal(err)
			}
		}, "x", FillOptions{}, Disabled},
	} {
		t.Run(name, func(t *testing.T) {
			r, client := newRegistry(t)
			apply(t, r, users, list(minute))
			token := leaseAnew(t, r, key)
			fill(t, r, key, "old")
			locked := entry("list", "a", "")
			test.prepare(t, r)
			if filled := put(t, r, key, test.payload, test.options); filled.Outcome != test.want || filled.TTL != 0 {
				t.Errorf("%+v, want %s", filled, test.want)
			}
			if isHit(t, r, key) {
				t.Error("what was there is still served")
			}
			if client.Exists(t.Context(), locked.lockKey()).Val() > 0 {
				t.Error("the load lock is left")
			}
			filled, err := r.Set(t.Context(), key, []byte("old"), token)
			if err != nil || filled.Outcome == Stored {
				t.Errorf("a load from before is %s (%v)", filled.Outcome, err)
			}
		})
	}
}

func TestAPutWithoutAUserUnderScopeUserDeletes(t *testing.T) {
	r, _ := newRegistry(t)
	apply(t, r, users, Policy{Operations: []OperationPolicy{{Name: "list", TTL: time.Minute, Scope: ScopeUser}}})
	if filled := put(t, r, entry("list", "a", ""), "x", FillOptions{}); filled.Outcome != Refused {
		t.Errorf("%+v", filled)
	}
	if filled := put(t, r, entry("list", "a", "u"), "x", FillOptions{}); filled.Outcome != Stored {
		t.Errorf("%+v", filled)
	}
}

// A source that lags may still return what was before, but the caller of a put knows better. Where
// nothing is stored, the next reader loads.
func TestSourceLagFollowsAPutThatStoresNothing(t *testing.T) {
	r, client := newRegistry(t)
	apply(t, r, users, Policy{SourceLag: time.Minute, Operations: []OperationPolicy{{Name: "list", TTL: time.Minute, MaxEntryBytes: 4}}})
	key := entry("list", "a", "")
	if filled := put(t, r, key, "x", FillOptions{}); filled.Outcome != Stored {
		t.Fatalf("%+v", filled)
	}
	wantFound(t, r, key, "x", false)
	if filled := put(t, r, key, "12345", FillOptions{}); filled.Outcome != Refused {
		t.Fatalf("%+v", filled)
	}
	if lookup := lease(t, r, key); lookup.Held < time.Minute-10*time.Second {
		t.Errorf("a lease afterwards: %+v", lookup)
	}
	if filled := put(t, r, key, "y", FillOptions{}); filled.Outcome != Fenced {
		t.Errorf("under the mark: %+v", filled)
	}
	if client.Exists(t.Context(), keyOf(users)+":h").Val() == 0 {
		t.Error("nobody knows that an entry has a mark")
	}
}

func TestAPutEndsTheLoadLock(t *testing.T) {
	r, client := newRegistry(t)
	apply(t, r, users, caching())
	key := entry("list", "a", "u")
	if _, err := r.LeaseLocked(t.Context(), key, time.Minute); err != nil || client.Exists(t.Context(), key.lockKey()).Val() == 0 {
		t.Fatalf("no lock (%v)", err)
	}
	put(t, r, key, "x", FillOptions{})
	if client.Exists(t.Context(), key.lockKey()).Val() > 0 {
		t.Error("the lock of a load that is fenced is left")
	}
}

func TestPutsCountAsFills(t *testing.T) {
	r, _ := newRegistry(t)
	apply(t, r, users, caching())
	put(t, r, entry("list", "a", ""), "x", FillOptions{})
	put(t, r, entry("list", "a", ""), "x", FillOptions{})
	hold(t, r, NewHoldID(), time.Minute, HoldEntry(entry("list", "a", "")))
	put(t, r, entry("list", "a", ""), "x", FillOptions{})
	stats, err := r.Stats(t.Context(), users)
	if err != nil {
		t.Fatal(err)
	}
	if of := stats.Operations["list"]; of.Fills != 2 || of.Fenced != 1 || of.Misses != 0 || of.Invalidations != 0 || stats.Invalidations != 0 {
		t.Errorf("%+v", stats)
	}
}

// A caller that makes up names cannot grow the slot by puts either.
func TestOperationsThatArePutUnderADefaultAreBounded(t *testing.T) {
	r, _ := newRegistry(t)
	apply(t, r, users, caching())
	const most = 128
	for i := range most + 10 {
		want := Stored
		if i >= most {
			want = Disabled
		}
		if filled := put(t, r, entry(fmt.Sprint("operation", i), "a", ""), "x", FillOptions{}); filled.Outcome != want {
			t.Fatalf("operation %d: %+v, want %s", i, filled, want)
		}
	}
	if got := invalidate(t, r, users, Scope{}); got.Keys != most {
		t.Errorf("invalidated %+v", got)
	}
}

func TestAPutThatFailsChangesNothing(t *testing.T) {
	r, client := newRegistry(t)
	apply(t, r, users, caching())
	key := entry("list", "a", "")
	fill(t, r, key, "old")
	before := snapshot(t, client)
	for name, test := range map[string]struct {
		key     Key
		options FillOptions
		want    error
	}{
		"TTL too long":      {key, FillOptions{TTL: time.Minute + time.Millisecond}, ErrTTLTooLong},
		"TTL too short":     {key, FillOptions{TTL: time.Microsecond}, ErrRejected},
		"TTL below 0":       {key, FillOptions{TTL: -time.Second}, ErrRejected},
		"id too long":       {entry("list", strings.Repeat("x", 1025), ""), FillOptions{}, ErrRejected},
		"no operation":      {entry("", "a", ""), FillOptions{}, ErrRejected},
		"schema of spaces":  {Key{Slot: users, Operation: "list", ID: "a", Schema: "v 1"}, FillOptions{}, ErrRejected},
		"schema too long":   {Key{Slot: users, Operation: "list", ID: "a", Schema: strings.Repeat("v", 65)}, FillOptions{}, ErrRejected},
		"schema far longer": {Key{Slot: users, Operation: "list", ID: "a", Schema: strings.Repeat("v", 300)}, FillOptions{}, ErrRejected},
	} {
		if filled, err := r.Put(t.Context(), test.key, []byte("new"), test.options); !errors.Is(err, test.want) || filled != (Filled{}) {
			t.Errorf("%s: %+v (%v), want %v", name, filled, err, test.want)
		}
		if after := snapshot(t, client); !reflect.DeepEqual(after, before) {
			t.Fatalf("%s: changed %q to %q", name, before, after)
		}
	}
}

func TestAFullRedisRefusesPuts(t *testing.T) {
	r, client := newRegistry(t)
	apply(t, r, users, caching())
	key := entry("list", "a", "")
	fill(t, r, key, "old")
	if err := client.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	if filled, err := r.Put(t.Context(), key, []byte("new"), FillOptions{}); !errors.Is(err, ErrOutOfMemory) {
		t.Errorf("%+v (%v)", filled, err)
	}
	wantFound(t, r, key, "old", false)
}

// A client that keeps entries in memory tracks the heads. A put changes that of the operation, as a
// deletion does.
func TestAPutChangesTheHeadOfTheOperation(t *testing.T) {
	r, client := newRegistry(t)
	apply(t, r, users, caching())
	for _, user := range []string{"", "u"} {
		fillAll(t, r, entry("list", "a", user))
		before := client.Get(t.Context(), keyOf(users)+":o:list").Val()
		put(t, r, entry("list", "a", user), "x", FillOptions{})
		after := client.Get(t.Context(), keyOf(users)+":o:list").Val()
		if before == after || before[:11] != after[:11] {
			t.Errorf("user %q: the head was %q, and is %q: want another fence", user, before, after)
		}
	}
}

func TestAnOlderLibraryThatMustNotBeReplacedKnowsNoPuts(t *testing.T) {
	r, client := withOlderLibrary(t)
	apply(t, New(client), users, caching())
	if err := client.FunctionLoadReplace(t.Context(), olderLibrary(t)).Err(); err != nil {
		t.Fatal(err)
	}
	key := entry("list", "a", "")
	if filled, err := r.Put(t.Context(), key, nil, FillOptions{}); !errors.Is(err, ErrLibraryTooOld) {
		t.Errorf("%+v (%v)", filled, err)
	}
}

// The user of a tenant, as docs/operations.md makes it, may put.
func TestDocumentedACLSufficesToPut(t *testing.T) {
	server := redistest.Start(t)
	documentedUsers(t, server)
	apply(t, registryOn(t, server.ClientAs("cachewright", "secret")), users, caching())
	wantTenantPuts(t, registryAs(server, "shop"))
	if refused := server.Refused(); len(refused) > 1 { // that of the other namespace
		t.Errorf("refused: %s", refused)
	}
}

func TestDocumentedACLSufficesToPutInACluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 2)
	documentedUsers(t, cluster.Servers()...)
	apply(t, registryOn(t, clusterClientAs(t, cluster, "cachewright")), users, caching())
	wantTenantPuts(t, New(clusterClientAs(t, cluster, "shop")))
}

func wantTenantPuts(t *testing.T, tenant *Registry) {
	t.Helper()
	for _, key := range []Key{entry("list", "a", ""), entry("list", "a", "u")} {
		for _, options := range []FillOptions{{}, {TTL: time.Second}, {}} {
			if filled := put(t, tenant, key, "x", options); filled.Outcome != Stored {
				t.Errorf("%+v", filled)
			}
			wantFound(t, tenant, key, "x", false)
		}
	}
	if filled, err := tenant.Put(t.Context(), Key{Slot: Slot{Namespace: "team", Module: "users"}, Operation: "list"}, nil, FillOptions{}); !errors.Is(err, ErrForbidden) {
		t.Errorf("of another tenant: %+v (%v)", filled, err)
	}
}
