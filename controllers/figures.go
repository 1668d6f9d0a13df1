// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"math"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/registry"
)

const (
	// statsJitter spreads the reads of figures over time.
	statsJitter = 0.1
	// figureWrites is how many statuses a second show new figures, of all stores: under traffic all of them always have
	// some, and ten thousand policies would keep the API server busy with what metrics tell better.
	figureWrites = 10
)

// figures of a store, as last counted.
type figures struct {
	modules int
	keys    int64
}

// count reads the figures of all modules of the store, in few round trips, when it is time to. It
// wakes the policies whose status is to show others, and those where something waits to be reclaimed:
// large policy changes and purges by applications leave work behind.
func (m *Monitor) count(ctx context.Context) error {
	now := m.Clock.Now()
	if now.Before(m.nextCount) {
		return nil
	}
	policies, err := m.listPolicies(ctx)
	if err != nil {
		return err
	}
	counted := inForce(policies)
	stats, err := m.link.store.StatsOf(ctx, slotsOf(counted))
	broken := registry.SlotErrors{}
	if err := broken.Take(err); err != nil {
		return err
	}
	counted, stats = readable(counted, stats, broken)
	m.nextCount = now.Add(wait.Jitter(m.StatsInterval, statsJitter))
	m.publish(func() { m.Metrics.observeAll(m.id, counted, stats) })
	m.noteFigures(stats)
	var news []*v1.CachePolicy
	for i, policy := range counted {
		switch {
		case stats[i].Pending > 0:
			m.policies.wakeWithin(ctx, client.ObjectKeyFromObject(policy), m.StatsInterval/2)
		case nextStats(policy.Status.Stats, &stats[i], now, m.StatsInterval) != policy.Status.Stats:
			news = append(news, policy)
		}
	}
	for _, policy := range m.firstToTell(news, len(counted)) {
		m.policies.wakeWithin(ctx, client.ObjectKeyFromObject(policy), m.StatsInterval)
	}
	return broken.OrNil()
}

// firstToTell selects those policies with news that may show them until the next count: those that showed theirs the longest
// time ago, as many as this store's share of all policies allows.
func (m *Monitor) firstToTell(news []*v1.CachePolicy, counted int) []*v1.CachePolicy {
	share := float64(counted) / float64(max(m.Metrics.size(), 1))
	most := int(math.Ceil(figureWrites * m.StatsInterval.Seconds() * share))
	if len(news) <= most {
		return news
	}
	slices.SortStableFunc(news, func(a, b *v1.CachePolicy) int { return shownAt(a).Compare(shownAt(b)) })
	return news[:most]
}

// shownAt is when the figures in the status of a policy were read; the zero time if there are none.
func shownAt(policy *v1.CachePolicy) time.Time {
	if policy.Status.Stats == nil {
		return time.Time{}
	}
	return policy.Status.Stats.ObservedTime.Time
}

// readable leaves out the policies of slots whose figures could not be read.
func readable(policies []*v1.CachePolicy, stats []registry.Stats, broken registry.SlotErrors) ([]*v1.CachePolicy, []registry.Stats) {
	if len(broken) == 0 {
		return policies, stats
	}
	var read []*v1.CachePolicy
	var figures []registry.Stats
	for i, policy := range policies {
		if broken[slotOf(policy)] == nil {
			read, figures = append(read, policy), append(figures, stats[i])
		}
	}
	return read, figures
}

func (m *Monitor) noteFigures(stats []registry.Stats) {
	counted := &figures{modules: len(stats)}
	for _, module := range stats {
		counted.keys += module.Keys
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.figures = counted
}

func slotsOf(policies []*v1.CachePolicy) []registry.Slot {
	slots := make([]registry.Slot, len(policies))
	for i, policy := range policies {
		slots[i] = slotOf(policy)
	}
	return slots
}

// publish writes into metrics, unless the store is no more: nobody would take away what a late look found.
func (m *Monitor) publish(write func()) {
	m.series.Lock()
	defer m.series.Unlock()
	if !m.dropped {
		write()
	}
}

// drop takes the store out of the metrics, for good.
func (m *Monitor) drop() {
	m.series.Lock()
	defer m.series.Unlock()
	m.dropped = true
	m.Metrics.forgetStore(m.id)
}
