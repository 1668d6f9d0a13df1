// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/cachewright/cachewright/controllers/internal/convert"
	"github.com/cachewright/cachewright/controllers/internal/stats"
	"github.com/cachewright/cachewright/registry"
)

// moduleStatistic and operationStatistic are read when Prometheus asks. So series end with their
// policy, and counters are those of Redis.
type moduleStatistic struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(registry.Stats) int64
}

type operationStatistic struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(registry.OperationStats) int64
}

var moduleStatistics = []moduleStatistic{
	{
		moduleDesc("cachewright_module_memory_bytes",
			"Estimate of the memory that entries and index take in Redis."),
		prometheus.GaugeValue, func(s registry.Stats) int64 { return s.MemoryBytes },
	},
	{
		moduleDesc("cachewright_module_pending_keys",
			"Invalidated entries whose memory is not freed yet."),
		prometheus.GaugeValue, func(s registry.Stats) int64 { return s.Pending },
	},
}

var operationStatistics = []operationStatistic{
	{
		operationDesc("cachewright_operation_keys", "Live entries."),
		prometheus.GaugeValue, func(o registry.OperationStats) int64 { return o.Keys },
	},
	{
		operationDesc("cachewright_operation_hits_total", "Reads answered from the cache."),
		prometheus.CounterValue, func(o registry.OperationStats) int64 { return o.Hits },
	},
	{
		operationDesc("cachewright_operation_stale_hits_total",
			"Reads answered from the cache with a stale entry."),
		prometheus.CounterValue, func(o registry.OperationStats) int64 { return o.Stale },
	},
	{
		operationDesc("cachewright_operation_misses_total", "Reads not answered from the cache."),
		prometheus.CounterValue, func(o registry.OperationStats) int64 { return o.Misses },
	},
	{
		operationDesc("cachewright_operation_held_reads_total",
			"Reads of what a hold or a source lag kept from being stored. They are no misses."),
		prometheus.CounterValue, func(o registry.OperationStats) int64 { return o.HeldReads },
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
		operationDesc("cachewright_operation_invalidations_total",
			"Invalidations that covered the whole operation."),
		prometheus.CounterValue, func(o registry.OperationStats) int64 { return o.Invalidations },
	},
}

func moduleDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, []string{"namespace", "store", "module"}, nil)
}

func operationDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, []string{"namespace", "store", "module", "operation"}, nil)
}

func describeModules(descs chan<- *prometheus.Desc) {
	for _, statistic := range moduleStatistics {
		descs <- statistic.desc
	}
	for _, statistic := range operationStatistics {
		descs <- statistic.desc
	}
}

func collectModule(metrics chan<- prometheus.Metric, module stats.Module, counted registry.Stats) {
	namespace, store, name := module.Slot.Namespace, module.Store.Name, module.Slot.Module
	for _, statistic := range moduleStatistics {
		collectStatistic(metrics, statistic.desc, statistic.kind, statistic.value(counted), namespace,
			store, name)
	}
	for _, operation := range convert.Busiest(counted.Operations, convert.MaxOperations) {
		for _, statistic := range operationStatistics {
			collectStatistic(metrics, statistic.desc, statistic.kind,
				statistic.value(counted.Operations[operation]), namespace, store, name, operation)
		}
	}
}

// collectStatistic leaves out what is no label: an operation's name comes from a store, which may
// answer anything.
func collectStatistic(
	metrics chan<- prometheus.Metric, desc *prometheus.Desc, kind prometheus.ValueType, value int64,
	labels ...string,
) {
	if metric, err := prometheus.NewConstMetric(desc, kind, float64(value), labels...); err == nil {
		metrics <- metric
	}
}
