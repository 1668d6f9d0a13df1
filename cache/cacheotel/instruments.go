// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cacheotel

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/cachewright/cachewright/cache"
)

// instruments are the metrics. docs/applications.md lists them.
type instruments struct {
	requests      metric.Float64Histogram
	loads         metric.Float64Histogram
	fills         metric.Int64Counter
	invalidations metric.Int64Counter
	audits        metric.Int64Counter

	nearEntries metric.Int64ObservableUpDownCounter
	nearBytes   metric.Int64ObservableUpDownCounter
	queue       metric.Int64ObservableUpDownCounter
	holdsLost   metric.Int64ObservableCounter
	breakers    metric.Int64ObservableGauge
}

// A hit in memory takes less than a microsecond, a hit in Redis tens of them, a load up to seconds.
var (
	requestBuckets = []float64{
		1e-6, 1e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1,
		2.5, 5, 10,
	}
	loadBuckets = []float64{
		1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 7.5e-2, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10,
	}
)

func newInstruments(meter metric.Meter) (i instruments, err error) {
	var failures [10]error
	i.requests, failures[0] = meter.Float64Histogram("cachewright.request.duration",
		metric.WithUnit("s"), metric.WithExplicitBucketBoundaries(requestBuckets...),
		metric.WithDescription(
			"Duration of reads by the application, including their loads, by where the answer came from."))
	i.loads, failures[1] = meter.Float64Histogram("cachewright.load.duration",
		metric.WithUnit("s"), metric.WithExplicitBucketBoundaries(loadBuckets...),
		metric.WithDescription(
			"Duration of loads from the source: for callers, to refresh entries, and to audit them."))
	i.fills, failures[2] = meter.Int64Counter("cachewright.fills",
		metric.WithUnit("{fill}"), metric.WithDescription("Attempts to store a value, by their outcome."))
	i.invalidations, failures[3] = meter.Int64Counter("cachewright.invalidations",
		metric.WithUnit("{invalidation}"),
		metric.WithDescription("Invalidations by this process, one for each module."))
	i.audits, failures[4] = meter.Int64Counter("cachewright.audits",
		metric.WithUnit("{audit}"),
		metric.WithDescription("Hits that were compared with the source, by the result."))
	i.nearEntries, failures[5] = meter.Int64ObservableUpDownCounter("cachewright.near.entry.count",
		metric.WithUnit("{entry}"), metric.WithDescription("Entries in the process' own memory."))
	i.nearBytes, failures[6] = meter.Int64ObservableUpDownCounter("cachewright.near.size",
		metric.WithUnit("By"),
		metric.WithDescription("Memory of these entries, estimated as for the bounds of the near cache."))
	i.queue, failures[7] = meter.Int64ObservableUpDownCounter("cachewright.invalidation.queue.length",
		metric.WithUnit("{invalidation}"),
		metric.WithDescription("Invalidations that have not reached Redis yet."))
	i.breakers, failures[8] = meter.Int64ObservableGauge("cachewright.breaker.open",
		metric.WithUnit("1"),
		metric.WithDescription("1 while Redis is not called because it did not serve, else 0."))
	i.holdsLost, failures[9] = meter.Int64ObservableCounter("cachewright.holds.lost",
		metric.WithUnit("{hold}"),
		metric.WithDescription("Holds that did not last until they were released."))
	return i, errors.Join(failures[:]...)
}

// watch reports the figures whenever they are collected, until stop is called.
func (i instruments) watch(
	meter metric.Meter, namespace attribute.KeyValue, figures func() cache.Figures,
) (stop func(), err error) {
	registration, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		now := figures()
		at := metric.WithAttributes(namespace)
		o.ObserveInt64(i.nearEntries, int64(now.NearEntries), at)
		o.ObserveInt64(i.nearBytes, now.NearBytes, at)
		o.ObserveInt64(i.queue, int64(now.QueuedInvalidations), at)
		o.ObserveInt64(i.holdsLost, now.HoldsLost, at)
		for _, breaker := range now.Breakers {
			o.ObserveInt64(i.breakers, openness(breaker), metric.WithAttributes(
				namespace, moduleKey.String(breaker.Module), accessKey.String(accessOf(breaker))))
		}
		return nil
	}, i.nearEntries, i.nearBytes, i.queue, i.holdsLost, i.breakers)
	if err != nil {
		return func() {}, err
	}
	return func() { _ = registration.Unregister() }, nil
}

func openness(breaker cache.BreakerFigure) int64 {
	if breaker.Open {
		return 1
	}
	return 0
}

func accessOf(breaker cache.BreakerFigure) string {
	switch {
	case breaker.Fills:
		return "fill"
	case breaker.Writes:
		return "write"
	default:
		return "read"
	}
}
