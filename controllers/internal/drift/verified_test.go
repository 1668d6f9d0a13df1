// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"context"
	"fmt"
	"testing"

	"github.com/go-logr/logr"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/controllertest"
	"github.com/cachewright/cachewright/controllers/internal/queue"
	"github.com/cachewright/cachewright/controllers/internal/resource"
	"github.com/cachewright/cachewright/registry"
)

// kept is a store that has policies, and notes which it was asked to verify.
type kept struct {
	*controllertest.ScriptedStore
	hashes   map[registry.Slot]string
	verified map[registry.Slot]int
}

func (k *kept) PolicyHashes(_ context.Context, slots []registry.Slot) ([]string, error) {
	hashes := make([]string, len(slots))
	for i, slot := range slots {
		hashes[i] = k.hashes[slot]
		k.verified[slot]++
	}
	return hashes, nil
}

func (k *kept) HavePolicies(_ context.Context, slots []registry.Slot) ([]bool, error) {
	present := make([]bool, len(slots))
	for i, slot := range slots {
		_, present[i] = k.hashes[slot]
	}
	return present, nil
}

// keeping is a syncer beside a store that has all of its policies.
type keeping struct {
	t      *testing.T
	store  *kept
	syncer *Syncer
	woken  queue.Enqueuer
	health registry.Health
	slots  []registry.Slot
}

func newKeeping(t *testing.T, many int) *keeping {
	t.Helper()
	k := &keeping{
		t: t, woken: make(queue.Enqueuer, many), health: dataOf("one"),
		store: &kept{ScriptedStore: &controllertest.ScriptedStore{}, hashes: map[registry.Slot]string{}},
	}
	all := controllertest.Crowd{Policies: make([]v1.CachePolicy, many)}
	for i := range all.Policies {
		policy := controllertest.UsersPolicy()
		policy.Namespace, policy.Name, policy.Spec.Module = "shop", fmt.Sprint("m", i), fmt.Sprint("m", i)
		policy.Status.AppliedHash = "h"
		all.Policies[i] = *policy
		k.slots = append(k.slots, registry.Slot{Namespace: "shop", Module: policy.Spec.Module})
		k.store.hashes[k.slots[i]] = "h"
	}
	k.syncer = &Syncer{SyncerConfig: SyncerConfig{Referrers: resource.Referrers{Reader: all}, Policies: k.woken, Log: logr.Discard()}}
	return k
}

func dataOf(id string) registry.Health {
	return registry.Health{Primaries: []registry.Primary{{RunID: id, ReplicationID: id}}}
}

// pass returns how many policies a pass verifies, and how many it wakes.
func (k *keeping) pass() (verified, woken int) {
	k.t.Helper()
	k.store.verified = map[registry.Slot]int{}
	if err := k.syncer.Sync(k.t.Context(), Target{Store: k.store, Health: k.health}); err != nil {
		k.t.Fatal(err)
	}
	woken = len(k.woken)
	for range woken {
		<-k.woken
	}
	return len(k.store.verified), woken
}

func TestEachPolicyIsVerifiedOnceAndThenInTurn(t *testing.T) {
	const many = 6000
	k := newKeeping(t, many)
	if verified, woken := k.pass(); verified != many || woken != 0 {
		t.Fatalf("the first pass verified %d policies and woke %d, want %d and none", verified, woken, many)
	}
	again := map[registry.Slot]bool{}
	for range verifyingPasses {
		verified, woken := k.pass()
		if verified > many/verifyingPasses*3/2 || woken > 0 {
			t.Errorf("a pass at rest verified %d of %d policies, and woke %d", verified, many, woken)
		}
		for slot := range k.store.verified {
			again[slot] = true
		}
	}
	if len(again) != many {
		t.Errorf("%d passes verified %d of %d policies", verifyingPasses, len(again), many)
	}
}

func TestFewPoliciesAreVerifiedEachTime(t *testing.T) {
	k := newKeeping(t, verifiedAtLeast)
	for range 3 {
		if verified, _ := k.pass(); verified != verifiedAtLeast {
			t.Errorf("verified %d of %d policies", verified, verifiedAtLeast)
		}
	}
}

func TestALostPolicyIsFoundInTheNextPass(t *testing.T) {
	k := newKeeping(t, 6000)
	k.pass()
	for _, slot := range k.slots {
		delete(k.store.hashes, slot)
		if _, woken := k.pass(); woken != 1 {
			t.Fatalf("the pass after the loss of %s woke %d policies, want 1", slot, woken)
		}
		k.store.hashes[slot] = "h"
		k.pass()
		if k.store.verified[slot] != 1 {
			t.Fatalf("%s was not verified once it was back", slot)
		}
		if slot.Module == "m30" {
			return // as many as take all turns
		}
	}
}

func TestAnEditIsFoundWhenItIsThePolicysTurn(t *testing.T) {
	const many = 6000
	k := newKeeping(t, many)
	k.pass()
	k.store.hashes[k.slots[7]] = "edited"
	for passes := 1; ; passes++ {
		_, woken := k.pass()
		if woken == 1 {
			break
		}
		if passes == verifyingPasses {
			t.Fatalf("%d passes did not find the edit", passes)
		}
	}
	// Those that were verified after it in the same pass need not be verified again.
	if verified, _ := k.pass(); verified < many-many/verifyingPasses*3/2 {
		t.Errorf("the pass after an edit was found verified %d of %d policies", verified, many)
	}
}

func TestOtherDataIsVerifiedAsAWhole(t *testing.T) {
	const many = 6000
	k := newKeeping(t, many)
	k.pass()
	for _, data := range []registry.Health{dataOf("two"), {Primaries: []registry.Primary{{}}}, {Primaries: []registry.Primary{{}}}} {
		k.health = data
		if verified, _ := k.pass(); verified != many {
			t.Errorf("verified %d of %d policies in data %+v", verified, many, data)
		}
	}
}
