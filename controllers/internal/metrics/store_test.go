// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"testing"

	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/cachewright/cachewright/controllers/internal/resource"
	"github.com/cachewright/cachewright/controllers/internal/stats"
)

// eachSeries passes the name, the labels and the value of each series that a scrape gets.
func eachSeries(t *testing.T, m *Metrics, see func(name string, labels map[string]string, value float64)) {
	t.Helper()
	all := prometheus.NewRegistry()
	all.MustRegister(m)
	families, err := all.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, series := range family.GetMetric() {
			labels := map[string]string{}
			for _, label := range series.GetLabel() {
				labels[label.GetName()] = label.GetValue()
			}
			see(family.GetName(), labels, series.GetCounter().GetValue()+series.GetGauge().GetValue())
		}
	}
}

// metricsOf names the metric of each series of a store.
func metricsOf(t *testing.T, m *Metrics, store string) []string {
	t.Helper()
	var names []string
	eachSeries(t, m, func(name string, labels map[string]string, _ float64) {
		if labels["store"] == store {
			names = append(names, name)
		}
	})
	return names
}

// valuesOf are the values of a metric's series.
func valuesOf(t *testing.T, m *Metrics, metric string) []float64 {
	t.Helper()
	values := []float64{}
	eachSeries(t, m, func(name string, _ map[string]string, value float64) {
		if name == metric {
			values = append(values, value)
		}
	})
	return values
}

func TestCountersBeginAtZero(t *testing.T) {
	g := NewWithT(t)
	m := New(stats.NewSnapshot())
	store := resource.StoreID{Namespace: "shop", Name: "main"}
	series := m.ForStore(store)
	series.SetUsable(true)
	g.Expect(valuesOf(t, m, "cachewright_store_data_losses_total")).To(Equal([]float64{0}))
	g.Expect(valuesOf(t, m, "cachewright_invalidations_total")).To(Equal([]float64{0, 0, 0}), "of each result")
	g.Expect(valuesOf(t, m, "cachewright_invalidated_keys_total")).To(Equal([]float64{0}))
	g.Expect(valuesOf(t, m, "cachewright_store_up")).To(Equal([]float64{1}))

	g.Expect(valuesOf(t, m, "cachewright_lost_holds_total")).To(Equal([]float64{0}))
}

func TestTheSeriesOfAStoreGoWithIt(t *testing.T) {
	g := NewWithT(t)
	metrics := New(stats.NewSnapshot())
	series := metrics.ForStore(resource.StoreID{Namespace: "shop", Name: "main"})
	write := func() {
		series.SetUsable(true)
		series.SetRisks(nil)
		series.CountLoss()
	}
	write()
	g.Expect(metricsOf(t, metrics, "main")).To(ContainElements("cachewright_store_up",
		"cachewright_store_at_risk", "cachewright_store_data_losses_total",
		"cachewright_invalidations_total", "cachewright_invalidated_keys_total",
		"cachewright_lost_holds_total"))

	series.Drop()
	g.Expect(metricsOf(t, metrics, "main")).To(BeEmpty())
	write()
	g.Expect(metricsOf(t, metrics, "main")).To(BeEmpty(), "written by a late probe")
}
