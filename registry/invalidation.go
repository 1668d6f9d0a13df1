// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import "context"

// Scope says what an invalidation covers: an operation, a user, an operation of a user or, if both
// are empty, the whole module.
type Scope struct {
	Operation string
	User      string
}

// Mode says how an invalidation works.
type Mode string

const (
	// ModeHard makes entries invalid at once.
	ModeHard Mode = "hard"
	// ModeSoft makes entries stale at once: they may be served while one caller reloads them.
	ModeSoft Mode = "soft"
	// ModeDry counts and changes nothing.
	ModeDry Mode = "dry"
)

// Invalidated is the answer to an invalidation.
type Invalidated struct {
	// Keys that were live and covered.
	Keys int64
	// Pending of them wait for Reclaim to free their memory. None can be read any more.
	Pending int64
}

// Invalidate makes all entries in scope invalid (ModeSoft: stale), in a time that does not depend
// on their number. It fences loads in progress. If a user has more than 256 entries in the slot,
// invalidating an operation of that user invalidates all of these. A request id (up to 128 bytes)
// makes the call idempotent for a day. A repetition changes nothing and returns the first answer.
// It is rejected if it asks for something else. An empty one disables that.
func (r *Registry) Invalidate(
	ctx context.Context, slot Slot, scope Scope, mode Mode, requestID string,
) (Invalidated, error) {
	reply, err := r.call(ctx, "cw_invalidate", slot, scope.Operation, scope.User, string(mode),
		requestID)
	if err != nil {
		return Invalidated{}, err
	}
	keys, pending, err := pair("cw_invalidate", slot, reply)
	return Invalidated{Keys: keys, Pending: pending}, err
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
	reply, err := r.call(ctx, "cw_reclaim", slot, limit)
	if err != nil {
		return Reclaimed{}, err
	}
	freed, pending, err := pair("cw_reclaim", slot, reply)
	return Reclaimed{Freed: freed, Pending: pending}, err
}

// pair reads a reply of two counts.
func pair(call string, slot Slot, reply any) (first, second int64, err error) {
	if fields, _ := reply.([]any); len(fields) == 2 {
		first, isFirst := fields[0].(int64)
		second, isSecond := fields[1].(int64)
		switch {
		case !isFirst || !isSecond:
		case !isCount(first) || !isCount(second):
			return 0, 0, implausible(call, slot, "a count that is negative or too large")
		default:
			return first, second, nil
		}
	}
	return 0, 0, unexpected(call, slot, reply)
}
