// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/registry"
)

// statsJitter spreads the reads of figures over time.
const statsJitter = 0.1

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
	m.Metrics.observeAll(m.id, counted, stats)
	m.noteFigures(stats)
	for i, policy := range counted {
		if m.tellsNews(policy, stats[i], now) {
			m.policies.wakeWithin(ctx, client.ObjectKeyFromObject(policy), m.StatsInterval/2)
		}
	}
	return broken.OrNil()
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

func (m *Monitor) tellsNews(policy *v1.CachePolicy, stats registry.Stats, now time.Time) bool {
	return stats.Pending > 0 || nextStats(policy.Status.Stats, &stats, now, m.StatsInterval) != policy.Status.Stats
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
