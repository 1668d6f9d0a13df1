// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package policies puts the policies of slots in force, and reads and deletes them. Owners claim
// them.
package policies

import (
	"context"
	"errors"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/registry/internal/keyspace"
	"github.com/cachewright/cachewright/registry/internal/library"
	"github.com/cachewright/cachewright/registry/internal/modules"
	"github.com/cachewright/cachewright/registry/internal/parse"
	"github.com/cachewright/cachewright/registry/internal/policydoc"
	"github.com/cachewright/cachewright/registry/internal/sloterr"
)

// Policies are those in one Redis.
type Policies struct {
	library *library.Library
	modules *modules.Lists
}

// New returns the policies of a Redis, and lists their modules.
func New(lib *library.Library, lists *modules.Lists) *Policies {
	return &Policies{library: lib, modules: lists}
}

// Applied is the result of Apply. Its fields are those of registry.Applied.
type Applied struct {
	Changed bool
	Purged  bool
}

// Apply puts a policy in force and claims it.
func (p *Policies) Apply(
	ctx context.Context, claim Claim, policy policydoc.Policy,
) (Applied, error) {
	const call = "cw_policy_apply"
	arguments := append([]any{policy.Document()}, claim.arguments()...)
	reply, err := p.library.Call(ctx, call, claim.Slot, arguments...)
	if err != nil {
		return Applied{}, err
	}
	if fields, _ := reply.([]any); len(fields) == 3 { //nolint:mnd // -1, 0 and the other owner
		return Applied{}, contended(call, claim.Slot, fields[2])
	}
	changed, purged, err := parse.Pair(call, claim.Slot, reply)
	if err != nil {
		return Applied{}, err
	}
	applied := Applied{Changed: changed == 1, Purged: purged == 1}
	return applied, p.modules.Add(ctx, claim.Namespace, claim.Module)
}

// Get returns the policy in force, and whether there is one.
func (p *Policies) Get(
	ctx context.Context, slot keyspace.Slot,
) (policy policydoc.Policy, found bool, err error) {
	const call = "cw_policy_get"
	reply, err := p.library.Call(ctx, call, slot)
	if errors.Is(err, redis.Nil) {
		return policydoc.Policy{}, false, nil
	}
	if err != nil {
		return policydoc.Policy{}, false, err
	}
	text, isText := reply.(string)
	if !isText {
		return policydoc.Policy{}, false, sloterr.Unexpected(call, slot, reply)
	}
	policy, isPolicy := policydoc.Parse(text)
	if !isPolicy {
		return policydoc.Policy{}, false, sloterr.Implausible(call, slot, "not a policy")
	}
	return policy, true, nil
}

// hashBatch is the number of slots in one pipeline, during which other clients wait. The time grows
// with the number of operations in the policies: half a millisecond if these have ten each.
const hashBatch = 25

// Hashes returns the hash of the policy in force in each slot; empty: there is none.
func (p *Policies) Hashes(ctx context.Context, slots []keyspace.Slot) ([]string, error) {
	const call = "cw_policy_hash"
	hashes := make([]string, len(slots))
	err := library.Calls[keyspace.Slot]{
		Function: call, Items: slots, InPipeline: hashBatch,
		Send: func(pipe redis.Pipeliner, slot keyspace.Slot) *redis.Cmd {
			return pipe.FCallRO(ctx, call, []string{keyspace.SlotKey(slot)})
		},
		Receive: func(i int, reply *redis.Cmd) error {
			hash, err := reply.Text()
			switch {
			case errors.Is(err, redis.Nil):
			case err != nil:
				return sloterr.Call(call, slots[i], err)
			case !parse.IsPolicyHash(hash):
				return sloterr.Implausible(call, slots[i], "not a hash")
			default:
				hashes[i] = hash
			}
			return nil
		},
	}.Each(ctx, p.library)
	if sloterr.IsOfAll(err) {
		return nil, err
	}
	return hashes, err
}

// Delete deletes a policy and says whether there was one. It leaves a policy alone that belongs to
// another owner.
func (p *Policies) Delete(ctx context.Context, claim Claim) (bool, error) {
	const call = "cw_policy_delete"
	reply, err := p.library.Call(ctx, call, claim.Slot, claim.arguments()...)
	if err != nil {
		return false, err
	}
	existed, isNumber := reply.(int64)
	if !isNumber {
		return false, contended(call, claim.Slot, reply)
	}
	return existed == 1, p.modules.Remove(ctx, claim.Slot)
}

// claimBatch is the number of claims in one pipeline, during which other clients wait: less than a
// millisecond.
const claimBatch = 50

// Own claims policies, or renews claims, and changes nothing else. It skips claims without an
// owner.
func (p *Policies) Own(ctx context.Context, claims []Claim) error {
	const call = "cw_policy_own"
	owned := slices.DeleteFunc(slices.Clone(claims), func(claim Claim) bool {
		return claim.Owner == ""
	})
	return library.Calls[Claim]{
		Function: call, Items: owned, InPipeline: claimBatch,
		Send: func(pipe redis.Pipeliner, claim Claim) *redis.Cmd {
			return pipe.FCall(ctx, call, []string{keyspace.SlotKey(claim.Slot)}, claim.arguments()...)
		},
		Receive: func(i int, reply *redis.Cmd) error {
			if other := reply.Val(); other != nil {
				return contended(call, owned[i].Slot, other)
			}
			return nil
		},
	}.Each(ctx, p.library)
}
