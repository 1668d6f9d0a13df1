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

// valuesOf are the values of a metric's series.
func valuesOf(t *testing.T, m *Metrics, name string) []float64 {
	t.Helper()
	all := prometheus.NewRegistry()
	all.MustRegister(m)
	families, err := all.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := []float64{}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, series := range family.GetMetric() {
			values = append(values, series.GetCounter().GetValue()+series.GetGauge().GetValue())
		}
	}
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

	series.Drop()
	for _, name := range []string{"cachewright_store_up", "cachewright_store_data_losses_total", "cachewright_invalidations_total", "cachewright_invalidated_keys_total"} {
		g.Expect(valuesOf(t, m, name)).To(BeEmpty(), "what is left of a store that is no more")
	}
}

func TestTheSeriesOfAStoreGoWithIt(t *testing.T) {
	g := NewWithT(t)
	metrics := New(stats.NewSnapshot())
	series := metrics.ForStore(resource.StoreID{Namespace: "shop", Name: "main"})
	series.SetUsable(true)
	g.Expect(valuesOf(t, metrics, "cachewright_store_up")).To(Equal([]float64{1}))

	series.Drop()
	series.SetUsable(true)
	g.Expect(valuesOf(t, metrics, "cachewright_store_up")).To(BeEmpty())
}
