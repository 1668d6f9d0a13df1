// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"crypto/sha1" //nolint:gosec // names content, as Redis' own redis.sha1hex does; guards nothing
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
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

// OperationScope says whether the entries of an operation belong to users.
type OperationScope string

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
func (p Policy) Hash() string {
	sum := sha1.Sum(p.document()) //nolint:gosec // see the import
	return hex.EncodeToString(sum[:])
}

// policyDocument is the JSON of the protocol.
type policyDocument struct {
	Revision     string              `json:"revision,omitempty"`
	DefaultTTLMs *int64              `json:"defaultTtlMs,omitempty"`
	SourceLagMs  int64               `json:"sourceLagMs,omitempty"`
	Operations   []operationDocument `json:"operations,omitempty"`
}

type operationDocument struct {
	Name          string         `json:"name"`
	TTLMs         int64          `json:"ttlMs"`
	StaleForMs    int64          `json:"staleForMs,omitempty"`
	NegativeTTLMs int64          `json:"negativeTtlMs,omitempty"`
	JitterPercent int            `json:"jitterPercent,omitempty"`
	Scope         OperationScope `json:"scope,omitempty"`
	MaxEntryBytes int64          `json:"maxEntryBytes,omitempty"`
	LocalTTLMs    *int64         `json:"localTtlMs,omitempty"`
	SourceLagMs   *int64         `json:"sourceLagMs,omitempty"`
}

func (p Policy) document() []byte {
	document := policyDocument{Revision: p.Revision, SourceLagMs: wholeMilliseconds(p.SourceLag)}
	document.DefaultTTLMs = optional(p.DefaultTTL, wholeMilliseconds)
	for _, o := range p.Operations {
		document.Operations = append(document.Operations, operationDocument{
			Name:          o.Name,
			TTLMs:         wholeMilliseconds(o.TTL),
			StaleForMs:    wholeMilliseconds(o.StaleFor),
			NegativeTTLMs: wholeMilliseconds(o.NegativeTTL),
			JitterPercent: o.JitterPercent,
			Scope:         o.Scope,
			MaxEntryBytes: o.MaxEntryBytes,
			LocalTTLMs:    optional(o.LocalTTL, wholeMilliseconds),
			SourceLagMs:   optional(o.SourceLag, wholeMilliseconds),
		})
	}
	text, err := json.Marshal(document)
	if err != nil { // strings and integers always marshal
		panic("registry: marshalling a policy: " + err.Error())
	}
	return text
}

// wholeMilliseconds rounds up: half a millisecond must not become 0, which disables caching.
func wholeMilliseconds(d time.Duration) int64 {
	return int64((d + time.Millisecond - 1) / time.Millisecond)
}

// optional converts a value that may be nil.
func optional[From, To any](value *From, convert func(From) To) *To {
	if value == nil {
		return nil
	}
	return new(convert(*value))
}

// parsePolicy parses a document, which somebody may have edited in Redis.
func parsePolicy(text string) (policy Policy, ok bool) {
	var document policyDocument
	if err := json.Unmarshal([]byte(text), &document); err != nil || !document.isPlausible() {
		return Policy{}, false
	}
	policy = Policy{
		Revision: document.Revision, DefaultTTL: optional(document.DefaultTTLMs, milliseconds),
		SourceLag: milliseconds(document.SourceLagMs),
	}
	for _, o := range document.Operations {
		policy.Operations = append(policy.Operations, OperationPolicy{
			Name:          o.Name,
			TTL:           milliseconds(o.TTLMs),
			StaleFor:      milliseconds(o.StaleForMs),
			NegativeTTL:   milliseconds(o.NegativeTTLMs),
			JitterPercent: o.JitterPercent,
			Scope:         o.Scope,
			MaxEntryBytes: o.MaxEntryBytes,
			LocalTTL:      optional(o.LocalTTLMs, milliseconds),
			SourceLag:     optional(o.SourceLagMs, milliseconds),
		})
	}
	return policy, true
}

func (d policyDocument) isPlausible() bool {
	if len(d.Operations) > maxOperations || len(d.Revision) > maxNameBytes ||
		!isTTL(d.DefaultTTLMs) || !isTTL(&d.SourceLagMs) {
		return false
	}
	return !slices.ContainsFunc(d.Operations, func(o operationDocument) bool {
		return !isOperationName(o.Name) || !isTTL(&o.TTLMs) || !isTTL(&o.StaleForMs) ||
			!isTTL(&o.NegativeTTLMs) || !isTTL(o.LocalTTLMs) || !isTTL(o.SourceLagMs) ||
			o.JitterPercent < 0 || o.JitterPercent > maxJitterPercent || !isCount(o.MaxEntryBytes)
	})
}

// isTTL says whether a number of milliseconds can be a TTL; nil: there is none.
func isTTL(ms *int64) bool { return ms == nil || *ms >= 0 && *ms <= maxTTL.Milliseconds() }

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
	reply, err := r.call(ctx, "cw_policy_get", slot)
	if errors.Is(err, redis.Nil) {
		return Policy{}, false, nil
	}
	if err != nil {
		return Policy{}, false, err
	}
	text, isText := reply.(string)
	if !isText {
		return Policy{}, false, unexpected("cw_policy_get", slot, reply)
	}
	policy, isPolicy := parsePolicy(text)
	if !isPolicy {
		return Policy{}, false, implausible("cw_policy_get", slot, "not a policy")
	}
	return policy, true, nil
}

// hashBatch is the number of slots in one pipeline, during which other clients wait. The time grows
// with the number of operations in the policies: half a millisecond if these have ten each.
const hashBatch = 25

// PolicyHashes returns the Hash of the policy in force in each slot, in a round trip per 25 of them
// (and node of a cluster). A hash is empty if there is no policy, or if somebody edited it or
// restored only a part. SlotErrors are of slots whose hash cannot be read, for example because a
// key has another type.
func (r *Registry) PolicyHashes(ctx context.Context, slots []Slot) ([]string, error) {
	const call = "cw_policy_hash"
	hashes := make([]string, len(slots))
	send := func(pipe redis.Pipeliner, slot Slot) *redis.Cmd {
		return pipe.FCallRO(ctx, call, []string{slot.key()})
	}
	err := callEach(ctx, r, call, slots, hashBatch, send, func(i int, reply *redis.Cmd) error {
		hash, err := reply.Text()
		switch {
		case errors.Is(err, redis.Nil):
		case err != nil:
			return callError(call, slots[i], err)
		case !policyHash.MatchString(hash):
			return implausible(call, slots[i], "not a hash")
		default:
			hashes[i] = hash
		}
		return nil
	})
	if isOfAll(err) {
		return nil, err
	}
	return hashes, err
}

// DeletePolicy deletes the policy and the counters of the module, invalidates the module, and says
// whether there was a policy.
func (r *Registry) DeletePolicy(ctx context.Context, slot Slot) (bool, error) {
	return r.DeletePolicyFor(ctx, Claim{Slot: slot})
}
