// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/cachewright/cachewright/registry"
)

// ModuleStats are the figures of a module, over all processes that use it.
type ModuleStats struct {
	Module string
	// Keys is the number of entries that can be read.
	Keys int64
	// Operations by name: those of the policy and those seen under its default TTL.
	Operations []OperationStats
}

// OperationStats are the figures of an operation. The counts began with the policy; other processes'
// may be late by their report interval.
type OperationStats struct {
	Operation string
	// TTL of new entries, 0 if the operation is not cached.
	TTL  time.Duration
	Keys int64
	Hits int64
	// Stale are reads that were served past the TTL, or after a soft invalidation. They are not
	// among the hits.
	Stale int64
	// Misses are reads that found nothing.
	Misses int64
	// Errors are what clients could not do: calls to Redis that failed, values that could not be
	// encoded or decoded, entries that were refused.
	Errors int64
}

// HitRatio is the share of hits, stale ones too, in all reads, from 0 to 1; 0 if there were none.
func (o OperationStats) HitRatio() float64 { return hitRatio(o.Hits+o.Stale, o.Misses) }

// HitRatio is the share of hits, stale ones too, in all reads of the module, from 0 to 1; 0 if there were none.
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

// Stats implements Cache. It reports this process's counts first.
func (c *Client) Stats(ctx context.Context, modules ...string) ([]ModuleStats, error) {
	_ = c.reports.Flush(ctx) // at worst they come later, as other processes' do
	if len(modules) == 0 {
		var err error
		if modules, err = c.allModulesInTime(ctx); err != nil {
			return nil, err
		}
	}
	all := make([]ModuleStats, 0, len(modules))
	for _, module := range slices.Compact(slices.Sorted(slices.Values(modules))) {
		stats, err := c.moduleStats(ctx, module)
		if err != nil {
			return nil, err
		}
		all = append(all, stats)
	}
	return all, nil
}

func (c *Client) moduleStats(ctx context.Context, module string) (ModuleStats, error) {
	if module == "" {
		return ModuleStats{}, errNoModule
	}
	var found registry.Stats
	err := c.ask(ctx, reading, module, func(ctx context.Context) (err error) {
		found, err = c.store.Stats(ctx, c.slot(module))
		return err
	})
	if err != nil {
		c.failed(module, "", err)
		return ModuleStats{}, err
	}
	stats := ModuleStats{Module: module, Keys: found.Keys}
	for operation, o := range found.Operations {
		stats.Operations = append(stats.Operations, OperationStats{
			Operation: operation, TTL: o.TTL, Keys: o.Keys, Hits: o.Hits, Stale: o.Stale, Misses: o.Misses, Errors: o.Errors,
		})
	}
	slices.SortFunc(stats.Operations, func(a, b OperationStats) int { return cmp.Compare(a.Operation, b.Operation) })
	return stats, nil
}

// sendReport is how the reporter reaches Redis. Counts that Redis will never take are given up.
func (c *Client) sendReport(ctx context.Context, module, operation string, counters registry.Counters) error {
	err := c.ask(ctx, writing, module, func(ctx context.Context) error {
		return c.store.Report(ctx, c.slot(module), operation, counters)
	})
	if err != nil {
		c.tellInBackground(module, operation, err)
	}
	if errors.Is(err, registry.ErrRejected) {
		return nil
	}
	return err
}
