// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"context"
	"math"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/convert"
	"github.com/cachewright/cachewright/controllers/internal/queue"
	"github.com/cachewright/cachewright/controllers/internal/resource"
	"github.com/cachewright/cachewright/registry"
)

const (
	// Jitter spreads the reads of statistics over time.
	Jitter = 0.1
	// statusWrites bounds the statuses that show new statistics, per second and over all stores.
	// Under traffic each policy has new statistics all the time. Ten thousand policies would keep
	// the API server busy with what metrics show better.
	statusWrites = 10
)

// Collector reads the statistics of a store's modules, in batches and at intervals.
type Collector struct {
	CollectorConfig

	totals latest[Totals]
}

// CollectorConfig is what a Collector needs.
type CollectorConfig struct {
	Referrers resource.Referrers
	Snapshot  *Snapshot
	// Policies are woken when their status has to show other statistics, or to reclaim memory.
	Policies queue.Enqueuer
	Clock    clock.PassiveClock
	Interval time.Duration
}

// Totals are the statistics of a store, over all its modules.
type Totals struct {
	Modules int
	Keys    int64
}

// Reader is what a Collector needs of a store.
type Reader interface {
	StatsOf(ctx context.Context, slots []registry.Slot) ([]registry.Stats, error)
}

// Totals returns the totals as last read; nil: they were not read yet.
func (c *Collector) Totals() *Totals { return c.totals.get() }

// Reset forgets the totals: the next Redis may be another one. The next Collect reads statistics.
func (c *Collector) Reset() { c.totals.reset() }

// Drop removes the store's modules from the snapshot, and keeps a Collect that still runs from
// adding them again.
func (c *Collector) Drop() {
	c.totals.drop(func() { c.Snapshot.Replace(c.Referrers.Store, nil, nil) })
}

// Collect reads the statistics of all modules, if that is due. It wakes the policies whose status
// has to show other statistics. It also wakes those with memory to reclaim, which large policy
// changes and invalidations by applications leave.
func (c *Collector) Collect(ctx context.Context, store Reader) error {
	now := c.Clock.Now()
	if !c.totals.isDue(now) {
		return nil
	}
	policies, err := c.Referrers.Policies(ctx)
	if err != nil {
		return err
	}
	read := resource.InForce(policies)
	stats, err := store.StatsOf(ctx, resource.SlotsOf(read))
	broken := registry.SlotErrors{}
	if err := broken.Take(err); err != nil {
		return err
	}
	read, stats = readable(read, stats, broken)
	c.record(now, read, stats)
	c.wake(ctx, now, read, stats)
	return broken.OrNil()
}

func (c *Collector) record(now time.Time, policies []*v1.CachePolicy, stats []registry.Stats) {
	totals := &Totals{Modules: len(stats)}
	for _, module := range stats {
		totals.Keys += module.Keys
	}
	c.totals.record(totals, now.Add(wait.Jitter(c.Interval, Jitter)), func() {
		c.Snapshot.Replace(c.Referrers.Store, policies, stats)
	})
}

func (c *Collector) wake(
	ctx context.Context, now time.Time, policies []*v1.CachePolicy, stats []registry.Stats,
) {
	var changed []*v1.CachePolicy
	for i, policy := range policies {
		switch {
		case stats[i].Pending > 0:
			c.Policies.EnqueueWithin(ctx, client.ObjectKeyFromObject(policy), c.Interval/2)
		case convert.NextStats(policy.Status.Stats, &stats[i], now, c.Interval) != policy.Status.Stats:
			changed = append(changed, policy)
		}
	}
	for _, policy := range c.throttle(changed, len(policies)) {
		c.Policies.EnqueueWithin(ctx, client.ObjectKeyFromObject(policy), c.Interval)
	}
}

// throttle selects the policies that may show changed statistics until the next Collect, the oldest
// statistics first. There are as many as this store's share of all modules allows. A rate limiter
// would let one large store take what all others need.
func (c *Collector) throttle(changed []*v1.CachePolicy, modules int) []*v1.CachePolicy {
	share := float64(modules) / float64(max(c.Snapshot.Len(), 1))
	limit := int(math.Ceil(statusWrites * c.Interval.Seconds() * share))
	if len(changed) <= limit {
		return changed
	}
	slices.SortStableFunc(changed, func(a, b *v1.CachePolicy) int {
		return lastPublished(a).Compare(lastPublished(b))
	})
	return changed[:limit]
}

// lastPublished returns when the statistics in a policy's status were read; zero: there are none.
func lastPublished(policy *v1.CachePolicy) time.Time {
	if policy.Status.Stats == nil {
		return time.Time{}
	}
	return policy.Status.Stats.ObservedTime.Time
}

// readable leaves out the policies of slots whose statistics could not be read.
func readable(
	policies []*v1.CachePolicy, stats []registry.Stats, broken registry.SlotErrors,
) ([]*v1.CachePolicy, []registry.Stats) {
	if len(broken) == 0 {
		return policies, stats
	}
	var readPolicies []*v1.CachePolicy
	var readStats []registry.Stats
	for i, policy := range policies {
		if broken[convert.Slot(policy)] == nil {
			readPolicies, readStats = append(readPolicies, policy), append(readStats, stats[i])
		}
	}
	return readPolicies, readStats
}
