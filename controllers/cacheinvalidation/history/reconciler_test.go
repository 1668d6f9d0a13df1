// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package history

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/controllertest"
	"github.com/cachewright/cachewright/controllers/internal/metrics"
	"github.com/cachewright/cachewright/controllers/internal/stats"
)

func TestTheHistoryOfANamespaceIsBounded(t *testing.T) {
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	ended := func(condition string, after int) func(*v1.CacheInvalidation) {
		return func(p *v1.CacheInvalidation) {
			p.Status.Conditions = []metav1.Condition{{Type: condition, Status: metav1.ConditionTrue}}
			p.Status.CompletionTime = &metav1.Time{Time: began.Add(time.Duration(after) * time.Second)}
		}
	}
	ofFlux := func(p *v1.CacheInvalidation) { p.Labels = map[string]string{"kustomize.toolkit.fluxcd.io/name": "x"} }
	elsewhere := func(p *v1.CacheInvalidation) { p.Namespace = "bank" }
	var objects []client.Object
	for name, change := range map[string][]func(*v1.CacheInvalidation){
		"late": {ended(v1.ConditionComplete, 9)}, "middle": {ended(v1.ConditionFailed, 5)}, "early": {ended(v1.ConditionComplete, 1)},
		"of-flux": {ended(v1.ConditionComplete, 0), ofFlux}, "under-way": {}, "of-bank": {ended(v1.ConditionComplete, 0), elsewhere},
	} {
		invalidation := controllertest.Invalidation(v1.InvalidationTarget{Module: "users"})
		invalidation.Namespace, invalidation.Name, invalidation.UID = "shop", name, types.UID(name)
		for _, c := range change {
			c(invalidation)
		}
		objects = append(objects, invalidation)
	}
	for _, test := range []struct {
		limit int
		want  []string
	}{
		{3, []string{"early", "late", "middle", "of-bank", "of-flux", "under-way"}},
		{2, []string{"late", "middle", "of-bank", "of-flux", "under-way"}},
		{1, []string{"late", "of-bank", "of-flux", "under-way"}},
		{0, []string{"early", "late", "middle", "of-bank", "of-flux", "under-way"}},
	} {
		cluster := controllertest.FakeCluster(t, objects...)
		r := &Reconciler{Client: cluster, Metrics: metrics.New(stats.NewSnapshot()), Limit: test.limit}
		if _, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "shop"}}); err != nil {
			t.Fatal(err)
		}
		if got := namesOf(t, cluster); !slices.Equal(got, test.want) {
			t.Errorf("of %d, %q are left; want %q", test.limit, got, test.want)
		}
		if own, managed := keptIn(t, r.Metrics, "false"), keptIn(t, r.Metrics, "true"); own != 3 || managed != 1 {
			t.Errorf("of %d, the metric shows %v and %v", test.limit, own, managed)
		}
	}
}

func TestALongHistoryIsDeletedInSteps(t *testing.T) {
	var objects []client.Object
	for i := range historyBatch + 3 {
		invalidation := controllertest.Invalidation(v1.InvalidationTarget{Module: "users"})
		invalidation.Namespace, invalidation.Name = "shop", fmt.Sprintf("purge-%03d", i)
		invalidation.Status.Conditions = []metav1.Condition{{Type: v1.ConditionComplete, Status: metav1.ConditionTrue}}
		invalidation.Status.CompletionTime = &metav1.Time{Time: time.Unix(int64(i), 0)}
		objects = append(objects, invalidation)
	}
	cluster := controllertest.FakeCluster(t, objects...)
	r := &Reconciler{Client: cluster, Metrics: metrics.New(stats.NewSnapshot()), Limit: 1}
	request := reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "shop"}}
	if result, err := r.Reconcile(t.Context(), request); err != nil || result.RequeueAfter == 0 || len(namesOf(t, cluster)) != 3 {
		t.Fatalf("left %q, and comes again after %s (%v)", namesOf(t, cluster), result.RequeueAfter, err)
	}
	result, err := r.Reconcile(t.Context(), request)
	if got := namesOf(t, cluster); err != nil || result.RequeueAfter != 0 || !slices.Equal(got, []string{"purge-102"}) {
		t.Errorf("left %q, and comes again after %s (%v)", got, result.RequeueAfter, err)
	}
}

func namesOf(t *testing.T, cluster client.Client) (names []string) {
	t.Helper()
	list := &v1.CacheInvalidationList{}
	if err := cluster.List(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	for _, invalidation := range list.Items {
		names = append(names, invalidation.Name)
	}
	slices.Sort(names)
	return names
}

// keptIn returns what the metric shows of namespace shop.
func keptIn(t *testing.T, series *metrics.Metrics, managed string) float64 {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(series)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			labels := metric.GetLabel()
			if family.GetName() == "cachewright_finished_invalidations" && labels[0].GetValue() == managed && labels[1].GetValue() == "shop" {
				return metric.GetGauge().GetValue()
			}
		}
	}
	return 0
}
