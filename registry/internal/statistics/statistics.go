// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package statistics reports counters to the library, and reads the statistics of slots.
package statistics

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/registry/internal/keyspace"
	"github.com/cachewright/cachewright/registry/internal/library"
	"github.com/cachewright/cachewright/registry/internal/parse"
	"github.com/cachewright/cachewright/registry/internal/sloterr"
)

// Statistics are those in one Redis.
type Statistics struct{ library *library.Library }

// New returns the statistics in a Redis.
func New(lib *library.Library) *Statistics { return &Statistics{library: lib} }

// Counters of reads. Its fields are those of registry.Counters.
type Counters struct {
	Hits   int64
	Misses int64
	Stale  int64
	Errors int64
}

// Report adds to the counters of an operation.
func (s *Statistics) Report(
	ctx context.Context, slot keyspace.Slot, operation string, counters Counters,
) error {
	args := []any{operation}
	add := func(counter string, n int64) {
		if n > 0 {
			args = append(args, counter, n)
		}
	}
	add("hits", counters.Hits)
	add("misses", counters.Misses)
	add("stale", counters.Stale)
	add("errors", counters.Errors)
	if len(args) == 1 {
		return nil
	}
	_, err := s.library.Call(ctx, "cw_report", slot, args...)
	return err
}

const (
	function = "cw_stats"
	// inPipeline is the number of slots in one pipeline, during which other clients wait: about a
	// millisecond.
	inPipeline = 20
)

// Of returns the statistics of a slot.
func (s *Statistics) Of(ctx context.Context, slot keyspace.Slot) (parse.Stats, error) {
	reply, err := s.library.Call(ctx, function, slot)
	if err != nil {
		return parse.Stats{}, err
	}
	return parse.StatsOf(slot, reply)
}

// OfMany returns the statistics of slots, in their order; nil: all failed for the same reason.
func (s *Statistics) OfMany(ctx context.Context, slots []keyspace.Slot) ([]parse.Stats, error) {
	all := make([]parse.Stats, len(slots))
	err := library.Calls[keyspace.Slot]{
		Function: function, Items: slots, InPipeline: inPipeline,
		Send: func(pipe redis.Pipeliner, slot keyspace.Slot) *redis.Cmd {
			return pipe.FCallRO(ctx, function, []string{keyspace.SlotKey(slot)})
		},
		Receive: func(i int, reply *redis.Cmd) (err error) {
			all[i], err = parse.StatsOf(slots[i], reply.Val())
			return err
		},
	}.Each(ctx, s.library)
	if sloterr.IsOfAll(err) {
		return nil, err
	}
	return all, err
}
