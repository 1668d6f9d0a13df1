// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"time"

	"github.com/cachewright/cachewright/registry/internal/parse"
	"github.com/cachewright/cachewright/registry/internal/statistics"
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
	return r.statistics.Report(ctx, slot, operation, statistics.Counters(counters))
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
	found, err := r.statistics.Of(ctx, slot)
	if err != nil {
		return Stats{}, err
	}
	return statsOf(found), nil
}

// StatsOf returns the statistics of many slots, in their order, in a round trip per 20 of them (and
// node of a cluster). SlotErrors are of slots that failed.
func (r *Registry) StatsOf(ctx context.Context, slots []Slot) ([]Stats, error) {
	found, err := r.statistics.OfMany(ctx, slots)
	if found == nil {
		return nil, err
	}
	all := make([]Stats, len(found))
	for i, stats := range found {
		all[i] = statsOf(stats)
	}
	return all, err
}

func statsOf(found parse.Stats) Stats {
	stats := Stats{
		Keys: found.Keys, MemoryBytes: found.MemoryBytes, Pending: found.Pending,
		Invalidations: found.Invalidations,
		Operations:    make(map[string]OperationStats, len(found.Operations)),
	}
	for name, operation := range found.Operations {
		stats.Operations[name] = OperationStats(operation)
	}
	return stats
}
