// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/registry/internal/fault"
)

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

const (
	// invalidationBatch is the number of invalidations in one pipeline, during which other clients
	// wait. That takes about a millisecond, and little more if each of them frees entries.
	invalidationBatch = 20
	// lightBatch is the number after a batch that freed fewer than lightCall entries per call.
	lightBatch = 128
	lightCall  = 4
)

// InvalidateMany makes many calls of Invalidate in few round trips (to each node of a cluster), and
// returns the result of each. The first round trip has 20 calls. After one that freed few entries,
// the next has 128, which takes Redis as long.
// The calls of one slot are made in order.
func (r *Registry) InvalidateMany(ctx context.Context, calls []Invalidation) []InvalidationResult {
	results := make([]InvalidationResult, 0, len(calls))
	size := invalidationBatch
	for len(results) < len(calls) {
		remaining := calls[len(results):]
		batch := r.invalidateBatch(ctx, remaining[:min(size, len(remaining))])
		results = append(results, batch...)
		size = nextBatch(batch)
	}
	return results
}

// nextBatch returns the size of the batch after these results.
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

// invalidateBatch repeats calls whose server lacked the library, after loading it.
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

func (r *Registry) invalidateTogether(
	ctx context.Context, calls []Invalidation,
) []InvalidationResult {
	replies := make([]*redis.Cmd, len(calls))
	err := fault.Unsent(r.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
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

// resultOf parses a reply. sendErr says why there is none.
func resultOf(slot Slot, reply *redis.Cmd, sendErr error) InvalidationResult {
	const call = "cw_invalidate"
	if sendErr != nil {
		return InvalidationResult{Err: callError(call, slot, sendErr)}
	}
	if err := callFailure(call, slot, reply.Err()); err != nil {
		return InvalidationResult{Err: err}
	}
	keys, pending, err := pair(call, slot, reply.Val())
	return InvalidationResult{Invalidated{Keys: keys, Pending: pending}, err}
}
