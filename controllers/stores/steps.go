// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package stores

import (
	"context"

	"github.com/cachewright/cachewright/controllers/internal/drift"
	"github.com/cachewright/cachewright/controllers/recovery"
	"github.com/cachewright/cachewright/controllers/stores/calls"
	"github.com/cachewright/cachewright/registry"
)

// What is logged of a step that failed in a store that can be used.
const (
	notFenced    = "Fencing after a data loss is incomplete, retrying"
	notSynced    = "Comparing policies with Redis failed, retrying"
	notCollected = "Reading statistics from Redis failed, retrying"
	notUnclaimed = "Reading names without a CachePolicy from Redis failed, retrying"
)

// runSteps runs all steps that follow a probe of a store that can be used.
func (m *Monitor) runSteps(ctx context.Context, store calls.Store, health registry.Health) {
	m.runFencer(ctx, store, health)
	m.runOthers(ctx, store, health)
}

// runFencer comes first: nothing may be read or woken while an older state is live.
func (m *Monitor) runFencer(ctx context.Context, store calls.Store, health registry.Health) {
	m.logOnce(ctx, notFenced, m.fencer.Fence(ctx, recovery.Target{
		Store: store, Location: m.connection.at(), Health: health,
		OnDataLoss: m.connection.connector.onDataLoss(),
	}))
}

func (m *Monitor) runOthers(ctx context.Context, store calls.Store, health registry.Health) {
	m.logOnce(ctx, notSynced, m.syncer.Sync(ctx, drift.Target{
		Store: store, Location: m.connection.at(), Health: health,
	}))
	m.logOnce(ctx, notUnclaimed, m.unclaimed.Collect(ctx, store))
	m.logOnce(ctx, notCollected, m.collector.Collect(ctx, store))
}

// logOnce logs a failure of a step, unless it is the one that was logged last: an ACL may forbid
// one namespace for weeks.
func (m *Monitor) logOnce(ctx context.Context, step string, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if ctx.Err() != nil || text == m.lastLogged[step] {
		return
	}
	m.lastLogged[step] = text
	if err != nil {
		m.Log.Error(err, step)
	}
}
