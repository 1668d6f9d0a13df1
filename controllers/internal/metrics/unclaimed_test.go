// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"testing"

	. "github.com/onsi/gomega"

	"github.com/cachewright/cachewright/controllers/internal/resource"
	"github.com/cachewright/cachewright/controllers/internal/stats"
)

func TestUnclaimedNamesAreCountedByNamespaceAndStore(t *testing.T) {
	g := NewWithT(t)
	snapshot := stats.NewSnapshot()
	m := New(snapshot)
	main := resource.StoreID{Namespace: "shop", Name: "main"}
	snapshot.ReplaceUnclaimed(resource.DefaultStore, map[string]int{"shop": 2, "bank": 0})
	snapshot.ReplaceUnclaimed(main, map[string]int{"shop": 3})
	found := map[string]float64{}
	eachSeries(t, m, func(name string, labels map[string]string, value float64) {
		if name == "cachewright_unclaimed_names" {
			found[labels["namespace"]+"/"+labels["store"]] = value
		}
	})
	g.Expect(found).To(Equal(map[string]float64{"shop/": 2, "shop/main": 3}))
	snapshot.ReplaceUnclaimed(main, nil)
	g.Expect(valuesOf(t, m, "cachewright_unclaimed_names")).To(Equal([]float64{2}))
}
