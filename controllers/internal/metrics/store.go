// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cachewright/cachewright/controllers/internal/convert"
	"github.com/cachewright/cachewright/controllers/internal/resource"
	"github.com/cachewright/cachewright/registry"
)

// StoreSeries writes the series of one store. Once they are dropped it writes none: nobody would
// delete what a late probe wrote.
type StoreSeries struct {
	metrics *Metrics
	id      resource.StoreID

	mu      sync.Mutex
	dropped bool
}

// ForStore returns what writes the series of a store.
func (m *Metrics) ForStore(id resource.StoreID) *StoreSeries {
	return &StoreSeries{metrics: m, id: id}
}

func (s *StoreSeries) write(do func(m *Metrics)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.dropped {
		do(s.metrics)
	}
}

// SetUsable sets whether the store can be used, and makes its counters begin at 0.
func (s *StoreSeries) SetUsable(usable bool) {
	up := 0.0
	if usable {
		up = 1
	}
	s.write(func(m *Metrics) {
		m.storeUp.WithLabelValues(s.id.Namespace, s.id.Name).Set(up)
		m.dataLosses.WithLabelValues(s.id.Namespace, s.id.Name)
		if s.id != resource.DefaultStore {
			m.beginInvalidations(s.id.Namespace, s.id.Name)
		}
	})
}

// SetRisks sets what endangers the users of the store.
func (s *StoreSeries) SetRisks(warnings []registry.Warning) {
	s.write(func(m *Metrics) {
		for kind, reason := range convert.RiskReasons {
			at := 0.0
			if slices.ContainsFunc(warnings, func(w registry.Warning) bool { return w.Kind == kind }) {
				at = 1
			}
			m.atRisk.WithLabelValues(s.id.Namespace, s.id.Name, reason).Set(at)
		}
	})
}

// CountLoss counts that the store went back to an older state.
func (s *StoreSeries) CountLoss() {
	s.write(func(m *Metrics) { m.dataLosses.WithLabelValues(s.id.Namespace, s.id.Name).Inc() })
}

// Drop deletes the series of a store that is gone.
func (s *StoreSeries) Drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropped = true
	m := s.metrics
	for _, series := range append(m.invalidationSeries(), m.storeUp, m.atRisk, m.dataLosses) {
		series.DeletePartialMatch(prometheus.Labels{"namespace": s.id.Namespace, "store": s.id.Name})
	}
}
