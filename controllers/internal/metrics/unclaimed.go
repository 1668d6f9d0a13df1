// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/cachewright/cachewright/controllers/internal/stats"
)

// The names are no label: applications choose them.
var unclaimedNames = prometheus.NewDesc("cachewright_unclaimed_names",
	"Modules and operations that applications used in the last day and no CachePolicy lists, 64 at "+
		"most. Nothing is cached under these names.", []string{"namespace", "store"}, nil)

// collectUnclaimed is part of Collect. Namespaces without such names have no series.
func (m *Metrics) collectUnclaimed(metrics chan<- prometheus.Metric) {
	m.snapshot.EachUnclaimed(func(namespace stats.Namespace, count int) {
		metrics <- prometheus.MustNewConstMetric(unclaimedNames, prometheus.GaugeValue, float64(count),
			namespace.Name, namespace.Store.Name)
	})
}
