// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Counters are what a client that reads by Read reports: Redis does not see whether it hit.
type Counters struct {
	Hits   int64
	Misses int64
	Stale  int64
	Errors int64
}

// Report adds counters to an operation's. Operations that are not cached have none: theirs are dropped.
func (r *Registry) Report(ctx context.Context, slot Slot, operation string, counters Counters) error {
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
	_, err := r.call(ctx, "cw_report", slot, args...)
	return err
}

// Stats is what a module holds and how it is used.
type Stats struct {
	// Keys is the number of live entries.
	Keys int64
	// MemoryBytes estimates what entries and index take in Redis.
	MemoryBytes int64
	// Pending entries wait for Reclaim.
	Pending int64
	// Invalidations of any scope since the counters began.
	Invalidations int64
	// Operations by name: those of the policy and those seen under its default.
	Operations map[string]OperationStats
}

// OperationStats are the figures of one operation. Counters begin with the policy.
type OperationStats struct {
	Keys          int64
	TTL           time.Duration
	Hits          int64
	Misses        int64
	Stale         int64
	Errors        int64
	Fills         int64
	Fenced        int64
	Invalidations int64
}

// Stats returns the figures of a slot.
func (r *Registry) Stats(ctx context.Context, slot Slot) (Stats, error) {
	reply, err := r.call(ctx, "cw_stats", slot)
	if err != nil {
		return Stats{}, err
	}
	return parseStats(slot, reply)
}

// statsBatch is the number of slots whose figures are read in one pipeline. Redis works a pipeline off in one go, and this
// one for about a millisecond: others wait meanwhile.
const statsBatch = 20

// StatsOf returns the figures of many slots, in their order, in a round trip for each 20 of them (and node of a cluster).
// SlotErrors are of slots that have none.
func (r *Registry) StatsOf(ctx context.Context, slots []Slot) ([]Stats, error) {
	all, broken := make([]Stats, 0, len(slots)), SlotErrors{}
	for batch := range slices.Chunk(slots, statsBatch) {
		var stats []Stats
		err := r.withLibrary(ctx, func() (err error) {
			stats, err = r.statsOf(ctx, batch)
			return err
		})
		if err := broken.Take(err); err != nil {
			return nil, err
		}
		all = append(all, stats...)
	}
	return all, broken.OrNil()
}

func (r *Registry) statsOf(ctx context.Context, slots []Slot) ([]Stats, error) {
	replies := make([]*redis.Cmd, len(slots))
	err := unsent(r.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, slot := range slots {
			replies[i] = pipe.FCallRO(ctx, "cw_stats", []string{slot.key()})
		}
		return nil
	}))
	if err != nil {
		return nil, classified("cw_stats of many modules", err)
	}
	all, broken := make([]Stats, len(slots)), SlotErrors{}
	for i, slot := range slots {
		reply, err := replies[i].Result()
		if isFunctionMissing(err) {
			return nil, noLibrary("cw_stats", slot)
		}
		if err == nil {
			all[i], err = parseStats(slot, reply)
		} else {
			err = callError("cw_stats", slot, err)
		}
		if err != nil {
			broken[slot] = err
		}
	}
	return all, broken.of(len(slots))
}

func parseStats(slot Slot, reply any) (Stats, error) {
	const call = "cw_stats"
	fields, ok := reply.([]any)
	if !ok || len(fields)%2 != 0 {
		return Stats{}, unexpected(call, slot, reply)
	}
	stats := Stats{Operations: map[string]OperationStats{}}
	for i := 0; i < len(fields); i += 2 {
		name, isText := fields[i].(string)
		value, isNumber := fields[i+1].(int64)
		switch {
		case !isText || !isNumber:
			return Stats{}, absurd(call, slot, "a figure that is no name and number")
		case !isFigure(value):
			return Stats{}, absurd(call, slot, "a figure below zero, or beyond any of Redis")
		case !stats.add(name, value):
			return Stats{}, absurd(call, slot, "more operations than a module has, or one with a longer name")
		}
	}
	return stats, nil
}

// add notes a figure, unless it is of an operation too many, or of one whose name is none.
func (s *Stats) add(name string, value int64) (added bool) {
	figure, operation, ofOperation := strings.Cut(name, ":")
	if ofOperation {
		stats, known := s.Operations[operation]
		if !known && (len(s.Operations) >= maxStatOperations || !isOperationName(operation)) {
			return false
		}
		stats.add(figure, value)
		s.Operations[operation] = stats
		return true
	}
	switch figure {
	case "keys":
		s.Keys = value
	case "memory":
		s.MemoryBytes = value
	case "pending":
		s.Pending = value
	case "invalidations":
		s.Invalidations = value
	}
	return true
}

func (o *OperationStats) add(figure string, value int64) {
	switch figure {
	case "keys":
		o.Keys = value
	case "ttl":
		o.TTL = boundedMilliseconds(value)
	case "hits":
		o.Hits = value
	case "misses":
		o.Misses = value
	case "stale":
		o.Stale = value
	case "errors":
		o.Errors = value
	case "fills":
		o.Fills = value
	case "fenced":
		o.Fenced = value
	case "invalidations":
		o.Invalidations = value
	}
}
