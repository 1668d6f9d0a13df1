// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Counters are reported by clients that use Read, because Redis does not see whether these hit.
type Counters struct {
	Hits   int64
	Misses int64
	Stale  int64
	Errors int64
}

// Report adds to the counters of an operation. It drops those of an operation that is not cached.
func (r *Registry) Report(
	ctx context.Context, slot Slot, operation string, counters Counters,
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
	_, err := r.call(ctx, "cw_report", slot, args...)
	return err
}

// Stats describes the content and use of a module.
type Stats struct {
	// Keys is the number of live entries.
	Keys int64
	// MemoryBytes is an estimate of the memory that entries and index take in Redis.
	MemoryBytes int64
	// Pending entries wait for Reclaim.
	Pending int64
	// Invalidations of any scope since the counters began.
	Invalidations int64
	// Operations by name: those of the policy and those used under its default.
	Operations map[string]OperationStats
}

// OperationStats are the statistics of one operation. Counters start with the policy.
type OperationStats struct {
	Keys int64
	TTL  time.Duration
	// Held is how long a hold of the module or the operation lasts.
	Held   time.Duration
	Hits   int64
	Misses int64
	// HeldReads are leases that a hold refused. They are not Misses.
	HeldReads     int64
	Stale         int64
	Errors        int64
	Fills         int64
	Fenced        int64
	Invalidations int64
}

// Stats returns the statistics of a slot.
func (r *Registry) Stats(ctx context.Context, slot Slot) (Stats, error) {
	reply, err := r.call(ctx, "cw_stats", slot)
	if err != nil {
		return Stats{}, err
	}
	return parseStats(slot, reply)
}

// statsBatch is the number of slots in one pipeline, during which other clients wait: about a
// millisecond.
const statsBatch = 20

// StatsOf returns the statistics of many slots, in their order, in a round trip per 20 of them (and
// node of a cluster).
// SlotErrors are of slots that failed.
func (r *Registry) StatsOf(ctx context.Context, slots []Slot) ([]Stats, error) {
	const call = "cw_stats"
	all := make([]Stats, len(slots))
	send := func(pipe redis.Pipeliner, slot Slot) *redis.Cmd {
		return pipe.FCallRO(ctx, call, []string{slot.key()})
	}
	err := callEach(ctx, r, call, slots, statsBatch, send, func(i int, reply *redis.Cmd) (err error) {
		all[i], err = parseStats(slots[i], reply.Val())
		return err
	})
	if isOfAll(err) {
		return nil, err
	}
	return all, err
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
			return Stats{}, implausible(call, slot, "a field that is not a name and a number")
		case !isCount(value):
			return Stats{}, implausible(call, slot, "a number that is negative or too large")
		case !stats.add(name, value):
			return Stats{}, implausible(call, slot, "too many operations, or one with an invalid name")
		}
	}
	return stats, nil
}

// add stores a value, unless it belongs to an operation too many or to one with an invalid name.
func (s *Stats) add(name string, value int64) (added bool) {
	field, operation, ofOperation := strings.Cut(name, ":")
	if ofOperation {
		stats, known := s.Operations[operation]
		if !known && (len(s.Operations) >= maxStatOperations || !isOperationName(operation)) {
			return false
		}
		stats.add(field, value)
		s.Operations[operation] = stats
		return true
	}
	switch field {
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

func (o *OperationStats) add(field string, value int64) {
	switch field {
	case "keys":
		o.Keys = value
	case "ttl":
		o.TTL = boundedMilliseconds(value)
	case "held":
		o.Held = boundedMilliseconds(value)
	case "hits":
		o.Hits = value
	case "misses":
		o.Misses = value
	case "heldReads":
		o.HeldReads = value
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
