// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package convert

import (
	"cmp"
	"slices"
	"strings"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/registry"
)

// Slot returns the slot of a policy's module.
func Slot(policy *v1.CachePolicy) registry.Slot {
	return registry.Slot{Namespace: policy.Namespace, Module: policy.Spec.Module}
}

// Policy returns the policy that a spec declares.
func Policy(spec *v1.CachePolicySpec) registry.Policy {
	policy := registry.Policy{Revision: spec.Revision}
	if spec.DefaultTTL != nil {
		policy.DefaultTTL = &spec.DefaultTTL.Duration
	}
	if spec.SourceLag != nil {
		policy.SourceLag = spec.SourceLag.Duration
	}
	for _, operation := range spec.Operations {
		policy.Operations = append(policy.Operations, operationOf(operation))
	}
	// The order in a manifest means nothing, so it must not change the hash either.
	slices.SortFunc(policy.Operations, func(a, b registry.OperationPolicy) int {
		return cmp.Compare(a.Name, b.Name)
	})
	return policy
}

// WithoutSourceLag returns a policy for a function library that knows no source lag, and whether it
// differs. The operations may be changed.
func WithoutSourceLag(policy registry.Policy) (without registry.Policy, differs bool) {
	differs = policy.SourceLag != 0
	policy.SourceLag = 0
	for i := range policy.Operations {
		differs = differs || policy.Operations[i].SourceLag != nil
		policy.Operations[i].SourceLag = nil
	}
	return policy, differs
}

func operationOf(operation v1.OperationPolicy) registry.OperationPolicy {
	o := registry.OperationPolicy{
		Name:          operation.Name,
		TTL:           operation.TTL.Duration,
		JitterPercent: int(operation.JitterPercent),
	}
	if operation.Scope == v1.ScopeUser {
		o.Scope = registry.ScopeUser
	}
	if operation.StaleFor != nil {
		o.StaleFor = operation.StaleFor.Duration
	}
	if operation.NegativeTTL != nil {
		o.NegativeTTL = operation.NegativeTTL.Duration
	}
	if operation.LocalTTL != nil {
		o.LocalTTL = &operation.LocalTTL.Duration
	}
	if operation.SourceLag != nil {
		o.SourceLag = &operation.SourceLag.Duration
	}
	if operation.MaxEntryBytes != nil {
		o.MaxEntryBytes = *operation.MaxEntryBytes
	}
	return o
}

// Scope returns what a target covers in each of its modules.
func Scope(target v1.InvalidationTarget) registry.Scope {
	return registry.Scope{Operation: target.Operation, User: target.UserID}
}

// HoldTargets returns what a hold of these targets covers in one module.
func HoldTargets(module string, targets []v1.InvalidationTarget) []registry.HoldTarget {
	var covered []registry.HoldTarget
	for _, target := range targets {
		if target.Module == "" || target.Module == module {
			covered = append(covered, registry.HoldScope(Scope(target)))
		}
	}
	return covered
}

// Mode returns the mode of an invalidation.
func Mode(spec v1.CacheInvalidationSpec) registry.Mode {
	switch {
	case spec.DryRun:
		return registry.ModeDry
	case spec.Mode == v1.ModeSoft:
		return registry.ModeSoft
	default:
		return registry.ModeHard
	}
}

// RiskReasons are the reasons of AtRisk.
var RiskReasons = map[registry.WarningKind]string{
	registry.WarnNotPrimary:       v1.ReasonNotPrimary,
	registry.WarnMemoryFull:       v1.ReasonMemoryFull,
	registry.WarnReplicaLags:      v1.ReasonReplicaLags,
	registry.WarnLossUnseen:       v1.ReasonLossUnseen,
	registry.WarnRestoresOldState: v1.ReasonRestoresOldState,
}

// WarningMessage joins the messages of warnings.
func WarningMessage(warnings []registry.Warning) string {
	messages := make([]string, len(warnings))
	for i, warning := range warnings {
		messages[i] = warning.Message
	}
	return strings.Join(messages, ". ")
}
