// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"
)

// Invalidation is one call of Invalidate.
type Invalidation struct {
	Slot

	Scope Scope
	Mode  Mode
	// RequestID as Invalidate has it.
	RequestID string
}

// InvalidationResult is what became of one Invalidation.
type InvalidationResult struct {
	Invalidated

	// Err says why it failed; nil: it is in effect. It says nothing of others.
	Err error
}

const (
	// invalidationBatch is the number of invalidations in one pipeline: others wait for about a millisecond, and not for
	// much longer where each of them frees entries.
	invalidationBatch = 20
	// lightBatch is as many as that where the ones before freed less than lightCall entries each.
	lightBatch = 128
	lightCall  = 4
)

// InvalidateMany does what Invalidate does for many calls, in few round trips (to each node of a cluster), and returns what
// became of each. The first round trip is for 20 of them; those after one that freed few entries are for 128 each, as Redis
// is done with them as soon. Those of one slot are made in their order.
func (r *Registry) InvalidateMany(ctx context.Context, calls []Invalidation) []InvalidationResult {
	results := make([]InvalidationResult, 0, len(calls))
	size := invalidationBatch
	for len(results) < len(calls) {
		left := calls[len(results):]
		batch := r.invalidateBatch(ctx, left[:min(size, len(left))])
		results = append(results, batch...)
		size = nextBatch(batch)
	}
	return results
}

// nextBatch returns how many calls to send together after these.
func nextBatch(results []InvalidationResult) int {
	var freed int64
	for _, result := range results {
		freed += max(result.Keys-result.Pending, 0)
	}
	if freed < int64(lightCall*len(results)) {
		return lightBatch
	}
	return invalidationBatch
}

// invalidateBatch makes those calls again whose server lacked the library, once it is loaded.
func (r *Registry) invalidateBatch(ctx context.Context, calls []Invalidation) []InvalidationResult {
	results := r.invalidateTogether(ctx, calls)
	var missed []Invalidation
	for i, result := range results {
		if errors.Is(result.Err, errNoLibrary) {
			missed = append(missed, calls[i])
		}
	}
	if len(missed) == 0 {
		return results
	}
	var again []InvalidationResult
	err := r.installOnce(ctx)
	if err == nil {
		again = r.invalidateTogether(ctx, missed)
	}
	for i := range results {
		switch {
		case !errors.Is(results[i].Err, errNoLibrary):
		case err != nil:
			results[i].Err = err
		default:
			results[i], again = again[0], again[1:]
		}
	}
	return results
}

func (r *Registry) invalidateTogether(ctx context.Context, calls []Invalidation) []InvalidationResult {
	replies := make([]*redis.Cmd, len(calls))
	err := unsent(r.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, call := range calls {
			replies[i] = pipe.FCall(ctx, "cw_invalidate", []string{call.key()},
				call.Scope.Operation, call.Scope.User, string(call.Mode), call.RequestID)
		}
		return nil
	}))
	results := make([]InvalidationResult, len(calls))
	for i, call := range calls {
		results[i] = resultOf(call.Slot, replies[i], err)
	}
	return results
}

// resultOf reads a reply; unsent says why there is none.
func resultOf(slot Slot, reply *redis.Cmd, unsent error) InvalidationResult {
	const call = "cw_invalidate"
	err := reply.Err()
	switch {
	case unsent != nil:
		return InvalidationResult{Err: callError(call, slot, unsent)}
	case isFunctionMissing(err):
		return InvalidationResult{Err: noLibrary(call, slot)}
	case err != nil:
		return InvalidationResult{Err: callError(call, slot, err)}
	}
	keys, pending, err := pair(call, slot, reply.Val())
	return InvalidationResult{Invalidated{Keys: keys, Pending: pending}, err}
}
