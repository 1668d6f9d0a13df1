// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package stores

import (
	"context"
	"slices"

	"github.com/cachewright/cachewright/controllers/internal/convert"
	"github.com/cachewright/cachewright/controllers/internal/status"
	"github.com/cachewright/cachewright/registry"
)

// record replaces what is known of the store, and logs what changed. It reports whether that
// concerns every resource of the store: it went, came back, is refused for another reason, or was
// restarted or replaced.
func (m *Monitor) record(result ProbeResult) (concernsAll bool) {
	at := m.connection.at()
	m.series.SetUsable(result.Err == nil)
	t := m.state.record(result, at)
	switch {
	case t.lost != nil:
		m.Log.Error(result.Err, "Redis cannot be used", "at", at.Address, "reason", t.lost.Reason)
		status.LogPanic(m.Log, result.Err)
	case result.Err == nil:
		m.recordRisks(at, t.before.Health.Warnings(), result.Health.Warnings())
	}
	if t.restored {
		m.Log.Info("Redis can be used", "at", at.Address, "version", result.Health.Version, "runIDs",
			result.Health.RunIDs)
	}
	return t.concernsAll
}

// recordRisks publishes what endangers the users of a store that can be used, and logs changes. No
// resource stands for the operator's own Redis, so only these show its risks.
func (m *Monitor) recordRisks(at status.Location, before, now []registry.Warning) {
	m.series.SetRisks(now)
	switch {
	case slices.Equal(before, now):
	case len(now) == 0:
		m.Log.Info("Redis is no longer at risk", "at", at.Address)
	default:
		m.Log.Info("Redis can be used, but it is at risk", "at", at.Address,
			"reason", convert.RiskReasons[now[0].Kind], "dangers", convert.WarningMessage(now))
	}
}

// recordPanic notes that a probe panicked. The connection is given up: half a reply may be left on
// it.
func (m *Monitor) recordPanic(ctx context.Context, err error) {
	m.connection.disconnect()
	version := m.connection.connector.declaration().version
	concernsAll := m.record(ProbeResult{Version: version, Err: err})
	if m.leads() {
		m.wake(ctx, concernsAll, concernsAll)
	}
}

// wake wakes those who wait for a probe and, if they are concerned, all that refer to the store,
// and its CacheStore.
func (m *Monitor) wake(ctx context.Context, all, store bool) {
	if all {
		m.waker.wakeAll(ctx)
	}
	for w := range m.state.takeWaiting() {
		w.queue.Enqueue(ctx, w.name)
	}
	if store {
		m.waker.wakeStore(ctx)
	}
}
