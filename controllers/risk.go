// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"slices"

	"github.com/cachewright/cachewright/registry"
)

// tellRisks says in a metric what endangers the users of a store that can be used, and in the log when that changes. For
// the operator's own Redis, which no resource stands for, nothing else does.
func (m *Monitor) tellRisks(before, now []registry.Warning) {
	m.publish(func() { m.Metrics.storeAtRisk(m.id, now) })
	switch {
	case slices.Equal(before, now):
	case len(now) == 0:
		m.Log.Info("Redis is at risk no more", "at", m.place.address)
	default:
		m.Log.Info("Redis can be used, but it is at risk", "at", m.place.address,
			"reason", dangers[now[0].Kind], "dangers", messageOf(now))
	}
}
