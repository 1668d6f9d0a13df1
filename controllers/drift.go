// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"iter"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/registry"
)

// Policies are compared in pipelines of so much weight: Redis takes about half a millisecond for each, in which nobody else
// is served. A policy weighs as much as its operations, and comparing weight beside that.
const (
	hashBatchWeight = 500
	comparingWeight = 10
	// hashBatch is for policies whose operations are not known.
	hashBatch = hashBatchWeight / (2 * comparingWeight)
)

// wakeStore wakes the CacheStore itself.
func (m *Monitor) wakeStore(ctx context.Context) {
	if m.id != defaultStore {
		m.stores.wake(ctx, m.id)
	}
}

// wakeAll wakes every policy of the store, and every purge of it that is not finished.
func (m *Monitor) wakeAll(ctx context.Context) {
	policies, err := m.listPolicies(ctx)
	if err != nil {
		m.Log.Error(err, "Policies were not told of a change of Redis, they look again by themselves")
	}
	for i := range policies {
		m.policies.wake(ctx, client.ObjectKeyFromObject(&policies[i]))
	}
	invalidations := &v1.CacheInvalidationList{}
	if err := m.Reader.List(ctx, invalidations, append(ofStore(m.id), readOnly)...); err != nil {
		m.Log.Error(err, "Invalidations were not told of a change of Redis, they look again by themselves")
	}
	for i := range invalidations.Items {
		if !finished(&invalidations.Items[i]) {
			m.invalidations.wake(ctx, client.ObjectKeyFromObject(&invalidations.Items[i]))
		}
	}
}

// mend compares the store with the policies in force, in few round trips, and wakes those that are missing or differ:
// after FLUSHALL, on a fresh node, when Redis evicted them, or when somebody edited them. What cannot be read differs.
func (m *Monitor) mend(ctx context.Context) error {
	policies, err := m.listPolicies(ctx)
	if err != nil {
		return err
	}
	broken := registry.SlotErrors{}
	if err := broken.Take(m.link.store.AddAllModules(ctx, governedModules(policies))); err != nil {
		return err
	}
	inPlace := 0
	for batch := range hashBatches(inForce(policies)) {
		equal, err := m.mendBatch(ctx, batch)
		if err := broken.Take(err); err != nil {
			return err
		}
		inPlace += equal
	}
	m.tellInPlace(inPlace, wanted(policies))
	if err := broken.Take(m.renewClaims(ctx, policies)); err != nil {
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

// mendBatch returns how many of the policies the store has as they are wanted.
func (m *Monitor) mendBatch(ctx context.Context, policies []*v1.CachePolicy) (inPlace int, err error) {
	hashes, err := m.link.store.PolicyHashes(ctx, slotsOf(policies))
	broken := registry.SlotErrors{}
	if err := broken.Take(err); err != nil {
		return 0, err
	}
	for i, policy := range policies {
		switch {
		case hashes[i] == policy.Status.AppliedHash:
			inPlace++
		case registry.ConcernsStore(broken[slotOf(policy)]) || looksByItself(policy):
		default:
			m.policies.wake(ctx, client.ObjectKeyFromObject(policy))
		}
	}
	return inPlace, broken.OrNil()
}

// looksByItself says that a policy met trouble with its store, and looks again by itself, at longer and longer intervals.
func looksByItself(policy *v1.CachePolicy) bool {
	return meta.IsStatusConditionFalse(policy.Status.Conditions, v1.ConditionReady)
}

// tellInPlace logs that every policy is in place when that has become so.
func (m *Monitor) tellInPlace(inPlace, wanted int) {
	all := inPlace == wanted
	if all && !m.allInPlace {
		m.Log.Info("Every policy is in place", "at", m.place.address, "policies", wanted)
	}
	m.allInPlace = all
}

// wanted counts the policies that the store should have, but for those that wait for a person.
func wanted(policies []v1.CachePolicy) int {
	count := 0
	for i := range policies {
		if wantsStore(&policies[i]) {
			count++
		}
	}
	return count
}

func wantsStore(policy *v1.CachePolicy) bool {
	return policy.DeletionTimestamp.IsZero() && !policy.Spec.Suspend &&
		!meta.IsStatusConditionTrue(policy.Status.Conditions, v1.ConditionStalled)
}

// listPolicies returns the policies of the store, which are not to be changed: they are the cache's own.
func (m *Monitor) listPolicies(ctx context.Context) ([]v1.CachePolicy, error) {
	policies := &v1.CachePolicyList{}
	if err := m.Reader.List(ctx, policies, append(ofStore(m.id), readOnly)...); err != nil {
		return nil, fmt.Errorf("listing policies: %w", err)
	}
	return policies.Items, nil
}

// governedModules lists the modules of each namespace.
func governedModules(policies []v1.CachePolicy) map[string][]string {
	modules := map[string][]string{}
	for _, policy := range policies {
		if policy.DeletionTimestamp.IsZero() {
			modules[policy.Namespace] = append(modules[policy.Namespace], policy.Spec.Module)
		}
	}
	return modules
}

// inForce selects policies whose status says that the store has them. Others are on their way,
// wait for a person, or want nothing of the store.
func inForce(policies []v1.CachePolicy) []*v1.CachePolicy {
	var selected []*v1.CachePolicy
	for i := range policies {
		policy := &policies[i]
		if wantsStore(policy) && policy.Status.ObservedGeneration == policy.Generation && policy.Status.AppliedHash != "" {
			selected = append(selected, policy)
		}
	}
	return selected
}
