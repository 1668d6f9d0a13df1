// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"

	"github.com/cachewright/cachewright/registry/internal/invalidation"
	"github.com/cachewright/cachewright/registry/internal/parse"
)

// Scope says what an invalidation covers: a struct with the fields Operation and User. With one of
// them it covers an operation or a user, with both an operation of a user. If both are empty, it
// covers the whole module.
type Scope = invalidation.Scope

// Mode says how an invalidation works. It is a string.
type Mode = invalidation.Mode

const (
	// ModeHard makes entries invalid at once.
	ModeHard Mode = "hard"
	// ModeSoft makes entries stale at once: they may be served while one caller reloads them.
	ModeSoft Mode = "soft"
	// ModeDry counts and changes nothing.
	ModeDry Mode = "dry"
)

// Invalidated is the answer to an invalidation. It is a struct with these fields, of type int64:
//
//   - Keys that were live and covered.
//   - Pending of them wait for Reclaim to free their memory. None can be read any more.
type Invalidated = parse.Invalidated

// Invalidate makes all entries in scope invalid (ModeSoft: stale), in a time that does not depend
// on their number. It fences loads in progress. If a user has more than 256 entries in the slot,
// invalidating an operation of that user invalidates all of these. A request id (up to 128 bytes)
// makes the call idempotent for a day. A repetition changes nothing and returns the first answer.
// It is rejected if it asks for something else. An empty one disables that.
func (r *Registry) Invalidate(
	ctx context.Context, slot Slot, scope Scope, mode Mode, requestID string,
) (Invalidated, error) {
	return r.invalidations.Invalidate(ctx, invalidation.Call{
		Slot: slot, Scope: scope, Mode: mode, RequestID: requestID,
	})
}

// Invalidation is one call of Invalidate.
type Invalidation struct {
	Slot

	Scope Scope
	Mode  Mode
	// RequestID as in Invalidate.
	RequestID string
}

// InvalidationResult is the result of one Invalidation.
type InvalidationResult struct {
	Invalidated

	// Err says why it failed; nil: it is in effect. It does not concern other invalidations.
	Err error
}

// InvalidateMany makes many calls of Invalidate in few round trips (to each node of a cluster), and
// returns the result of each. The first round trip has 20 calls. After one that freed few entries,
// the next has 128, which takes Redis as long. The calls of one slot are made in order.
func (r *Registry) InvalidateMany(ctx context.Context, calls []Invalidation) []InvalidationResult {
	all := make([]invalidation.Call, len(calls))
	for i, call := range calls {
		all[i] = invalidation.Call(call)
	}
	results := make([]InvalidationResult, len(calls))
	for i, result := range r.invalidations.Many(ctx, all) {
		results[i] = InvalidationResult(result)
	}
	return results
}

// Reclaimed is the answer to Reclaim.
type Reclaimed struct {
	// Freed entries.
	Freed int64
	// Pending entries of the slot still wait.
	Pending int64
}

// Reclaim frees the memory of up to limit entries of the slot that were invalidated, and shortens
// entries whose TTL was lowered. The library examines up to 200 per call, in less than a
// millisecond. Call it until nothing is pending.
func (r *Registry) Reclaim(ctx context.Context, slot Slot, limit int) (Reclaimed, error) {
	reclaimed, err := r.invalidations.Reclaim(ctx, slot, limit)
	return Reclaimed(reclaimed), err
}
