// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

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

func TestADeletedStoreIsDeadAfterItsPatienceOnlyWhileItCannotBeUsed(t *testing.T) {
	const patience = time.Minute
	deleted := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	store := storeTo("main", "r:6379")
	store.DeletionTimestamp = &metav1.Time{Time: deleted}
	usable, broken := &finding{generation: editionOf(store)}, &finding{generation: editionOf(store), err: registry.ErrUnreachable}
	for _, test := range []struct {
		name  string
		last  *finding
		after time.Duration
		dead  bool
	}{
		{"usable", usable, 2 * patience, false},
		{"usable, for long", usable, abandonAfter * patience, true},
		{"out of reach", broken, 2 * patience, true},
		{"out of reach, lately", broken, patience / 2, false},
		{"never looked at", nil, 2 * patience, true},
	} {
		r := &CacheStoreReconciler{Clock: clocktesting.NewFakeClock(deleted.Add(test.after)), WithdrawTimeout: patience}
		if dead := r.isDead(store, test.last); dead != test.dead {
			t.Errorf("%s: dead is %v", test.name, dead)
		}
	}
}

func TestAFinalizerThatAnotherAddedMeanwhileIsNotTakenAway(t *testing.T) {
	g := NewWithT(t)
	policy := usersPolicy()
	policy.Namespace, policy.Finalizers = "shop", []string{v1.CachePolicyFinalizer}
	cluster := fakeCluster(t, policy)
	read := &v1.CachePolicy{}
	g.Expect(cluster.Get(t.Context(), client.ObjectKeyFromObject(policy), read)).To(Succeed())
	patch := newPatcher(cluster, read)

	others := copyOf(read).(*v1.CachePolicy)
	others.Finalizers = append(others.Finalizers, "example.com/keep")
	g.Expect(cluster.Update(t.Context(), others)).To(Succeed())

	g.Expect(apierrors.IsConflict(patch.finalizer(t.Context(), read, v1.CachePolicyFinalizer, false))).To(BeTrue())
	g.Expect(cluster.Get(t.Context(), client.ObjectKeyFromObject(policy), read)).To(Succeed())
	g.Expect(read.Finalizers).To(ConsistOf(v1.CachePolicyFinalizer, "example.com/keep"))
}

// partly is a store of which one primary answers no question about a policy.
type partly struct {
	*scriptedStore
	err error
}

func (s partly) PolicyHashes(_ context.Context, slots []registry.Slot) ([]string, error) {
	return make([]string, len(slots)), registry.SlotErrors{slots[0]: s.err}
}

func TestAPolicyWhosePrimaryIsAwayIsNotWoken(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		want []string
	}{
		"the primary is away":  {registry.ErrUnreachable, []string{"last"}},
		"the key is forbidden": {registry.ErrForbidden, []string{"first", "last"}},
	} {
		t.Run(name, func(t *testing.T) {
			monitor := newMonitor(defaultStore, givenStore{}, surroundings{Clock: clocktesting.NewFakeClock(time.Now()), policies: make(wakeups)})
			monitor.link = &link{store: partly{&scriptedStore{}, test.err}}
			policies := []*v1.CachePolicy{usersPolicy(), usersPolicy()}
			for i, name := range []string{"first", "last"} {
				policies[i].Name, policies[i].Spec.Module, policies[i].Status.AppliedHash = name, name, "h"
			}

			mended := make(chan error)
			go func() {
				_, err := monitor.mendBatch(t.Context(), policies)
				mended <- err
			}()
			var woken []string
			for {
				select {
				case e := <-monitor.policies:
					woken = append(woken, e.Object.name.Name)
					continue
				case err := <-mended:
					if err == nil || !slices.Equal(woken, test.want) {
						t.Errorf("woke %q (%v), want %q", woken, err, test.want)
					}
				}
				return
			}
		})
	}
}

func TestTheSeriesOfAStoreGoWithIt(t *testing.T) {
	g := NewWithT(t)
	metrics := NewMetrics()
	monitor := newMonitor(storeID{Namespace: "shop", Name: "main"}, givenStore{}, surroundings{Metrics: metrics, Clock: clocktesting.NewFakeClock(time.Now())})
	find := func() { metrics.storeFound(monitor.id, true) }
	monitor.publish(find)
	g.Expect(valuesOf(t, metrics, "cachewright_store_up")).To(Equal([]float64{1}))

	monitor.drop()
	monitor.publish(find)
	g.Expect(valuesOf(t, metrics, "cachewright_store_up")).To(BeEmpty())
}
