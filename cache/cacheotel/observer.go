// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cacheotel

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/cachewright/cachewright/cache"
)

// scopeName is the name of the instrumentation scope.
const scopeName = "github.com/cachewright/cachewright/cache/cacheotel"

// Attributes besides error.type.
const (
	namespaceKey = attribute.Key("cachewright.namespace")
	moduleKey    = attribute.Key("cachewright.module")
	operationKey = attribute.Key("cachewright.operation")
	verbKey      = attribute.Key("cachewright.request.verb")
	outcomeKey   = attribute.Key("cachewright.request.outcome")
	fillKey      = attribute.Key("cachewright.fill.outcome")
	extentKey    = attribute.Key("cachewright.invalidation.extent")
	softKey      = attribute.Key("cachewright.invalidation.soft")
	auditKey     = attribute.Key("cachewright.audit.result")
	accessKey    = attribute.Key("cachewright.breaker.access")
)

// queued is the error.type of an invalidation that waits for Redis.
const queued = "queued"

// Observer is a cache.Observer that reports to OpenTelemetry. Make one for each Client.
type Observer struct {
	tracer    trace.Tracer
	meter     metric.Meter
	metrics   instruments
	namespace attribute.KeyValue
}

var _ cache.Observer = (*Observer)(nil)

// Option changes where an Observer reports.
type Option func(*options)

type options struct {
	meters  metric.MeterProvider
	tracers trace.TracerProvider
}

// WithMeterProvider sets where metrics go. Default: otel.GetMeterProvider().
func WithMeterProvider(p metric.MeterProvider) Option { return func(o *options) { o.meters = p } }

// WithTracerProvider sets where traces go. Default: otel.GetTracerProvider().
func WithTracerProvider(p trace.TracerProvider) Option { return func(o *options) { o.tracers = p } }

// New returns an Observer for cache.WithObserver. It fails if the MeterProvider refuses an
// instrument.
func New(opts ...Option) (*Observer, error) {
	o := options{meters: otel.GetMeterProvider(), tracers: otel.GetTracerProvider()}
	for _, option := range opts {
		option(&o)
	}
	meter := o.meters.Meter(scopeName, metric.WithSchemaURL(semconv.SchemaURL))
	metrics, err := newInstruments(meter)
	if err != nil {
		return nil, fmt.Errorf("cacheotel: %w", err)
	}
	return &Observer{
		tracer:  o.tracers.Tracer(scopeName, trace.WithSchemaURL(semconv.SchemaURL)),
		meter:   meter,
		metrics: metrics,
	}, nil
}

// Watch implements cache.Observer.
func (o *Observer) Watch(namespace string, figures func() cache.Figures) (stop func()) {
	o.namespace = namespaceKey.String(namespace)
	stop, err := o.metrics.watch(o.meter, o.namespace, figures)
	if err != nil {
		otel.Handle(fmt.Errorf("cacheotel: %w", err))
	}
	return stop
}

// StartRequest implements cache.Observer.
func (o *Observer) StartRequest(
	ctx context.Context, r cache.Request,
) (context.Context, func(cache.Outcome, error)) {
	began := time.Now()
	ctx, span := o.start(ctx, "cache."+string(r.Verb), r.Module, r.Operation)
	return ctx, func(outcome cache.Outcome, err error) {
		span.SetAttributes(outcomeKey.String(string(outcome)))
		end(span, err)
		o.metrics.requests.Record(ctx, time.Since(began).Seconds(), o.attributes(r.Module, r.Operation,
			err,
			verbKey.String(string(r.Verb)), outcomeKey.String(string(outcome))))
	}
}

// StartLoad implements cache.Observer.
func (o *Observer) StartLoad(
	ctx context.Context, module, operation string,
) (context.Context, func(error)) {
	began := time.Now()
	ctx, span := o.start(ctx, "cache.load", module, operation)
	return ctx, func(err error) {
		end(span, err)
		o.metrics.loads.Record(ctx, time.Since(began).Seconds(), o.attributes(module, operation, err))
	}
}

// StartInvalidation implements cache.Observer.
func (o *Observer) StartInvalidation(
	ctx context.Context, i cache.Invalidation,
) (context.Context, func(error)) {
	ctx, span := o.start(ctx, "cache.invalidate", i.Module, i.Operation)
	extent, soft := extentKey.String(string(i.Extent)), softKey.Bool(i.Soft)
	span.SetAttributes(extent, soft)
	return ctx, func(err error) {
		end(span, err)
		o.metrics.invalidations.Add(ctx, 1, o.attributes(i.Module, i.Operation, err, extent, soft))
	}
}

// Filled implements cache.Observer.
func (o *Observer) Filled(ctx context.Context, module, operation string, fill cache.Fill) {
	o.metrics.fills.Add(ctx, 1, o.attributes(module, operation, nil, fillKey.String(string(fill))))
}

// Audited implements cache.Observer.
func (o *Observer) Audited(
	ctx context.Context, module, operation string, result cache.AuditResult,
) {
	o.metrics.audits.Add(ctx, 1, o.attributes(module, operation, nil, auditKey.String(string(result))))
}

// start begins a span, named after the verb and the operation.
func (o *Observer) start(
	ctx context.Context, verb, module, operation string,
) (context.Context, trace.Span) {
	name := verb + " " + module
	if operation != "" {
		name += "." + operation
	}
	return o.tracer.Start(ctx, name, trace.WithAttributes(o.names(module, operation)...))
}

func end(span trace.Span, err error) {
	if isFailure(err) {
		span.SetStatus(codes.Error, "")
		span.SetAttributes(errorType(err))
	}
	span.End()
}

func (o *Observer) attributes(
	module, operation string, err error, more ...attribute.KeyValue,
) metric.MeasurementOption {
	all := append(o.names(module, operation), more...)
	if isFailure(err) {
		all = append(all, errorType(err))
	}
	return metric.WithAttributes(all...)
}

// names returns attributes with the names. An invalidation may have no operation.
func (o *Observer) names(module, operation string) []attribute.KeyValue {
	all := append(make([]attribute.KeyValue, 0, 6), o.namespace, moduleKey.String(module))
	if operation != "" {
		all = append(all, operationKey.String(operation))
	}
	return all
}

// isFailure reports whether something went wrong. That the source has nothing is an answer.
func isFailure(err error) bool { return err != nil && !errors.Is(err, cache.ErrNotFound) }

func errorType(err error) attribute.KeyValue {
	if errors.Is(err, cache.ErrQueued) {
		return semconv.ErrorTypeKey.String(queued)
	}
	return semconv.ErrorType(err)
}
