// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"cmp"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/convert"
	"github.com/cachewright/cachewright/registry"
)

// Governing returns the policy that governs, of those for one module of one namespace. It is the
// oldest that is not being deleted; nil if there is none.
func Governing(policies []v1.CachePolicy) *v1.CachePolicy {
	isDeleted := func(p v1.CachePolicy) bool { return !p.DeletionTimestamp.IsZero() }
	staying := slices.DeleteFunc(slices.Clone(policies), isDeleted)
	if len(staying) == 0 {
		return nil
	}
	oldest := slices.MinFunc(staying, compareAge)
	return &oldest
}

// compareAge orders policies by age. Creation times are whole seconds, so names decide between
// those of one second.
func compareAge(a, b v1.CachePolicy) int {
	return cmp.Or(
		a.CreationTimestamp.Compare(b.CreationTimestamp.Time),
		cmp.Compare(a.Name, b.Name),
		cmp.Compare(a.UID, b.UID),
	)
}

// InForce selects the policies whose status says that the store has them. Others are on their
// way, wait for a person, or want nothing of the store.
func InForce(policies []v1.CachePolicy) []*v1.CachePolicy {
	var selected []*v1.CachePolicy
	for i := range policies {
		policy := &policies[i]
		if wantsStore(policy) && policy.Status.ObservedGeneration == policy.Generation &&
			policy.Status.AppliedHash != "" {
			selected = append(selected, policy)
		}
	}
	return selected
}

// CountWanted counts the policies that the store should have, without those that wait for a person.
func CountWanted(policies []v1.CachePolicy) int {
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

// RetriesAlone reports whether a policy met trouble with its store, and so is tried again at
// growing intervals without being woken.
func RetriesAlone(policy *v1.CachePolicy) bool {
	return meta.IsStatusConditionFalse(policy.Status.Conditions, v1.ConditionReady)
}

// GovernedModules lists the modules of each namespace.
func GovernedModules(policies []v1.CachePolicy) map[string][]string {
	modules := map[string][]string{}
	for _, policy := range policies {
		if policy.DeletionTimestamp.IsZero() {
			modules[policy.Namespace] = append(modules[policy.Namespace], policy.Spec.Module)
		}
	}
	return modules
}

// ByModule groups policies by module.
func ByModule(policies []v1.CachePolicy) map[string][]v1.CachePolicy {
	grouped := map[string][]v1.CachePolicy{}
	for _, policy := range policies {
		grouped[policy.Spec.Module] = append(grouped[policy.Spec.Module], policy)
	}
	return grouped
}

// ModulesOf lists the modules of policies, sorted.
func ModulesOf(policies []v1.CachePolicy) []string {
	var modules []string
	for _, policy := range policies {
		modules = append(modules, policy.Spec.Module)
	}
	slices.Sort(modules)
	return slices.Compact(modules)
}

// SlotsOf lists the slots of policies, in their order.
func SlotsOf(policies []*v1.CachePolicy) []registry.Slot {
	slots := make([]registry.Slot, len(policies))
	for i, policy := range policies {
		slots[i] = convert.Slot(policy)
	}
	return slots
}

// SlotsUnder lists the slots of policies, each once and sorted.
func SlotsUnder(policies []v1.CachePolicy) []registry.Slot {
	slots := make([]registry.Slot, len(policies))
	for i := range policies {
		slots[i] = convert.Slot(&policies[i])
	}
	return Distinct(slots)
}

// Distinct sorts slots and drops duplicates.
func Distinct(slots []registry.Slot) []registry.Slot {
	slices.SortFunc(slots, func(a, b registry.Slot) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Module, b.Module))
	})
	return slices.Compact(slots)
}
