// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/cachewright/cachewright/cache/internal/catalog"
	"github.com/cachewright/cachewright/cache/internal/failure"
	"github.com/cachewright/cachewright/cache/internal/gateway"
	"github.com/cachewright/cachewright/cache/internal/invalidate"
	"github.com/cachewright/cachewright/cache/internal/report"
	"github.com/cachewright/cachewright/registry"
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
	TTL  time.Duration
	Keys int64
	Hits int64
	// Stale are reads that were served past the TTL, or after a soft invalidation. Hits do not
	// include them.
	Stale int64
	// Misses are reads that found nothing.
	Misses int64
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
	return c.statistics.of(ctx, modules)
}

// statistics reads the statistics of modules, and sends the counts of this process.
type statistics struct {
	gateway  *gateway.Gateway
	reports  *report.Reporter
	modules  *catalog.Modules
	failures *failure.Reports
}

// of returns the statistics of the given modules, or of all if there are none. It sends the counts
// of this process first.
func (s *statistics) of(ctx context.Context, modules []string) ([]ModuleStats, error) {
	_ = s.reports.Flush(ctx) // what fails comes later, as the counts of other processes do
	if len(modules) == 0 {
		var err error
		if modules, err = s.modules.All(ctx); err != nil {
			return nil, err
		}
	}
	all := make([]ModuleStats, 0, len(modules))
	for _, module := range slices.Compact(slices.Sorted(slices.Values(modules))) {
		stats, err := s.ofModule(ctx, module)
		if err != nil {
			return nil, err
		}
		all = append(all, stats)
	}
	return all, nil
}

func (s *statistics) ofModule(ctx context.Context, module string) (ModuleStats, error) {
	if module == "" {
		return ModuleStats{}, invalidate.ErrNoModule
	}
	found, err := s.gateway.Stats(ctx, module)
	if err != nil {
		s.failures.Add(module, "", err)
		return ModuleStats{}, err
	}
	stats := ModuleStats{Module: module, Keys: found.Keys}
	for operation, o := range found.Operations {
		stats.Operations = append(stats.Operations, OperationStats{
			Operation: operation, TTL: o.TTL, Keys: o.Keys,
			Hits: o.Hits, Stale: o.Stale, Misses: o.Misses, Errors: o.Errors,
		})
	}
	slices.SortFunc(stats.Operations, func(a, b OperationStats) int {
		return cmp.Compare(a.Operation, b.Operation)
	})
	return stats, nil
}

// send is how the reporter reaches Redis. It drops counts that Redis rejects.
func (s *statistics) send(
	ctx context.Context, module, operation string, counters registry.Counters,
) error {
	err := s.gateway.Report(ctx, module, operation, counters)
	if err != nil {
		s.failures.ReportContained(module, operation, err)
	}
	if errors.Is(err, registry.ErrRejected) {
		return nil
	}
	return err
}
