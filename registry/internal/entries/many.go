// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package entries

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/cachewright/cachewright/registry/internal/bounds"
	"github.com/cachewright/cachewright/registry/internal/fault"
	"github.com/cachewright/cachewright/registry/internal/keyspace"
	"github.com/cachewright/cachewright/registry/internal/library"
	"github.com/cachewright/cachewright/registry/internal/parse"
)

// inPipeline is the number of calls in one pipeline, during which other clients wait: about a
// millisecond.
const inPipeline = 128

// Leased is the answer to one of many leases. Its fields are those of registry.Leased.
type Leased struct {
	parse.Lookup

	Err error
}

// Fill is one of many. Its fields are those of registry.Fill.
type Fill struct {
	Key     keyspace.Key
	Payload []byte
	Token   parse.Token
	Options Options
}

// FillResult is the answer to one of many fills. Its fields are those of registry.FillResult.
type FillResult struct {
	parse.Filled

	Err error
}

// LeaseMany leases entries. With a lock of 0, it takes no load locks.
func (e *Entries) LeaseMany(
	ctx context.Context, keys []keyspace.Key, lock time.Duration,
) []Leased {
	lockMs := int64(noLock)
	if lock > 0 {
		lockMs = bounds.WholeMilliseconds(lock)
	}
	replies := e.callMany(ctx, "cw_get", keys, func(key keyspace.Key) []any {
		return leaseArgs(key, lockMs)
	})
	leased := make([]Leased, len(keys))
	for i, reply := range replies {
		leased[i].Err = reply.Err
		if reply.Err == nil {
			leased[i].Lookup, leased[i].Err = leasedOf(keys[i], reply.Value)
		}
	}
	return leased
}

// UnlockMany releases load locks.
func (e *Entries) UnlockMany(ctx context.Context, keys []keyspace.Key) []error {
	return errorsOf(e.callMany(ctx, "cw_unlock", keys, addressArgs))
}

// DeleteMany removes entries, and fences loads of them that are in progress.
func (e *Entries) DeleteMany(ctx context.Context, keys []keyspace.Key) []error {
	return errorsOf(e.callMany(ctx, "cw_delete", keys, addressArgs))
}

// SetMany stores entries.
func (e *Entries) SetMany(ctx context.Context, fills []Fill) []FillResult {
	results := make([]FillResult, 0, len(fills))
	for part := range slices.Chunk(fills, inPipeline) {
		results = append(results, e.setTogether(ctx, part)...)
	}
	return results
}

// setTogether stores entries in one pipeline. What cannot be sent fails alone.
func (e *Entries) setTogether(ctx context.Context, fills []Fill) []FillResult {
	results := make([]FillResult, len(fills))
	var calls []library.Invocation
	var of []int
	var buffers []*[]byte
	defer func() {
		for _, buffer := range buffers {
			release(buffer)
		}
	}()
	for i, fill := range fills {
		sent, err := e.padded(fill.Key, fill.Payload, len(fill.Token)+headerOverToken)
		if err != nil {
			results[i].Err = err
			continue
		}
		args := setArgs(fill.Key, *sent, fill.Token, fill.Options)
		buffers = append(buffers, sent)
		calls = append(calls, library.Invocation{Slot: fill.Key.Slot, Args: args})
		of = append(of, i)
	}
	for n, reply := range e.library.Together(ctx, "cw_set", calls) {
		result := &results[of[n]]
		result.Err = reply.Err
		if reply.Err == nil {
			result.Filled, result.Err = filledOf("cw_set", fills[of[n]].Key, reply.Value)
		}
	}
	return results
}

// maxArgs is how many arguments a call has, the address included.
const maxArgs = 6

// addressArgs begins the arguments of a call, with room for the others.
func addressArgs(key keyspace.Key) []any {
	return append(make([]any, 0, maxArgs), key.Operation, key.ID, key.User)
}

// callMany calls a function for each entry, in pipelines of limited size.
func (e *Entries) callMany(
	ctx context.Context, function string, keys []keyspace.Key, args func(keyspace.Key) []any,
) []library.Reply {
	replies := make([]library.Reply, 0, len(keys))
	for part := range slices.Chunk(keys, inPipeline) {
		calls := make([]library.Invocation, len(part))
		for i, key := range part {
			calls[i] = library.Invocation{Slot: key.Slot, Args: args(key)}
		}
		replies = append(replies, e.library.Together(ctx, function, calls)...)
	}
	return replies
}

func errorsOf(replies []library.Reply) []error {
	failed := make([]error, len(replies))
	for i, reply := range replies {
		failed[i] = reply.Err
	}
	return failed
}

// inOneSlot returns an error if entries are of several slots: one command cannot read them.
func inOneSlot(keys []keyspace.Key) error {
	for _, key := range keys {
		if key.Slot != keys[0].Slot {
			return fmt.Errorf("reading entries of %s and %s together: %w: read each slot by itself",
				keys[0].Slot, key.Slot, fault.ErrRejected)
		}
	}
	return nil
}
