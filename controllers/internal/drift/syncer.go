// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"context"
	"errors"
	"iter"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/convert"
	"github.com/cachewright/cachewright/controllers/internal/queue"
	"github.com/cachewright/cachewright/controllers/internal/resource"
	"github.com/cachewright/cachewright/controllers/internal/status"
	"github.com/cachewright/cachewright/registry"
)

// Policies are compared in pipelines of about hashBatchWeight. Redis takes about half a
// millisecond for each, and serves nobody else meanwhile. A policy weighs as much as its
// operations, and comparingWeight beside that.
const (
	hashBatchWeight = 500
	comparingWeight = 10
)

// Syncer finds the policies that a store lacks or has otherwise than they are wanted, and wakes
// them. They differ after FLUSHALL, on a fresh node, when Redis evicted them, or when somebody
// edited them.
type Syncer struct {
	SyncerConfig

	allInPlace bool // as the last Sync found
	verified   verified
}

// SyncerConfig is what a Syncer needs.
type SyncerConfig struct {
	Referrers resource.Referrers
	// Policies are woken when they are not in place.
	Policies queue.Enqueuer
	// Cluster is the first part of the owner of policies; empty: no policy is claimed.
	Cluster string
	Log     logr.Logger
}

// Store is what a Syncer needs of a store.
type Store interface {
	PolicyHashes(ctx context.Context, slots []registry.Slot) ([]string, error)
	HavePolicies(ctx context.Context, slots []registry.Slot) ([]bool, error)
	OwnPolicies(ctx context.Context, claims []registry.Claim) error
	AddAllModules(ctx context.Context, modules map[string][]string) error
}

// Target is a store as the last probe found it.
type Target struct {
	Store    Store
	Location status.Location
	Health   registry.Health
}

// Sync compares the store with all policies that are in force, in few round trips. It lists the
// modules that the store does not list, wakes the policies that are missing or differ, and renews
// claims. What cannot be read differs.
func (s *Syncer) Sync(ctx context.Context, target Target) error {
	store := target.Store
	policies, err := s.Referrers.Policies(ctx)
	if err != nil {
		return err
	}
	broken := registry.SlotErrors{}
	if err := broken.Take(store.AddAllModules(ctx, resource.GovernedModules(policies))); err != nil {
		return err
	}
	s.verified.begin(target.Health)
	due, others := s.verified.split(resource.InForce(policies))
	inPlace, err := s.detectLoss(ctx, store, others)
	if err := broken.Take(err); err != nil {
		return err
	}
	for batch := range hashBatches(due) {
		equal, err := s.detectDrift(ctx, store, batch)
		if err := broken.Take(err); err != nil {
			return err
		}
		inPlace += equal
	}
	s.reportInPlace(inPlace, resource.CountWanted(policies), target.Location)
	if err := broken.Take(s.renewClaims(ctx, store, policies)); err != nil {
		return err
	}
	return broken.OrNil()
}

// hashBatches cuts policies into batches of about hashBatchWeight.
func hashBatches(policies []*v1.CachePolicy) iter.Seq[[]*v1.CachePolicy] {
	return func(yield func([]*v1.CachePolicy) bool) {
		first, weight := 0, 0
		for i, policy := range policies {
			weight += comparingWeight + len(policy.Spec.Operations)
			if weight < hashBatchWeight && i < len(policies)-1 {
				continue
			}
			if !yield(policies[first : i+1]) {
				return
			}
			first, weight = i+1, 0
		}
	}
}

// detectLoss returns how many of the policies the store still has.
func (s *Syncer) detectLoss(
	ctx context.Context, store Store, policies []*v1.CachePolicy,
) (inPlace int, err error) {
	present, err := store.HavePolicies(ctx, resource.SlotsOf(policies))
	broken := registry.SlotErrors{}
	if err := broken.Take(err); err != nil {
		return 0, err
	}
	for i, policy := range policies {
		if !present[i] {
			s.verified.forget(policy)
		}
	}
	isPresent := func(i int) bool { return present[i] }
	return s.wakeOthers(ctx, policies, isPresent, broken), broken.OrNil()
}

// detectDrift returns how many of the policies the store has as they are wanted.
func (s *Syncer) detectDrift(
	ctx context.Context, store Store, policies []*v1.CachePolicy,
) (inPlace int, err error) {
	hashes, err := store.PolicyHashes(ctx, resource.SlotsOf(policies))
	broken := registry.SlotErrors{}
	if err := broken.Take(err); err != nil {
		return 0, err
	}
	isEqual := func(i int) bool { return hashes[i] == policies[i].Status.AppliedHash }
	for i, policy := range policies {
		s.verified.note(policy, isEqual(i))
	}
	return s.wakeOthers(ctx, policies, isEqual, broken), broken.OrNil()
}

// wakeOthers wakes the policies that are not in place, and returns how many are. Those whose
// primary is away have to wait for it, and those that retry alone need no help.
func (s *Syncer) wakeOthers(
	ctx context.Context, policies []*v1.CachePolicy, isInPlace func(int) bool,
	broken registry.SlotErrors,
) (inPlace int) {
	for i, policy := range policies {
		switch {
		case isInPlace(i):
			inPlace++
		case registry.ConcernsStore(broken[convert.Slot(policy)]) || resource.RetriesAlone(policy):
		default:
			s.Policies.Enqueue(ctx, client.ObjectKeyFromObject(policy))
		}
	}
	return inPlace
}

// reportInPlace logs that every policy is in place when that has become true.
func (s *Syncer) reportInPlace(inPlace, wanted int, at status.Location) {
	all := inPlace == wanted
	if all && !s.allInPlace {
		s.Log.Info("Every policy is in place", "at", at.Address, "policies", wanted)
	}
	s.allInPlace = all
}

// renewClaims renews the claims of the policies that are in force, where that is due, and wakes
// those whose module another owner has taken over. A suspended policy keeps its module, too.
func (s *Syncer) renewClaims(ctx context.Context, store Store, policies []v1.CachePolicy) error {
	var claims []registry.Claim
	claimants := map[registry.Slot]client.ObjectKey{}
	for i := range policies {
		policy := &policies[i]
		if policy.DeletionTimestamp.IsZero() && policy.Status.AppliedHash != "" && s.Cluster != "" {
			claims = append(claims, resource.ClaimOf(s.Cluster, policy))
			claimants[convert.Slot(policy)] = client.ObjectKeyFromObject(policy)
		}
	}
	if len(claims) == 0 {
		return nil
	}
	err := store.OwnPolicies(ctx, claims)
	var broken registry.SlotErrors
	if !errors.As(err, &broken) {
		return err
	}
	for slot, err := range broken {
		if _, contended := resource.Contender(err); contended {
			s.Policies.Enqueue(ctx, claimants[slot])
			delete(broken, slot)
		}
	}
	return broken.OrNil()
}
