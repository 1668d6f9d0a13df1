// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// MaxOwnerBytes bounds the name of an owner.
const MaxOwnerBytes = 512

// Claim says for whom the policy of a slot is written, renewed or withdrawn. An owner holds a policy for a day after it last
// claimed it; a claim that meets another owner changes nothing and fails with a ContendedError.
type Claim struct {
	Slot

	// Owner who claims the policy: 1 to 512 printable ASCII characters without spaces. Empty: nobody claims it, and the call
	// does not ask whose it is.
	Owner string
	// Over names another owner, who loses the policy to this claim. Empty: none.
	Over string
}

// arguments of the library's calls.
func (c Claim) arguments() []any {
	if c.Owner == "" {
		return nil
	}
	return []any{c.Owner, c.Over}
}

// ContendedError says that the policy of a slot is another's, and that the call changed nothing.
type ContendedError struct {
	Slot Slot
	// Owner of the policy: as in Claim. Whoever may write to Redis can have made it up.
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

// contended is the error of a call that was answered with the name of another owner.
func contended(call string, slot Slot, owner any) error {
	text, _ := owner.(string)
	if !isOwner(text) {
		return unexpected(call, slot, owner)
	}
	return &ContendedError{Slot: slot, Owner: text}
}

// ApplyPolicyFor is ApplyPolicy for an owner: in the same step it claims the policy.
func (r *Registry) ApplyPolicyFor(ctx context.Context, claim Claim, policy Policy) (Applied, error) {
	const call = "cw_policy_apply"
	reply, err := r.call(ctx, call, claim.Slot, append([]any{policy.document()}, claim.arguments()...)...)
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

// DeletePolicyFor is DeletePolicy for an owner: what belongs to another stays.
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

// OwnPolicies claims policies, or renews claims, in one pipeline, and changes nothing else. SlotErrors are of slots where
// that failed, with a ContendedError where the policy is another's. Claims without an owner are left out.
func (r *Registry) OwnPolicies(ctx context.Context, claims []Claim) error {
	owned := make([]Claim, 0, len(claims))
	for _, claim := range claims {
		if claim.Owner != "" {
			owned = append(owned, claim)
		}
	}
	if len(owned) == 0 {
		return nil
	}
	return r.withLibrary(ctx, func() error { return r.ownPolicies(ctx, owned) })
}

func (r *Registry) ownPolicies(ctx context.Context, claims []Claim) error {
	const call = "cw_policy_own"
	replies := make([]*redis.Cmd, len(claims))
	err := unsent(r.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, claim := range claims {
			replies[i] = pipe.FCall(ctx, call, []string{claim.key()}, claim.arguments()...)
		}
		return nil
	}))
	if err != nil {
		return classified("claiming policies", err)
	}
	broken := SlotErrors{}
	for i, claim := range claims {
		switch owner, err := replies[i].Result(); {
		case isFunctionMissing(err):
			return noLibrary(call, claim.Slot)
		case errors.Is(err, redis.Nil):
		case err != nil:
			broken[claim.Slot] = callError(call, claim.Slot, err)
		default:
			broken[claim.Slot] = contended(call, claim.Slot, owner)
		}
	}
	return broken.of(len(claims))
}
