// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"fmt"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/registry/internal/parse"
	"github.com/cachewright/cachewright/registry/internal/wire"
)

// fillMany fills entries that are not there yet, in few round trips.
func fillMany(t testing.TB, r *Registry, operation, user string, count int) {
	t.Helper()
	const batch = 500
	for from := 0; from < count; from += batch {
		ids := make([]string, min(batch, count-from))
		for i := range ids {
			ids[i] = fmt.Sprint(from + i)
		}
		leases := callsTogether(t, r, ids, func(int) []any { return nil }, "cw_get", operation, user)
		stored := callsTogether(t, r, ids, func(i int) []any {
			lookup, _ := parse.LookupOf(leases[i].Val())
			return []any{"x", string(lookup.Token)}
		}, "cw_set", operation, user)
		for i, reply := range stored {
			if ttl, err := reply.Int(); err != nil || ttl <= 0 {
				t.Fatalf("filling %s: %d, %v", ids[i], ttl, err)
			}
		}
	}
}

// callsTogether calls a function for each entry, in one round trip.
func callsTogether(
	t testing.TB, r *Registry, ids []string, more func(int) []any, function, operation, user string,
) []*redis.Cmd {
	t.Helper()
	replies := make([]*redis.Cmd, len(ids))
	if _, err := r.client.Pipelined(t.Context(), func(pipe redis.Pipeliner) error {
		for i, id := range ids {
			replies[i] = pipe.FCall(t.Context(), function, []string{keyOf(users)}, append([]any{operation, id, user}, more(i)...)...)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return replies
}

// A large invalidation is in effect before any memory is freed. Reclaim then frees exactly
// what was invalidated, in bounded calls, and spares what was filled again.
func TestALargeInvalidationIsReclaimedInChunks(t *testing.T) {
	const count, again = 5000, 700
	for name, scope := range map[string]Scope{"module": {}, "operation": {Operation: "list"}, "user": {User: "u"}} {
		t.Run(name, func(t *testing.T) {
			r, client := newRegistry(t)
			apply(t, r, users, caching())
			fillMany(t, r, "list", "u", count)
			result := invalidate(t, r, users, scope)
			if result != (Invalidated{Keys: count, Pending: count}) {
				t.Fatalf("got %+v", result)
			}
			if n := keyCount(t, client, users, "e:"); n != count {
				t.Fatalf("%d entries are left, the call itself should have freed none", n)
			}
			if isHit(t, r, entry("list", "4000", "u")) {
				t.Fatal("an invalidated entry is served")
			}
			fillMany(t, r, "list", "u", again)

			before := int64(count)
			var freed int64
			for before > 0 {
				reclaimed, err := r.Reclaim(t.Context(), users, 1_000_000)
				if err != nil {
					t.Fatal(err)
				}
				if reclaimed.Pending >= before || before-reclaimed.Pending > 200 {
					t.Fatalf("one call went from %d pending to %d", before, reclaimed.Pending)
				}
				before, freed = reclaimed.Pending, freed+reclaimed.Freed
			}
			if freed != count-again {
				t.Errorf("%d freed, want %d", freed, count-again)
			}
			if n := keyCount(t, client, users, "e:"); n != again {
				t.Errorf("%d entries are left, want the %d that were filled again", n, again)
			}
			for i := range again {
				if !isHit(t, r, entry("list", fmt.Sprint(i), "u")) {
					t.Fatalf("entry %d, filled again, was lost", i)
				}
			}
			if stats, err := r.Stats(t.Context(), users); err != nil || stats.Keys != again || stats.Pending != 0 {
				t.Errorf("stats: %+v (%v)", stats, err)
			}
		})
	}
}

// Up to 128 entries are freed by the invalidation itself.
func TestASmallInvalidationIsReclaimedAtOnce(t *testing.T) {
	r, client := newRegistry(t)
	apply(t, r, users, caching())
	for scope, user := range map[Scope]string{{}: "", {Operation: "list"}: "u", {User: "u"}: "u", {Operation: "list", User: "u"}: "u"} {
		fillMany(t, r, "list", user, 128)
		if result := invalidate(t, r, users, scope); result != (Invalidated{Keys: 128}) {
			t.Errorf("%+v: got %+v", scope, result)
		}
		if n := keyCount(t, client, users, "e:"); n != 0 {
			t.Errorf("%+v: %d entries are left", scope, n)
		}
	}
}

func TestADryRunChangesNothing(t *testing.T) {
	r, client := newRegistry(t)
	apply(t, r, users, caching())
	fillMany(t, r, "list", "u", 1500)
	fillMany(t, r, "other", "", 3)
	before := snapshot(t, client)
	for scope, want := range map[Scope]Invalidated{
		{}:                             {Keys: 1503, Pending: 1500},
		{Operation: "list"}:            {Keys: 1500, Pending: 1500},
		{Operation: "other"}:           {Keys: 3},
		{User: "u"}:                    {Keys: 1500, Pending: 1500},
		{Operation: "list", User: "u"}: {Keys: 1500, Pending: 1500}, // so many are invalidated with all that the user has
		{User: "nobody"}:               {},
		{Operation: "nothing"}:         {},
	} {
		got, err := r.Invalidate(t.Context(), users, scope, ModeDry, "request")
		if err != nil || got != want {
			t.Errorf("%+v: got %+v (%v), want %+v", scope, got, err, want)
		}
	}
	if after := snapshot(t, client); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Error("a dry run changed Redis")
	}
}

// What was evicted, has expired or was deleted is not counted.
func TestCountsAreOfLiveEntries(t *testing.T) {
	r, client := newRegistry(t)
	apply(t, r, users, caching())
	fillMany(t, r, "list", "", 10)
	if _, err := r.Delete(t.Context(), entry("list", "3", "")); err != nil {
		t.Fatal(err)
	}
	if n := client.Del(t.Context(), entry("list", "4", "").appendReadKeys(nil)[0]).Val(); n != 1 {
		t.Fatal("no such entry")
	}
	if result := invalidate(t, r, users, Scope{}); result.Keys != 8 {
		t.Errorf("got %+v, want 8 keys", result)
	}
	// Its head gone, an operation has nothing live, whatever its index says.
	fillMany(t, r, "list", "", 10)
	client.Del(t.Context(), keyOf(users)+":o:list")
	if result := invalidate(t, r, users, Scope{}); result.Keys != 0 {
		t.Errorf("got %+v, want no keys", result)
	}
}

// Of a user, too: what was evicted, though the index lists it still.
func TestCountsOfAUserAreOfLiveEntries(t *testing.T) {
	r, client := newRegistry(t)
	apply(t, r, users, caching())
	fillMany(t, r, "list", "u", 10)
	if n := client.Del(t.Context(), entry("list", "4", "u").appendReadKeys(nil)[0]).Val(); n != 1 {
		t.Fatal("no such entry")
	}
	if result := invalidate(t, r, users, Scope{User: "u"}); result.Keys != 9 {
		t.Errorf("got %+v, want 9 keys", result)
	}
}

// A module without entries, or one that nobody knows, is invalidated without a trace.
func TestInvalidatingNothingLeavesNothing(t *testing.T) {
	r, client := newRegistry(t)
	for _, scope := range []Scope{{}, {Operation: "list"}, {User: "u"}, {Operation: "list", User: "u"}} {
		if result := invalidate(t, r, users, scope); result != (Invalidated{}) {
			t.Errorf("%+v: got %+v", scope, result)
		}
	}
	if keys := keysOf(t, client, users); len(keys) != 0 {
		t.Errorf("left %v", keys)
	}
}

// Epochs do not repeat when the library is reloaded or Redis starts from an old state.
func TestEpochsNeverRepeat(t *testing.T) {
	r, client := newRegistry(t)
	apply(t, r, users, caching())
	seen := map[string]bool{}
	for i := range 3000 {
		if i%100 == 0 {
			if err := client.FunctionLoadReplace(t.Context(), Library).Err(); err != nil {
				t.Fatal(err)
			}
		}
		token := string(lease(t, r, entry("list", "a", "u")).Token)
		for at := 1; at < len(token); at += wire.EpochLen {
			epoch := token[at : at+wire.EpochLen]
			if seen[epoch] {
				t.Fatalf("%s was drawn twice", epoch)
			}
			seen[epoch] = true
		}
		client.Del(t.Context(), keyOf(users)+":m", keyOf(users)+":o:list", keyOf(users)+":u:u")
	}
}
