// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"maps"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/registry"
)

// Metrics are the live figures: what each module holds and how it is used as the operator last saw
// it, what was purged, and whether the store answers. Labels are names of namespaces, modules and
// operations; never of users or entries.
type Metrics struct {
	storeUp         *prometheus.GaugeVec
	atRisk          *prometheus.GaugeVec
	dataLosses      *prometheus.CounterVec
	invalidations   *prometheus.CounterVec
	keysInvalidated *prometheus.CounterVec
	keptPurges      *prometheus.GaugeVec
	// notReady are the policies, and pending the purges, that wait.
	notReady, pending *backlog

	mu      sync.Mutex
	modules map[moduleID]moduleStats
}

// moduleID names a module: one of the same name may be in several stores.
type moduleID struct {
	store storeID
	slot  registry.Slot
}

type moduleStats struct {
	policy types.NamespacedName
	stats  registry.Stats
}

// dryRunResult is the result of a purge that only counted.
const dryRunResult = "DryRun"

// NewMetrics returns metrics to be registered, for example with controller-runtime's registry.
func NewMetrics() *Metrics {
	return &Metrics{
		storeUp: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "cachewright_store_up",
			Help: "1 if Redis answered the last check and can be used, else 0. Labels are empty for the operator's own Redis.",
		}, []string{"namespace", "store"}),
		atRisk: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "cachewright_store_at_risk",
			Help: "1 if something about the servers of a store endangers its users, by reason as in the condition AtRisk, else 0; as last found.",
		}, []string{"namespace", "store", "reason"}),
		dataLosses: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cachewright_store_data_losses_total",
			Help: "How often a store may have gone back to an older state, and entries were invalidated or purges issued again.",
		}, []string{"namespace", "store"}),
		invalidations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cachewright_invalidations_total",
			Help: "CacheInvalidation resources that finished, by result: Complete, Failed or DryRun.",
		}, []string{"namespace", "store", "result"}),
		keysInvalidated: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cachewright_invalidated_keys_total",
			Help: "Live entries that CacheInvalidation resources invalidated.",
		}, []string{"namespace", "store"}),
		keptPurges: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "cachewright_finished_invalidations",
			Help: "Finished CacheInvalidation resources that are kept. managed: true for those that a GitOps tool manages, so that only it deletes them.",
		}, []string{"namespace", "managed"}),
		notReady: newBacklog(isNotReady),
		pending:  newBacklog(isPending),
		modules:  map[moduleID]moduleStats{},
	}
}

// storeFound notes whether a store can be used.
func (m *Metrics) storeFound(id storeID, usable bool) {
	up := 0.0
	if usable {
		up = 1
	}
	m.storeUp.WithLabelValues(id.Namespace, id.Name).Set(up)
	m.begin(id)
}

// begin makes the counters of a store begin at 0: a counter that is born at 1 has not increased for those who ask.
func (m *Metrics) begin(id storeID) {
	m.dataLosses.WithLabelValues(id.Namespace, id.Name)
	if id != defaultStore {
		m.beginPurges(id.Namespace, id.Name)
	}
}

// beginPurges does so for the purges of a namespace in a store.
func (m *Metrics) beginPurges(namespace, store string) {
	for _, result := range []string{string(v1.StateComplete), string(v1.StateFailed), dryRunResult} {
		m.invalidations.WithLabelValues(namespace, store, result)
	}
	m.keysInvalidated.WithLabelValues(namespace, store)
}

// storeAtRisk notes what endangers the users of a store.
func (m *Metrics) storeAtRisk(id storeID, warnings []registry.Warning) {
	for kind, reason := range dangers {
		at := 0.0
		if slices.ContainsFunc(warnings, func(w registry.Warning) bool { return w.Kind == kind }) {
			at = 1
		}
		m.atRisk.WithLabelValues(id.Namespace, id.Name, reason).Set(at)
	}
}

// lostData counts that a store went back to an older state.
func (m *Metrics) lostData(id storeID) { m.dataLosses.WithLabelValues(id.Namespace, id.Name).Inc() }

// forgetStore drops what was noted of a store that is no more.
func (m *Metrics) forgetStore(id storeID) {
	m.storeUp.DeleteLabelValues(id.Namespace, id.Name)
	m.dataLosses.DeleteLabelValues(id.Namespace, id.Name)
	for _, series := range []interface{ DeletePartialMatch(prometheus.Labels) int }{m.atRisk, m.invalidations, m.keysInvalidated} {
		series.DeletePartialMatch(prometheus.Labels{"namespace": id.Namespace, "store": id.Name})
	}
	m.observeAll(id, nil, nil)
}

// forgetNamespace drops what was counted of the purges of a namespace in the operator's own Redis. Of a CacheStore it goes with that.
func (m *Metrics) forgetNamespace(namespace string) {
	for _, series := range []interface{ DeletePartialMatch(prometheus.Labels) int }{m.invalidations, m.keysInvalidated} {
		series.DeletePartialMatch(prometheus.Labels{"namespace": namespace, "store": defaultStore.Name})
	}
}

// observe keeps the latest figures of the module that a policy governs.
func (m *Metrics) observe(policy *v1.CachePolicy, stats registry.Stats) {
	m.beginPurges(policy.Namespace, storeOf(policy).Name)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.modules[moduleID{storeOf(policy), slotOf(policy)}] = moduleStats{policy: client.ObjectKeyFromObject(policy), stats: stats}
}

// observeAll replaces the figures of a store's modules by those of the policies that govern them.
func (m *Metrics) observeAll(id storeID, policies []*v1.CachePolicy, stats []registry.Stats) {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.modules, func(module moduleID, _ moduleStats) bool { return module.store == id })
	for i, policy := range policies {
		m.modules[moduleID{id, slotOf(policy)}] = moduleStats{policy: client.ObjectKeyFromObject(policy), stats: stats[i]}
	}
}

// size returns of how many modules there are figures.
func (m *Metrics) size() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.modules)
}

// statsOf returns the latest figures of the module that a policy governs, nil if there are none.
func (m *Metrics) statsOf(policy *v1.CachePolicy) *registry.Stats {
	m.mu.Lock()
	defer m.mu.Unlock()
	module, known := m.modules[moduleID{storeOf(policy), slotOf(policy)}]
	if !known || module.policy != client.ObjectKeyFromObject(policy) {
		return nil
	}
	return &module.stats
}

// forget drops the figures of a policy that governs nothing any more.
func (m *Metrics) forget(policy types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.modules, func(_ moduleID, module moduleStats) bool { return module.policy == policy })
}

// finished counts a purge that completed or failed.
func (m *Metrics) finished(invalidation *v1.CacheInvalidation) {
	result := string(invalidation.Status.State)
	if invalidation.Status.State == v1.StateCounted {
		result = dryRunResult
	}
	store := storeName(invalidation.Spec.StoreRef)
	m.invalidations.WithLabelValues(invalidation.Namespace, store, result).Inc()
	if keys := invalidation.Status.KeysInvalidated; keys != nil && !invalidation.Spec.DryRun {
		m.keysInvalidated.WithLabelValues(invalidation.Namespace, store).Add(float64(max(*keys, 0))) // a store may say anything
	}
}

// kept notes how many finished purges a namespace has.
func (m *Metrics) kept(namespace string, own, managed int) {
	for label, purges := range map[string]int{"false": own, "true": managed} {
		if purges == 0 {
			m.keptPurges.DeleteLabelValues(namespace, label)
		} else {
			m.keptPurges.WithLabelValues(namespace, label).Set(float64(purges))
		}
	}
}

// moduleFigure and operationFigure are read when Prometheus asks, so that series end with their
// policy and counters are those of Redis.
type moduleFigure struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(registry.Stats) int64
}

type operationFigure struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(registry.OperationStats) int64
}

var moduleFigures = []moduleFigure{
	{
		moduleDesc("cachewright_module_memory_bytes", "Estimate of the memory that entries and index take in Redis."),
		prometheus.GaugeValue, func(s registry.Stats) int64 { return s.MemoryBytes },
	},
	{
		moduleDesc("cachewright_module_pending_keys", "Invalidated entries whose memory is yet to be given back."),
		prometheus.GaugeValue, func(s registry.Stats) int64 { return s.Pending },
	},
}

var operationFigures = []operationFigure{
	{
		operationDesc("cachewright_operation_keys", "Live entries."),
		prometheus.GaugeValue, func(o registry.OperationStats) int64 { return o.Keys },
	},
	{
		operationDesc("cachewright_operation_hits_total", "Reads answered from the cache."),
		prometheus.CounterValue, func(o registry.OperationStats) int64 { return o.Hits },
	},
	{
		operationDesc("cachewright_operation_stale_hits_total", "Reads answered from the cache with a stale entry."),
		prometheus.CounterValue, func(o registry.OperationStats) int64 { return o.Stale },
	},
	{
		operationDesc("cachewright_operation_misses_total", "Reads not answered from the cache."),
		prometheus.CounterValue, func(o registry.OperationStats) int64 { return o.Misses },
	},
	{
		operationDesc("cachewright_operation_errors_total", "Reads that failed, as clients reported."),
		prometheus.CounterValue, func(o registry.OperationStats) int64 { return o.Errors },
	},
	{
		operationDesc("cachewright_operation_fills_total", "Entries stored."),
		prometheus.CounterValue, func(o registry.OperationStats) int64 { return o.Fills },
	},
	{
		operationDesc("cachewright_operation_fenced_fills_total",
			"Entries not stored because an invalidation came between their load and their fill."),
		prometheus.CounterValue, func(o registry.OperationStats) int64 { return o.Fenced },
	},
	{
		operationDesc("cachewright_operation_invalidations_total", "Invalidations that covered the whole operation."),
		prometheus.CounterValue, func(o registry.OperationStats) int64 { return o.Invalidations },
	},
}

func moduleDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, []string{"namespace", "store", "module"}, nil)
}

func operationDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, []string{"namespace", "store", "module", "operation"}, nil)
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(descs chan<- *prometheus.Desc) {
	m.storeUp.Describe(descs)
	m.atRisk.Describe(descs)
	m.dataLosses.Describe(descs)
	m.invalidations.Describe(descs)
	m.keysInvalidated.Describe(descs)
	m.keptPurges.Describe(descs)
	descs <- notReadyPolicies
	descs <- pendingPurges
	descs <- oldestPendingPurge
	for _, figure := range moduleFigures {
		descs <- figure.desc
	}
	for _, figure := range operationFigures {
		descs <- figure.desc
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(metrics chan<- prometheus.Metric) {
	m.storeUp.Collect(metrics)
	m.atRisk.Collect(metrics)
	m.dataLosses.Collect(metrics)
	m.invalidations.Collect(metrics)
	m.keysInvalidated.Collect(metrics)
	m.keptPurges.Collect(metrics)
	m.collectBacklogs(metrics)

	m.mu.Lock()
	defer m.mu.Unlock()
	for id, module := range m.modules {
		collectModule(metrics, id, module.stats)
	}
}

func collectModule(metrics chan<- prometheus.Metric, id moduleID, stats registry.Stats) {
	namespace, store, name := id.slot.Namespace, id.store.Name, id.slot.Module
	for _, figure := range moduleFigures {
		collectFigure(metrics, figure.desc, figure.kind, figure.value(stats), namespace, store, name)
	}
	for _, operation := range busiest(stats.Operations, maxOperationsInStatus) {
		for _, figure := range operationFigures {
			collectFigure(metrics, figure.desc, figure.kind, figure.value(stats.Operations[operation]), namespace, store, name, operation)
		}
	}
}

// collectFigure leaves out what is no label: an operation's name comes from a store, which may say anything.
func collectFigure(
	metrics chan<- prometheus.Metric, desc *prometheus.Desc, kind prometheus.ValueType, value int64, labels ...string,
) {
	if metric, err := prometheus.NewConstMetric(desc, kind, float64(value), labels...); err == nil {
		metrics <- metric
	}
}
