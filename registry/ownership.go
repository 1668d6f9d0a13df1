// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"
)

// MaxOwnerBytes bounds the name of an owner.
const MaxOwnerBytes = 512

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

// arguments of the library's functions.
func (c Claim) arguments() []any {
	if c.Owner == "" {
		return nil
	}
	return []any{c.Owner, c.Over}
}

// ContendedError says that the policy of a slot belongs to another owner, and that the call changed
// nothing.
type ContendedError struct {
	Slot Slot
	// Owner of the policy, as in Claim. Anyone who may write to Redis can have forged it.
	Owner string
}

// Error implements error.
func (e *ContendedError) Error() string {
	return fmt.Sprintf("the policy of %s belongs to another owner, %s", e.Slot, e.Owner)
}

// isOwner says whether a text can name an owner.
func isOwner(text string) bool {
	for i := range len(text) {
		if text[i] <= ' ' || text[i] > '~' {
			return false
		}
	}
	return text != "" && len(text) <= MaxOwnerBytes
}

// contended is the error of a call whose answer is the name of another owner.
func contended(call string, slot Slot, owner any) error {
	text, _ := owner.(string)
	if !isOwner(text) {
		return unexpected(call, slot, owner)
	}
	return &ContendedError{Slot: slot, Owner: text}
}

// ApplyPolicyFor is ApplyPolicy for an owner. It claims the policy in the same step.
func (r *Registry) ApplyPolicyFor(
	ctx context.Context, claim Claim, policy Policy,
) (Applied, error) {
	const call = "cw_policy_apply"
	reply, err := r.call(ctx, call, claim.Slot, append([]any{policy.document()},
		claim.arguments()...)...)
	if err != nil {
		return Applied{}, err
	}
	if fields, _ := reply.([]any); len(fields) == 3 { //nolint:mnd // -1, 0 and the other owner
		return Applied{}, contended(call, claim.Slot, fields[2])
	}
	changed, purged, err := pair(call, claim.Slot, reply)
	if err != nil {
		return Applied{}, err
	}
	applied := Applied{Changed: changed == 1, Purged: purged == 1}
	return applied, r.AddModules(ctx, claim.Namespace, claim.Module)
}

// DeletePolicyFor is DeletePolicy for an owner. It leaves a policy alone that belongs to another.
func (r *Registry) DeletePolicyFor(ctx context.Context, claim Claim) (bool, error) {
	const call = "cw_policy_delete"
	reply, err := r.call(ctx, call, claim.Slot, claim.arguments()...)
	if err != nil {
		return false, err
	}
	existed, isNumber := reply.(int64)
	if !isNumber {
		return false, contended(call, claim.Slot, reply)
	}
	return existed == 1, r.removeModule(ctx, claim.Slot)
}

// claimBatch is the number of claims in one pipeline, during which other clients wait: less than a
// millisecond.
const claimBatch = 50

// OwnPolicies claims policies, or renews claims, and changes nothing else, in a round trip per 50
// of them (and node of a cluster). It skips claims without an owner. SlotErrors are of slots where
// it failed: a ContendedError if the policy belongs to another owner.
func (r *Registry) OwnPolicies(ctx context.Context, claims []Claim) error {
	const call = "cw_policy_own"
	owned := slices.DeleteFunc(slices.Clone(claims), func(claim Claim) bool {
		return claim.Owner == ""
	})
	send := func(pipe redis.Pipeliner, claim Claim) *redis.Cmd {
		return pipe.FCall(ctx, call, []string{claim.key()}, claim.arguments()...)
	}
	return callEach(ctx, r, call, owned, claimBatch, send, func(i int, reply *redis.Cmd) error {
		if other := reply.Val(); other != nil {
			return contended(call, owned[i].Slot, other)
		}
		return nil
	})
}
