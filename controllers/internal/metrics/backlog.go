// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/resource"
)

// backlog holds the resources of a kind that wait for something. Informers keep it current, so that
// a scrape lists no resources.
type backlog struct {
	waits func(client.Object) bool

	mu sync.Mutex
	// created says when each of them was.
	created map[types.NamespacedName]time.Time
}

func newBacklog(waits func(client.Object) bool) *backlog {
	return &backlog{waits: waits, created: map[types.NamespacedName]time.Time{}}
}

// isNotReady reports whether a policy is not in force as it is wanted.
func isNotReady(obj client.Object) bool {
	policy, ok := obj.(*v1.CachePolicy)
	return ok && !meta.IsStatusConditionTrue(policy.Status.Conditions, v1.ConditionReady)
}

// isPending reports whether an invalidation has not taken effect, and may yet.
func isPending(obj client.Object) bool {
	invalidation, ok := obj.(*v1.CacheInvalidation)
	return ok && !resource.IsFinished(invalidation) && invalidation.Status.EffectiveTime == nil
}

// isHolding reports whether an invalidation holds.
func isHolding(obj client.Object) bool {
	invalidation, ok := obj.(*v1.CacheInvalidation)
	return ok && invalidation.Status.State == v1.StateHolding
}

// see notes a resource as an informer has it.
func (b *backlog) see(seen any) {
	obj, ok := seen.(client.Object)
	if !ok {
		return
	}
	waits := b.waits(obj)
	b.mu.Lock()
	defer b.mu.Unlock()
	if waits {
		b.created[client.ObjectKeyFromObject(obj)] = obj.GetCreationTimestamp().Time
	} else {
		delete(b.created, client.ObjectKeyFromObject(obj))
	}
}

// forget notes that a resource is deleted.
func (b *backlog) forget(gone any) {
	key, err := toolscache.DeletionHandlingObjectToName(gone)
	if err != nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.created, types.NamespacedName{Namespace: key.Namespace, Name: key.Name})
}

// waiting is the backlog of one namespace.
type waiting struct {
	count  int
	oldest time.Time
}

func (b *backlog) byNamespace() map[string]waiting {
	b.mu.Lock()
	defer b.mu.Unlock()
	found := map[string]waiting{}
	for key, created := range b.created {
		w := found[key.Namespace]
		if w.count == 0 || created.Before(w.oldest) {
			w.oldest = created
		}
		w.count++
		found[key.Namespace] = w
	}
	return found
}

var (
	notReadyPolicies = prometheus.NewDesc("cachewright_policies_not_ready",
		"CachePolicy resources whose condition Ready is not True.", []string{"namespace"}, nil)
	pendingInvalidations = prometheus.NewDesc("cachewright_pending_invalidations",
		"CacheInvalidation resources that have not taken effect, and may yet.", []string{"namespace"},
		nil)
	oldestPendingInvalidation = prometheus.NewDesc("cachewright_oldest_pending_invalidation_seconds",
		"Age of the oldest CacheInvalidation resource that has not taken effect, and may yet.",
		[]string{"namespace"}, nil)
	holdingInvalidations = prometheus.NewDesc("cachewright_holding_invalidations",
		"CacheInvalidation resources that hold: nothing of their targets is stored.",
		[]string{"namespace"}, nil)
)

// collectBacklogs is part of Collect. Namespaces in which nothing waits have no series.
func (m *Metrics) collectBacklogs(metrics chan<- prometheus.Metric) {
	for namespace, policies := range m.notReady.byNamespace() {
		collectGauge(metrics, notReadyPolicies, float64(policies.count), namespace)
	}
	for namespace, invalidations := range m.pending.byNamespace() {
		collectGauge(metrics, pendingInvalidations, float64(invalidations.count), namespace)
		collectGauge(metrics, oldestPendingInvalidation,
			max(0, time.Since(invalidations.oldest).Seconds()), namespace)
	}
	for namespace, invalidations := range m.holding.byNamespace() {
		collectGauge(metrics, holdingInvalidations, float64(invalidations.count), namespace)
	}
}

func collectGauge(
	metrics chan<- prometheus.Metric, desc *prometheus.Desc, value float64, namespace string,
) {
	metrics <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, namespace)
}
