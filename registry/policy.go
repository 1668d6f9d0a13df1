// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"time"

	"github.com/cachewright/cachewright/registry/internal/policydoc"
)

// Policy says how the operations of a module are cached. Durations are kept in milliseconds.
type Policy struct {
	// Revision invalidates the module each time it changes; up to 128 bytes. Empty: none.
	Revision string
	// DefaultTTL of operations that are not listed, at most 720h; nil or 0: they are not cached.
	DefaultTTL *time.Duration
	// SourceLag is for how long loads may read what was before an invalidation, at most MaxHold. For
	// so long after a hard invalidation, nothing that it covers is stored.
	SourceLag time.Duration
	// Operations with their own TTL, at most 256, by unique name.
	Operations []OperationPolicy
}

// OperationPolicy says how one operation is cached.
type OperationPolicy struct {
	// Name of the operation, 1 to 128 bytes.
	Name string
	// TTL of entries, at most 720h; 0 disables caching and invalidates what is cached.
	TTL time.Duration
	// StaleFor is how long after its TTL an entry may be served while one caller reloads it; at most
	// 720h. 0: not at all.
	StaleFor time.Duration
	// NegativeTTL of entries that say that the source has nothing; at most 720h. 0: they are not
	// stored.
	NegativeTTL time.Duration
	// JitterPercent shortens each TTL by a random share of up to this percentage, 0 to 50.
	JitterPercent int
	// Scope says whether the entries of the operation belong to users. Empty: ScopeAny.
	Scope OperationScope
	// MaxEntryBytes refuses larger payloads; at most 64 MiB. 0: 64 MiB.
	MaxEntryBytes int64
	// LocalTTL bounds how long applications keep entries in their own memory, at most 720h; 0: not at
	// all; nil: as the application is configured.
	LocalTTL *time.Duration
	// SourceLag of the operation; nil: that of the policy.
	SourceLag *time.Duration
}

// OperationScope says whether the entries of an operation belong to users. It is a string.
type OperationScope = policydoc.Scope

const (
	// ScopeAny allows shared entries and entries of a user.
	ScopeAny OperationScope = "Any"
	// ScopeUser refuses entries without a user.
	ScopeUser OperationScope = "User"
)

// TTL returns the TTL of an operation by this policy; 0: it is not cached.
func (p Policy) TTL(operation string) time.Duration {
	for _, o := range p.Operations {
		if o.Name == operation {
			return o.TTL
		}
	}
	if p.DefaultTTL != nil {
		return *p.DefaultTTL
	}
	return 0
}

// Hash identifies the content of the policy, as PolicyHashes returns it.
func (p Policy) Hash() string { return p.document().Hash() }

func (p Policy) document() policydoc.Policy {
	document := policydoc.Policy{
		Revision: p.Revision, DefaultTTL: p.DefaultTTL, SourceLag: p.SourceLag,
	}
	for _, operation := range p.Operations {
		document.Operations = append(document.Operations, policydoc.Operation(operation))
	}
	return document
}

func policyOf(document policydoc.Policy) Policy {
	policy := Policy{
		Revision: document.Revision, DefaultTTL: document.DefaultTTL, SourceLag: document.SourceLag,
	}
	for _, operation := range document.Operations {
		policy.Operations = append(policy.Operations, OperationPolicy(operation))
	}
	return policy
}

// Applied is the result of ApplyPolicy.
type Applied struct {
	// Changed says that another policy, or none, was in force before.
	Changed bool
	// Purged says that a changed revision invalidated the module.
	Purged bool
}

// ApplyPolicy puts a policy in force, from the next fill on. It invalidates operations that are no
// longer cached. If a TTL was lowered, it shortens entries, large numbers of them through Reclaim.
// ErrRejected says which field is wrong; then nothing changed. It ignores the owner of the policy:
// see ApplyPolicyFor.
func (r *Registry) ApplyPolicy(ctx context.Context, slot Slot, policy Policy) (Applied, error) {
	return r.ApplyPolicyFor(ctx, Claim{Slot: slot}, policy)
}

// Policy returns the policy in force, and whether there is one.
func (r *Registry) Policy(ctx context.Context, slot Slot) (Policy, bool, error) {
	document, found, err := r.policies.Get(ctx, slot)
	return policyOf(document), found, err
}

// PolicyHashes returns the Hash of the policy in force in each slot, in a round trip per 25 of them
// (and node of a cluster). A hash is empty if there is no policy, or if somebody edited it or
// restored only a part. SlotErrors are of slots whose hash cannot be read, for example because a
// key has another type.
func (r *Registry) PolicyHashes(ctx context.Context, slots []Slot) ([]string, error) {
	return r.policies.Hashes(ctx, slots)
}

// HavePolicies says of each slot whether it has a policy, whatever that is. It asks in a round trip
// per 500 of them (and node of a cluster), and takes Redis a hundredth of the time of PolicyHashes.
// Nothing that it asks for counts as used when Redis evicts. SlotErrors are of slots that the user
// may not read.
func (r *Registry) HavePolicies(ctx context.Context, slots []Slot) ([]bool, error) {
	return r.policies.Present(ctx, slots)
}

// DeletePolicy deletes the policy and the counters of the module, invalidates the module, and says
// whether there was a policy.
func (r *Registry) DeletePolicy(ctx context.Context, slot Slot) (bool, error) {
	return r.DeletePolicyFor(ctx, Claim{Slot: slot})
}
