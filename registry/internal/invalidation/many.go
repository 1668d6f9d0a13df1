// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package invalidation makes invalidations, one or many in few round trips, and frees the memory of
// what they covered.
package invalidation

import (
	"context"

	"github.com/cachewright/cachewright/registry/internal/keyspace"
	"github.com/cachewright/cachewright/registry/internal/library"
	"github.com/cachewright/cachewright/registry/internal/parse"
)

// Scope says what an invalidation covers. Package registry exports and documents it.
type Scope struct {
	Operation string
	User      string
}

// Mode says how an invalidation works. Package registry exports and documents it.
type Mode string

// Call is one invalidation. Its fields are those of registry.Invalidation.
type Call struct {
	keyspace.Slot

	Scope     Scope
	Mode      Mode
	RequestID string
}

// Result of one invalidation. Its fields are those of registry.Result.
type Result struct {
	parse.Invalidated

	Err error
}

const (
	function = "cw_invalidate"

	// invalidationBatch is the number of invalidations in one pipeline, during which other clients
	// wait. That takes about a millisecond, and little more if each of them frees entries.
	invalidationBatch = 20
	// lightBatch is the number after a batch that freed fewer than lightCall entries per call.
	lightBatch = 128
	lightCall  = 4
)

// Invalidator makes invalidations in one Redis.
type Invalidator struct{ library *library.Library }

// New returns what makes the invalidations in a Redis.
func New(lib *library.Library) *Invalidator { return &Invalidator{library: lib} }

// Invalidate makes one invalidation.
func (v *Invalidator) Invalidate(ctx context.Context, call Call) (parse.Invalidated, error) {
	reply, err := v.library.Call(ctx, function, call.Slot, call.Scope.Operation, call.Scope.User,
		string(call.Mode), call.RequestID)
	if err != nil {
		return parse.Invalidated{}, err
	}
	return parse.InvalidatedOf(call.Slot, reply)
}

// Reclaimed is the answer to Reclaim. Its fields are those of registry.Reclaimed.
type Reclaimed struct {
	Freed   int64
	Pending int64
}

// Reclaim frees the memory of up to limit entries of the slot that were invalidated.
func (v *Invalidator) Reclaim(
	ctx context.Context, slot keyspace.Slot, limit int,
) (Reclaimed, error) {
	const call = "cw_reclaim"
	reply, err := v.library.Call(ctx, call, slot, limit)
	if err != nil {
		return Reclaimed{}, err
	}
	freed, pending, err := parse.Pair(call, slot, reply)
	return Reclaimed{Freed: freed, Pending: pending}, err
}

// Many makes many invalidations in few round trips (to each node of a cluster), and returns the
// result of each.
func (v *Invalidator) Many(ctx context.Context, calls []Call) []Result {
	results := make([]Result, 0, len(calls))
	size := invalidationBatch
	for len(results) < len(calls) {
		remaining := calls[len(results):]
		batch := v.invalidateBatch(ctx, remaining[:min(size, len(remaining))])
		results = append(results, batch...)
		size = nextBatch(batch)
	}
	return results
}

// nextBatch returns the size of the batch after these results.
func nextBatch(results []Result) int {
	var freed int64
	for _, result := range results {
		freed += max(result.Keys-result.Pending, 0)
	}
	if freed < int64(lightCall*len(results)) {
		return lightBatch
	}
	return invalidationBatch
}

func (v *Invalidator) invalidateBatch(ctx context.Context, calls []Call) []Result {
	batch := make([]library.Invocation, len(calls))
	for i, call := range calls {
		batch[i] = library.Invocation{Slot: call.Slot, Args: []any{
			call.Scope.Operation, call.Scope.User, string(call.Mode), call.RequestID,
		}}
	}
	results := make([]Result, len(calls))
	for i, reply := range v.library.Together(ctx, function, batch) {
		results[i].Err = reply.Err
		if reply.Err == nil {
			results[i].Invalidated, results[i].Err = parse.InvalidatedOf(calls[i].Slot, reply.Value)
		}
	}
	return results
}
