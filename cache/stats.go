// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"time"
)

// ModuleStats are the statistics of a module, over all processes that use it.
type ModuleStats struct {
	Module string
	// Keys is the number of entries that can be read.
	Keys int64
	// Operations are sorted by name: those of the policy, and those seen under its default TTL.
	Operations []OperationStats
}

// OperationStats are the statistics of an operation. The counts began with the policy. Those of
// other processes may be late by their report interval.
type OperationStats struct {
	Operation string
	// TTL of new entries, 0 if the operation is not cached.
	TTL time.Duration
	// Held is for how long a hold still covers the whole operation, 0 if none does.
	Held time.Duration
	Keys int64
	Hits int64
	// Stale are reads that were served past the TTL, or after a soft invalidation. Hits do not
	// include them.
	Stale int64
	// Misses are reads that found nothing.
	Misses int64
	// HeldReads are reads that a hold kept from being stored. Misses do not include them.
	HeldReads int64
	// Errors are what clients could not do: calls to Redis that failed, values that could not be
	// encoded or decoded, entries that were refused.
	Errors int64
}

// HitRatio is the share of hits, including stale ones, in all reads, from 0 to 1. It is 0 without
// reads.
func (o OperationStats) HitRatio() float64 { return hitRatio(o.Hits+o.Stale, o.Misses) }

// HitRatio is the share of hits, including stale ones, in all reads of the module, from 0 to 1. It
// is 0 without reads.
func (m ModuleStats) HitRatio() float64 {
	var hits, misses int64
	for _, o := range m.Operations {
		hits += o.Hits + o.Stale
		misses += o.Misses
	}
	return hitRatio(hits, misses)
}

func hitRatio(hits, misses int64) float64 {
	if hits+misses == 0 {
		return 0
	}
	return float64(hits) / float64(hits+misses)
}

// Stats implements Cache. It reports this process' counts first.
func (c *Client) Stats(ctx context.Context, modules ...string) ([]ModuleStats, error) {
	found, err := c.statistics.Of(ctx, modules)
	if err != nil {
		return nil, err
	}
	all := make([]ModuleStats, 0, len(found))
	for _, of := range found {
		module := ModuleStats{Module: of.Name, Keys: of.Keys}
		for _, o := range of.Operations {
			module.Operations = append(module.Operations, OperationStats{
				Operation: o.Name, TTL: o.TTL, Held: o.Held, Keys: o.Keys,
				Hits: o.Hits, Stale: o.Stale, Misses: o.Misses, HeldReads: o.HeldReads, Errors: o.Errors,
			})
		}
		all = append(all, module)
	}
	return all, nil
}

// Audits returns what the audits of this process have found so far, sorted by operation.
func (c *Client) Audits() []AuditStats {
	var all []AuditStats
	for _, stats := range c.auditor.Stats() {
		all = append(all, AuditStats{
			Operation:  Operation(stats.Operation),
			Consistent: stats.Consistent, Inconsistent: stats.Inconsistent,
			Inconclusive: stats.Inconclusive,
		})
	}
	return all
}
