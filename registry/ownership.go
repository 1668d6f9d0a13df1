// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"

	"github.com/cachewright/cachewright/registry/internal/policies"
)

// MaxOwnerBytes bounds the name of an owner.
const MaxOwnerBytes = policies.MaxOwnerBytes

// Claim names the owner that writes, renews or deletes the policy of a slot. An owner holds a
// policy for a day after its last claim. A claim that meets another owner changes nothing and fails
// with a ContendedError.
type Claim struct {
	Slot

	// Owner that claims the policy: 1 to 512 printable ASCII characters without spaces. Empty: the
	// call claims nothing, and ignores the present owner.
	Owner string
	// Over names another owner that loses the policy to this claim. Empty: none.
	Over string
}

// ContendedError says that the policy of a slot belongs to another owner, and that the call changed
// nothing. It is a struct with the Slot and the Owner of the policy, as in Claim. Anyone who may
// write to Redis can have forged the owner. Use errors.As with a
// *ContendedError.
type ContendedError = policies.ContendedError

// ApplyPolicyFor is ApplyPolicy for an owner. It claims the policy in the same step.
func (r *Registry) ApplyPolicyFor(
	ctx context.Context, claim Claim, policy Policy,
) (Applied, error) {
	applied, err := r.policies.Apply(ctx, policies.Claim(claim), policy.document())
	return Applied(applied), err
}

// DeletePolicyFor is DeletePolicy for an owner. It leaves a policy alone that belongs to another.
func (r *Registry) DeletePolicyFor(ctx context.Context, claim Claim) (bool, error) {
	return r.policies.Delete(ctx, policies.Claim(claim))
}

// OwnPolicies claims policies, or renews claims, and changes nothing else, in a round trip per 50
// of them (and node of a cluster). It skips claims without an owner. SlotErrors are of slots where
// it failed: a ContendedError if the policy belongs to another owner.
func (r *Registry) OwnPolicies(ctx context.Context, claims []Claim) error {
	all := make([]policies.Claim, len(claims))
	for i, claim := range claims {
		all[i] = policies.Claim(claim)
	}
	return r.policies.Own(ctx, all)
}
