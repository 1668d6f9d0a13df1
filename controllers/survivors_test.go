// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	clocktesting "k8s.io/utils/clock/testing"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/registry"
)

func TestOneLossIsToldToABoundedNumberOfPolicies(t *testing.T) {
	policies := make([]v1.CachePolicy, maxLossEvents+50)
	loss := dataLoss{}
	for i := range policies {
		policies[i] = *usersPolicy()
		policies[i].Namespace, policies[i].Spec.Module = "shop", fmt.Sprint("m", i)
		loss.invalidated = append(loss.invalidated, registry.Fence{Slot: slotOf(&policies[i]), Covered: registry.Invalidated{Keys: 1}})
	}
	if told := len(losers(policies, loss)); told != maxLossEvents {
		t.Errorf("told %d policies, want %d", told, maxLossEvents)
	}
}

// signLog remembers where signs of life were left.
type signLog struct {
	Store

	left []registry.Slot
}

func (l *signLog) Alive(_ context.Context, slots []registry.Slot, _ time.Time) error {
	l.left = append(l.left, slots...)
	return nil
}

func TestASignOfLifeIsLeftOnEachPrimaryInASlotOfItsOwn(t *testing.T) {
	g := NewWithT(t)
	log := &signLog{}
	m := newMonitor(defaultStore, givenStore{store: log, loss: v1.DataLossReplay}, surroundings{Clock: clocktesting.NewFakeClock(time.Now())})
	m.link = &link{store: log}
	slots := []registry.Slot{{Namespace: "shop", Module: "a"}, {Namespace: "shop", Module: "b"}, {Namespace: "shop", Module: "c"}, {Namespace: "shop", Module: "d"}}
	serving := []registry.Incarnation{"one", "two", "one", ""}
	m.fenced.inPlace = map[registry.Slot]registry.Incarnation{slots[0]: "one", slots[1]: "two", slots[2]: "one"}

	g.Expect(m.leaveSign(t.Context(), slots, serving)).To(Succeed())
	g.Expect(log.left).To(ConsistOf(slots[0], slots[1]))
}

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
	m := NewMetrics()
	store := storeID{Namespace: "shop", Name: "main"}
	m.storeFound(store, true)
	g.Expect(valuesOf(t, m, "cachewright_store_data_losses_total")).To(Equal([]float64{0}))
	g.Expect(valuesOf(t, m, "cachewright_invalidations_total")).To(Equal([]float64{0, 0, 0}), "of each result")
	g.Expect(valuesOf(t, m, "cachewright_invalidated_keys_total")).To(Equal([]float64{0}))
	g.Expect(valuesOf(t, m, "cachewright_store_up")).To(Equal([]float64{1}))

	m.forgetStore(store)
	for _, name := range []string{"cachewright_store_up", "cachewright_store_data_losses_total", "cachewright_invalidations_total", "cachewright_invalidated_keys_total"} {
		g.Expect(valuesOf(t, m, name)).To(BeEmpty(), "what is left of a store that is no more")
	}
}

func TestMessagesHoldNoControlBytes(t *testing.T) {
	g := NewWithT(t)
	g.Expect(shown("a\x1b[31mred\r\nb\u202ec\xff\x00")).To(Equal("a [31mred  b c\uFFFD "))
	g.Expect(len(shown(strings.Repeat("\xff", maxMessage)))).To(BeNumerically("<=", maxMessage))
}
