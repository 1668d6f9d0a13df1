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
	OwnPolicies(ctx context.Context, claims []registry.Claim) error
	AddAllModules(ctx context.Context, modules map[string][]string) error
}

// Sync compares the store with all policies that are in force, in few round trips. It lists the
// modules that the store does not list, wakes the policies that are missing or differ, and renews
// claims. What cannot be read differs.
func (s *Syncer) Sync(ctx context.Context, store Store, at status.Location) error {
	policies, err := s.Referrers.Policies(ctx)
	if err != nil {
		return err
	}
	broken := registry.SlotErrors{}
	if err := broken.Take(store.AddAllModules(ctx, resource.GovernedModules(policies))); err != nil {
		return err
	}
	inPlace := 0
	for batch := range hashBatches(resource.InForce(policies)) {
		equal, err := s.detectDrift(ctx, store, batch)
		if err := broken.Take(err); err != nil {
			return err
		}
		inPlace += equal
	}
	s.reportInPlace(inPlace, resource.CountWanted(policies), at)
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

// detectDrift returns how many of the policies the store has as they are wanted.
func (s *Syncer) detectDrift(
	ctx context.Context, store Store, policies []*v1.CachePolicy,
) (inPlace int, err error) {
	hashes, err := store.PolicyHashes(ctx, resource.SlotsOf(policies))
	broken := registry.SlotErrors{}
	if err := broken.Take(err); err != nil {
		return 0, err
	}
	for i, policy := range policies {
		switch {
		case hashes[i] == policy.Status.AppliedHash:
			inPlace++
		case registry.ConcernsStore(broken[convert.Slot(policy)]) || resource.RetriesAlone(policy):
		default:
			s.Policies.Enqueue(ctx, client.ObjectKeyFromObject(policy))
		}
	}
	return inPlace, broken.OrNil()
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
