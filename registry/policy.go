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
	// Revision purges the module each time it changes; up to 128 bytes. Empty: none.
	Revision string
	// DefaultTTL of operations that are not listed, at most 720h. Nil or 0: they are not cached.
	DefaultTTL *time.Duration
	// Operations with a TTL of their own, at most 256, by unique name.
	Operations []OperationPolicy
}

// OperationPolicy says how one operation is cached.
type OperationPolicy struct {
	// Name of the operation, 1 to 128 bytes.
	Name string
	// TTL of entries, at most 720h; 0 disables caching and invalidates what is cached.
	TTL time.Duration
	// StaleFor is how long, after its TTL, an entry may be served while one caller loads anew; at
	// most 720h. 0: not at all.
	StaleFor time.Duration
	// NegativeTTL of entries that say the source has nothing; at most 720h. 0: they are not stored.
	NegativeTTL time.Duration
	// JitterPercent shortens each TTL by a random share of up to so many percent, 0 to 50.
	JitterPercent int
	// Scope says whose entries the operation has. Empty: ScopeAny.
	Scope OperationScope
	// MaxEntryBytes refuses larger payloads; at most 64 MiB. 0: 64 MiB.
	MaxEntryBytes int64
	// LocalTTL bounds how long applications keep entries in their own memory, at most 720h; 0: not at
	// all. Nil: as the application is configured.
	LocalTTL *time.Duration
}

// OperationScope says whose entries an operation has.
type OperationScope string

const (
	// ScopeAny allows shared entries and entries of a user.
	ScopeAny OperationScope = "Any"
	// ScopeUser refuses entries without a user.
	ScopeUser OperationScope = "User"
)

// TTL returns how long entries of an operation live by this policy, 0 where they are not cached.
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

// Hash names the content of the policy, as PolicyHashes returns it.
func (p Policy) Hash() string {
	sum := sha1.Sum(p.document()) //nolint:gosec // see the import
	return hex.EncodeToString(sum[:])
}

// policyDocument is the JSON of the protocol.
type policyDocument struct {
	Revision     string              `json:"revision,omitempty"`
	DefaultTTLMs *int64              `json:"defaultTtlMs,omitempty"`
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
}

func (p Policy) document() []byte {
	document := policyDocument{Revision: p.Revision}
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
		})
	}
	text, err := json.Marshal(document)
	if err != nil { // strings and integers always marshal
		panic("registry: marshalling a policy: " + err.Error())
	}
	return text
}

// wholeMilliseconds rounds up: a TTL of half a millisecond must not read as 0, which disables.
func wholeMilliseconds(d time.Duration) int64 {
	return int64((d + time.Millisecond - 1) / time.Millisecond)
}

// optional converts what may be absent.
func optional[From, To any](value *From, convert func(From) To) *To {
	if value == nil {
		return nil
	}
	return new(convert(*value))
}

// parsePolicy reads a document that somebody may have edited in Redis.
func parsePolicy(text string) (policy Policy, ok bool) {
	var document policyDocument
	if err := json.Unmarshal([]byte(text), &document); err != nil || !document.isSane() {
		return Policy{}, false
	}
	policy = Policy{Revision: document.Revision, DefaultTTL: optional(document.DefaultTTLMs, milliseconds)}
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
		})
	}
	return policy, true
}

func (d policyDocument) isSane() bool {
	if len(d.Operations) > maxOperations || len(d.Revision) > maxNameBytes || !isTTL(d.DefaultTTLMs) {
		return false
	}
	return !slices.ContainsFunc(d.Operations, func(o operationDocument) bool {
		return !isOperationName(o.Name) || !isTTL(&o.TTLMs) || !isTTL(&o.StaleForMs) || !isTTL(&o.NegativeTTLMs) || !isTTL(o.LocalTTLMs) ||
			o.JitterPercent < 0 || o.JitterPercent > maxJitterPercent || !isFigure(o.MaxEntryBytes)
	})
}

// isTTL says whether a time of a policy is one; nil: there is none.
func isTTL(ms *int64) bool { return ms == nil || *ms >= 0 && *ms <= maxTTL.Milliseconds() }

// Applied is the answer to ApplyPolicy.
type Applied struct {
	// Changed says that another policy, or none, was in force before.
	Changed bool
	// Purged says that a changed revision invalidated the module.
	Purged bool
}

// ApplyPolicy puts a policy in force; the next fill obeys. Operations that are no longer cached are
// invalidated; where a TTL was lowered, entries are shortened, large numbers of them by Reclaim.
// ErrRejected says which field is wrong; then nothing changed. Whose policy is there is not asked: see ApplyPolicyFor.
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
		return Policy{}, false, absurd("cw_policy_get", slot, "it is no policy")
	}
	return policy, true, nil
}

// PolicyHashes returns, in one pipeline, the Hash of the policy in force in each slot, "" where there is none, or where
// it is not there as ApplyPolicy wrote it: somebody edited it by hand, or did not restore all of it. SlotErrors are of
// slots where that cannot be told, because of keys of another type for example.
func (r *Registry) PolicyHashes(ctx context.Context, slots []Slot) ([]string, error) {
	var hashes []string
	err := r.withLibrary(ctx, func() (err error) {
		hashes, err = r.policyHashes(ctx, slots)
		return err
	})
	return hashes, err
}

func (r *Registry) policyHashes(ctx context.Context, slots []Slot) ([]string, error) {
	replies := make([]*redis.Cmd, len(slots))
	err := unsent(r.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, slot := range slots {
			replies[i] = pipe.FCallRO(ctx, "cw_policy_hash", []string{slot.key()})
		}
		return nil
	}))
	if err != nil {
		return nil, classified("reading the hashes of policies", err)
	}
	hashes, broken := make([]string, len(slots)), SlotErrors{}
	for i, slot := range slots {
		hash, err := replies[i].Text()
		switch {
		case isFunctionMissing(err):
			return nil, noLibrary("cw_policy_hash", slot)
		case errors.Is(err, redis.Nil):
		case err == nil && policyHash.MatchString(hash):
			hashes[i] = hash
		case err == nil:
			broken[slot] = absurd("cw_policy_hash", slot, "it is no hash")
		default:
			broken[slot] = callError("cw_policy_hash", slot, err)
		}
	}
	return hashes, broken.of(len(slots))
}

// DeletePolicy withdraws the policy, invalidates the module, drops its counters, and says whether
// there was a policy.
func (r *Registry) DeletePolicy(ctx context.Context, slot Slot) (bool, error) {
	return r.DeletePolicyFor(ctx, Claim{Slot: slot})
}
