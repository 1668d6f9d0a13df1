// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/internal/redistest"
)

const (
	east = "east/shop/users"
	west = "west/shop/users"
)

func claimOf(owner, over string) Claim { return Claim{Slot: users, Owner: owner, Over: over} }

func wantContended(t *testing.T, err error, owner string) {
	t.Helper()
	var contended *ContendedError
	if !errors.As(err, &contended) || contended.Owner != owner || contended.Slot != users {
		t.Errorf("got %v, want a contention with %s", err, owner)
	}
	if ConcernsStore(err) {
		t.Error("a contention is taken for a trouble of the whole store")
	}
}

func TestAnotherOwnersPolicyIsNeitherReplacedNorPurgedNorDeleted(t *testing.T) {
	r, _ := newRegistry(t)
	policy := caching()
	policy.Revision = "1"
	if _, err := r.ApplyPolicyFor(t.Context(), claimOf(east, ""), policy); err != nil {
		t.Fatal(err)
	}
	kept := entry("list", "1", "")
	fillAll(t, r, kept)

	other := caching()
	other.Revision = "2"
	_, err := r.ApplyPolicyFor(t.Context(), claimOf(west, ""), other)
	wantContended(t, err, east)
	_, err = r.DeletePolicyFor(t.Context(), claimOf(west, ""))
	wantContended(t, err, east)
	wantContended(t, r.OwnPolicies(t.Context(), []Claim{claimOf(west, "north/shop/users")}), east)

	found, _, err := r.Policy(t.Context(), users)
	if err != nil || found.Revision != "1" || !isHit(t, r, kept) {
		t.Errorf("the policy is %+v (%v), hit: %v", found, err, isHit(t, r, kept))
	}
	if modules, err := r.Modules(t.Context(), users.Namespace); err != nil || !slices.Contains(modules, users.Module) {
		t.Errorf("the module was taken off the list: %v, %v", modules, err)
	}

	applied, err := r.ApplyPolicyFor(t.Context(), claimOf(west, east), other)
	if err != nil || !applied.Purged {
		t.Errorf("taking it over: %+v, %v", applied, err)
	}
	wantContended(t, r.OwnPolicies(t.Context(), []Claim{claimOf(east, "")}), west)
	if existed, err := r.DeletePolicyFor(t.Context(), claimOf(west, "")); err != nil || !existed {
		t.Errorf("withdrawing it: %v, %v", existed, err)
	}
	if err := r.OwnPolicies(t.Context(), []Claim{claimOf(east, "")}); err != nil {
		t.Errorf("a withdrawn policy has an owner still: %v", err)
	}
}

func TestAnOwnerHoldsAPolicyForADayAfterItsLastClaim(t *testing.T) {
	r, client := newRegistry(t)
	claims := map[string]func() error{
		"applying": func() error {
			_, err := r.ApplyPolicyFor(t.Context(), claimOf(east, ""), caching())
			return err
		},
		"renewing": func() error { return r.OwnPolicies(t.Context(), []Claim{claimOf(east, "")}) },
	}
	for name, claim := range claims {
		t.Run(name, func(t *testing.T) {
			client.Expire(t.Context(), keyOf(users)+":owner", time.Minute)
			if err := claim(); err != nil {
				t.Fatal(err)
			}
			left, err := client.PTTL(t.Context(), keyOf(users)+":owner").Result()
			if err != nil || left > 24*time.Hour || left < 23*time.Hour {
				t.Errorf("it holds for %v (%v), want a day", left, err)
			}
		})
	}
}

func TestWhatIsNoOwnerHoldsNoPolicy(t *testing.T) {
	r, client := newRegistry(t)
	key := keyOf(users) + ":owner"
	for name, write := range map[string]func() error{
		"a list":         func() error { return client.RPush(t.Context(), key, "x").Err() },
		"control bytes":  func() error { return client.Set(t.Context(), key, "a\nb", 0).Err() },
		"other alphabet": func() error { return client.Set(t.Context(), key, "é", 0).Err() },
		"too long":       func() error { return client.Set(t.Context(), key, strings.Repeat("x", MaxOwnerBytes+1), 0).Err() },
		"empty":          func() error { return client.Set(t.Context(), key, "", 0).Err() },
	} {
		t.Run(name, func(t *testing.T) {
			client.Del(t.Context(), key)
			if err := write(); err != nil {
				t.Fatal(err)
			}
			if _, err := r.ApplyPolicyFor(t.Context(), claimOf(east, ""), caching()); err != nil {
				t.Error(err)
			}
			if owner := client.Get(t.Context(), key).Val(); owner != east {
				t.Errorf("the owner is %q", owner)
			}
		})
	}
}

func TestOwnPoliciesClaimsEachThatIsFreeOnEachNode(t *testing.T) {
	t.Parallel()
	client := redistest.StartCluster(t, 3).Client()
	r := registryOn(t, client)
	slots := []Slot{{Namespace: "a", Module: "m"}, {Namespace: "b", Module: "m"}, {Namespace: "c", Module: "m"}, {Namespace: "d", Module: "m"}}
	if err := r.OwnPolicies(t.Context(), []Claim{{Slot: slots[1], Owner: west}}); err != nil {
		t.Fatal(err)
	}
	claims := []Claim{{Slot: users}}
	for _, slot := range slots {
		claims = append(claims, Claim{Slot: slot, Owner: east})
	}
	err := r.OwnPolicies(t.Context(), claims)
	var broken SlotErrors
	var contended *ContendedError
	if !errors.As(err, &broken) || len(broken) != 1 || !errors.As(broken[slots[1]], &contended) {
		t.Errorf("got %v, want a contention for %s alone", err, slots[1])
	}
	if owner := client.Get(t.Context(), keyOf(slots[3])+":owner").Val(); owner != east {
		t.Errorf("the owner of %s is %q", slots[3], owner)
	}
}

// An application of an earlier version may load an earlier library, which takes no owner.
func TestALibraryThatKnowsNoOwnersIsReplaced(t *testing.T) {
	older := "#!lua name=cachewright\n" +
		"redis.register_function{function_name = 'cw_version', callback = function() return 0 end, flags = {'no-writes'}}\n"
	for call, takes := range map[string]string{"cw_policy_apply": "1 arguments (json), not 3", "cw_policy_delete": "0 arguments (), not 2"} {
		older += "redis.register_function('" + call + "', function() return redis.error_reply('CACHEWRIGHT " + call + " takes " + takes + "') end)\n"
	}
	r, client := newRegistry(t)
	for name, call := range map[string]func() error{
		"applying": func() error {
			_, err := r.ApplyPolicyFor(t.Context(), claimOf(east, ""), caching())
			return err
		},
		"withdrawing": func() error {
			_, err := r.DeletePolicyFor(t.Context(), claimOf(east, ""))
			return err
		},
		"renewing": func() error { return r.OwnPolicies(t.Context(), []Claim{claimOf(east, "")}) },
	} {
		t.Run(name, func(t *testing.T) {
			load(t, client, older)
			if err := call(); err != nil {
				t.Error(err)
			}
		})
	}
}

func load(t *testing.T, client *redis.Client, library string) {
	t.Helper()
	if err := client.FunctionLoadReplace(t.Context(), library).Err(); err != nil {
		t.Fatal(err)
	}
}
