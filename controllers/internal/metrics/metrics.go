// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/resource"
	"github.com/cachewright/cachewright/controllers/internal/stats"
	"github.com/cachewright/cachewright/registry"
)

// Metrics are the operator's Prometheus metrics: use of each module by the last snapshot, counts of
// invalidations, and the state of stores. Labels are names of namespaces, stores, modules and
// operations, never of users or entries.
type Metrics struct {
	storeUp           *prometheus.GaugeVec
	atRisk            *prometheus.GaugeVec
	dataLosses        *prometheus.CounterVec
	invalidations     *prometheus.CounterVec
	keysInvalidated   *prometheus.CounterVec
	lostHolds         *prometheus.CounterVec
	keptInvalidations *prometheus.GaugeVec
	// notReady are the policies, and pending the invalidations, that wait. Those in holding hold.
	notReady, pending, holding *backlog
	snapshot                   *stats.Snapshot
}

// dryRunResult is the result of an invalidation that only counted.
const dryRunResult = "DryRun"

// New returns metrics with the statistics of a snapshot. They have to be registered.
func New(snapshot *stats.Snapshot) *Metrics {
	return &Metrics{
		storeUp: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "cachewright_store_up",
			Help: "1 if Redis answered the last check and can be used, else 0. Labels are empty for the " +
				"operator's own Redis.",
		}, []string{"namespace", "store"}),
		atRisk: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "cachewright_store_at_risk",
			Help: "1 if something about the servers of a store endangers its users, by reason as in the " +
				"condition AtRisk, else 0; as last found.",
		}, []string{"namespace", "store", "reason"}),
		dataLosses: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cachewright_store_data_losses_total",
			Help: "How often a store may have gone back to an older state, and entries were invalidated " +
				"or purges issued again.",
		}, []string{"namespace", "store"}),
		invalidations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cachewright_invalidations_total",
			Help: "CacheInvalidation resources that finished, by result: Complete, Failed or DryRun.",
		}, []string{"namespace", "store", "result"}),
		keysInvalidated: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cachewright_invalidated_keys_total",
			Help: "Live entries that CacheInvalidation resources invalidated.",
		}, []string{"namespace", "store"}),
		lostHolds: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cachewright_lost_holds_total",
			Help: "Marks of CacheInvalidation resources that hold, which Redis lost and the operator put " +
				"back.",
		}, []string{"namespace", "store"}),
		keptInvalidations: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "cachewright_finished_invalidations",
			Help: "Finished CacheInvalidation resources that are kept. managed: true for those that a " +
				"GitOps tool manages, so that only it deletes them.",
		}, []string{"namespace", "managed"}),
		notReady: newBacklog(isNotReady),
		pending:  newBacklog(isPending),
		holding:  newBacklog(isHolding),
		snapshot: snapshot,
	}
}

// beginInvalidations makes the counters of the invalidations of a namespace in a store begin at 0.
// A counter that begins at 1 shows no increase.
func (m *Metrics) beginInvalidations(namespace, store string) {
	for _, result := range []string{string(v1.StateComplete), string(v1.StateFailed), dryRunResult} {
		m.invalidations.WithLabelValues(namespace, store, result)
	}
	m.keysInvalidated.WithLabelValues(namespace, store)
	m.lostHolds.WithLabelValues(namespace, store)
}

// invalidationSeries are the series that beginInvalidations begins.
func (m *Metrics) invalidationSeries() []deleter {
	return []deleter{m.invalidations, m.keysInvalidated, m.lostHolds}
}

// forgetNamespace deletes the series of the invalidations of a namespace in the operator's own
// Redis. Those in a CacheStore are deleted with that.
func (m *Metrics) forgetNamespace(namespace string) {
	for _, series := range m.invalidationSeries() {
		series.DeletePartialMatch(
			prometheus.Labels{"namespace": namespace, "store": resource.DefaultStore.Name})
	}
}

// deleter deletes series by some of their labels.
type deleter interface {
	DeletePartialMatch(labels prometheus.Labels) int
}

// CountFinished counts an invalidation that completed or failed.
func (m *Metrics) CountFinished(invalidation *v1.CacheInvalidation) {
	result := string(invalidation.Status.State)
	if invalidation.Status.State == v1.StateCounted {
		result = dryRunResult
	}
	store := resource.StoreName(invalidation.Spec.StoreRef)
	m.invalidations.WithLabelValues(invalidation.Namespace, store, result).Inc()
	if keys := invalidation.Status.KeysInvalidated; keys != nil && !invalidation.Spec.DryRun {
		// A store may answer anything.
		m.keysInvalidated.WithLabelValues(invalidation.Namespace, store).Add(float64(max(*keys, 0)))
	}
}

// CountLostHolds counts marks of an invalidation that Redis lost.
func (m *Metrics) CountLostHolds(invalidation *v1.CacheInvalidation, lost int64) {
	if lost > 0 {
		m.lostHolds.WithLabelValues(invalidation.Namespace,
			resource.StoreName(invalidation.Spec.StoreRef)).Add(float64(lost))
	}
}

// SetKept sets how many finished invalidations a namespace has.
func (m *Metrics) SetKept(namespace string, own, managed int) {
	for label, count := range map[string]int{"false": own, "true": managed} {
		if count == 0 {
			m.keptInvalidations.DeleteLabelValues(namespace, label)
		} else {
			m.keptInvalidations.WithLabelValues(namespace, label).Set(float64(count))
		}
	}
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(descs chan<- *prometheus.Desc) {
	for _, part := range m.parts() {
		part.Describe(descs)
	}
	descs <- notReadyPolicies
	descs <- pendingInvalidations
	descs <- oldestPendingInvalidation
	descs <- holdingInvalidations
	descs <- unclaimedNames
	describeModules(descs)
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(metrics chan<- prometheus.Metric) {
	for _, part := range m.parts() {
		part.Collect(metrics)
	}
	m.collectBacklogs(metrics)
	m.collectUnclaimed(metrics)
	m.snapshot.Each(func(module stats.Module, counted registry.Stats) {
		collectModule(metrics, module, counted)
	})
}

func (m *Metrics) parts() []prometheus.Collector {
	return []prometheus.Collector{
		m.storeUp, m.atRisk, m.dataLosses, m.invalidations, m.keysInvalidated, m.lostHolds,
		m.keptInvalidations,
	}
}
