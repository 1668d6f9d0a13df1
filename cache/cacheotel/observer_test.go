// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cacheotel_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/cache/cacheotel"
	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

// bench is a client of a real Redis, and all that it reports.
type bench struct {
	*cache.Client

	server  *redistest.Server
	metrics *sdkmetric.ManualReader
	spans   *tracetest.SpanRecorder
	tracer  trace.Tracer
}

func newBench(t *testing.T, opts ...cache.Option) *bench {
	t.Helper()
	server := redistest.Start(t)
	slot := registry.Slot{Namespace: "shop", Module: "users"}
	if _, err := registry.New(server.Client()).ApplyPolicy(t.Context(), slot, registry.Policy{DefaultTTL: new(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	b := &bench{server: server, metrics: sdkmetric.NewManualReader(), spans: tracetest.NewSpanRecorder()}
	tracers := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(b.spans))
	b.tracer = tracers.Tracer("the application")
	observer, err := cacheotel.New(
		cacheotel.WithMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(b.metrics))),
		cacheotel.WithTracerProvider(tracers),
	)
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(&redis.Options{
		Addr: server.Addr(), ContextTimeoutEnabled: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	t.Cleanup(func() { _ = client.Close() })
	opts = append([]cache.Option{
		cache.WithObserver(observer), cache.WithLogger(slog.New(slog.DiscardHandler)),
		cache.WithTimeout(20 * time.Second), cache.WithInvalidationTimeout(time.Second),
	}, opts...)
	if b.Client, err = cache.New(client, "shop", opts...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close(context.Background()) })
	return b
}

func (b *bench) collect(t *testing.T) []metricdata.Metrics {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := b.metrics.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	if len(all.ScopeMetrics) == 0 {
		return nil
	}
	return all.ScopeMetrics[0].Metrics
}

// points returns the data points of a metric by their attributes: values, and the counts of
// histograms.
func (b *bench) points(t *testing.T, name string) map[string]int64 {
	t.Helper()
	points := map[string]int64{}
	for _, m := range b.collect(t) {
		if m.Name != name {
			continue
		}
		switch data := m.Data.(type) {
		case metricdata.Histogram[float64]:
			for _, p := range data.DataPoints {
				points[text(p.Attributes)] = int64(p.Count)
			}
		case metricdata.Sum[int64]:
			for _, p := range data.DataPoints {
				points[text(p.Attributes)] = p.Value
			}
		case metricdata.Gauge[int64]:
			for _, p := range data.DataPoints {
				points[text(p.Attributes)] = p.Value
			}
		}
	}
	return points
}

func text(set attribute.Set) string { return set.Encoded(attribute.DefaultEncoder()) }

const (
	secret = "what-nobody-may-see"
	place  = "cachewright.module=users,cachewright.namespace=shop,cachewright.operation=get"
)

var (
	usersGet   = cache.Key{Module: "users", Operation: "get", Params: secret, User: secret}
	errPrivate = errors.New(secret)
)

func load(context.Context) (string, error) { return secret, nil }

func TestMetrics(t *testing.T) {
	b := newBench(t, cache.WithAudit(cache.Audit{Share: 1, Operations: []cache.Operation{{Module: "users", Name: "get"}}}))
	ctx := t.Context()
	for range 3 {
		if _, err := cache.Fetch(ctx, b, usersGet, load); err != nil {
			t.Fatal(err)
		}
	}
	g := NewWithT(t)
	g.Eventually(func() map[string]int64 { return b.points(t, "cachewright.audits") }).WithTimeout(20 * time.Second).Should(Equal(
		map[string]int64{"cachewright.audit.result=consistent," + place: 2}))
	_, _ = cache.Fetch(ctx, b, cache.Key{Module: "users", Operation: "get"}, func(context.Context) (string, error) { return "", errPrivate })
	_, _ = cache.Fetch(ctx, b, cache.Key{Module: "users", Operation: "get"}, func(context.Context) (string, error) { return "", cache.ErrNotFound })
	var out string
	_, _ = b.Get(ctx, usersGet, &out)
	_ = b.InvalidateUser(ctx, secret, "users")
	_ = b.InvalidateSoftly(ctx, cache.Scope{Module: "users", Operation: "get"})

	hold, err := b.Hold(ctx, time.Minute, cache.Scope{Module: "users", Operation: "held"})
	if err != nil {
		t.Fatal(err)
	}
	_, _ = cache.Fetch(ctx, b, cache.Key{Module: "users", Operation: "held", User: secret}, load)
	b.server.Client().Del(ctx, "cw:{shop/users}:o:held")
	if err := hold.Release(ctx); err != nil || !errors.Is(hold.Err(), cache.ErrHoldLost) {
		t.Fatal(err, hold.Err())
	}

	held := strings.Replace(place, "=get", "=held", 1)
	wrong := ",error.type=*errors.errorString"
	for name, want := range map[string]map[string]int64{
		"cachewright.request.duration": {
			place + ",cachewright.request.outcome=hit,cachewright.request.verb=fetch":          2,
			place + ",cachewright.request.outcome=hit,cachewright.request.verb=get":            1,
			place + ",cachewright.request.outcome=miss,cachewright.request.verb=fetch":         2,
			place + ",cachewright.request.outcome=miss,cachewright.request.verb=fetch" + wrong: 1,
			held + ",cachewright.request.outcome=held,cachewright.request.verb=fetch":          1,
		},
		"cachewright.load.duration": {place: 4, place + wrong: 1, held: 1}, // two of them by audits
		"cachewright.fills": {
			"cachewright.fill.outcome=stored," + place:   1,
			"cachewright.fill.outcome=disabled," + place: 1, // there is no negativeTTL
		},
		"cachewright.invalidations": {
			"cachewright.invalidation.extent=user,cachewright.invalidation.soft=false,cachewright.module=users,cachewright.namespace=shop": 1,
			"cachewright.invalidation.extent=operation,cachewright.invalidation.soft=true," + place:                                        1,
		},
		"cachewright.near.entry.count":          {"cachewright.namespace=shop": 0},
		"cachewright.near.size":                 {"cachewright.namespace=shop": 0},
		"cachewright.invalidation.queue.length": {"cachewright.namespace=shop": 0},
		"cachewright.holds.lost":                {"cachewright.namespace=shop": 1},
		"cachewright.breaker.open": {
			"cachewright.breaker.access=fill,cachewright.module=users,cachewright.namespace=shop":  0,
			"cachewright.breaker.access=read,cachewright.module=users,cachewright.namespace=shop":  0,
			"cachewright.breaker.access=write,cachewright.module=users,cachewright.namespace=shop": 0,
		},
	} {
		g.Expect(b.points(t, name)).To(Equal(want), name)
	}
	b.saysNothingPrivate(t)
}

func TestMetricsOfARedisThatIsGone(t *testing.T) {
	b := newBench(t, cache.WithNearCache(cache.NearCache{}))
	ctx := t.Context()
	g := NewWithT(t)
	// Until the entry is near.
	g.Eventually(func() map[string]int64 {
		_, _ = cache.Fetch(ctx, b, usersGet, load)
		return b.points(t, "cachewright.request.duration")
	}).WithTimeout(20 * time.Second).Should(HaveKey(place + ",cachewright.request.outcome=near_hit,cachewright.request.verb=fetch"))
	g.Expect(b.points(t, "cachewright.near.entry.count")).To(HaveKeyWithValue("cachewright.namespace=shop", int64(1)))
	g.Expect(b.points(t, "cachewright.near.size")).To(HaveKeyWithValue("cachewright.namespace=shop", BeNumerically(">", len(secret))))

	b.server.Kill()
	if err := b.InvalidateModule(ctx, "users"); !errors.Is(err, cache.ErrQueued) {
		t.Fatal(err)
	}
	g.Expect(b.points(t, "cachewright.invalidations")).To(Equal(map[string]int64{
		"cachewright.invalidation.extent=module,cachewright.invalidation.soft=false,cachewright.module=users,cachewright.namespace=shop,error.type=queued": 1,
	}))
	g.Expect(b.points(t, "cachewright.invalidation.queue.length")).To(HaveKeyWithValue("cachewright.namespace=shop", int64(1)))
	g.Eventually(func() map[string]int64 {
		var out string
		_, _ = b.Get(ctx, cache.Key{Module: "orders", Operation: "get"}, &out)
		return b.points(t, "cachewright.breaker.open")
	}).WithTimeout(20 * time.Second).Should(HaveKeyWithValue(
		"cachewright.breaker.access=read,cachewright.module=orders,cachewright.namespace=shop", int64(1)))
	b.saysNothingPrivate(t)

	_ = b.Close(ctx)
	if got := b.points(t, "cachewright.breaker.open"); len(got) > 0 {
		t.Errorf("after Close: %v", got)
	}
}

func TestSpans(t *testing.T) {
	b := newBench(t)
	ctx, span := b.tracer.Start(t.Context(), "GET /users")
	_, _ = cache.Fetch(ctx, b, usersGet, func(ctx context.Context) (string, error) {
		_, span := b.tracer.Start(ctx, "SELECT users")
		defer span.End()
		return secret, nil
	})
	_, _ = cache.Fetch(ctx, b, usersGet, load)
	_, _ = cache.Fetch(ctx, b, cache.Key{Module: "users", Operation: "list"}, func(context.Context) (string, error) { return "", errPrivate })
	_, _ = cache.Fetch(ctx, b, cache.Key{Module: "users", Operation: "find"}, func(context.Context) (string, error) { return "", cache.ErrNotFound })
	_ = b.InvalidateModule(ctx, "users")
	span.End()

	want := []string{
		"GET /users/cache.fetch users.get/cache.load users.get/SELECT users",
		"GET /users/cache.fetch users.get/cache.load users.get",
		"GET /users/cache.fetch users.get: miss",
		"GET /users/cache.fetch users.get: hit",
		"GET /users/cache.fetch users.list/cache.load users.list, failed: *errors.errorString",
		"GET /users/cache.fetch users.list: miss, failed: *errors.errorString",
		"GET /users/cache.fetch users.find/cache.load users.find",
		"GET /users/cache.fetch users.find: miss",
		"GET /users/cache.invalidate users",
		"GET /users",
	}
	if got := b.trace(); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	b.saysNothingPrivate(t)
}

// trace returns the spans in the order of their ends, each with its ancestors, outcome and failure.
func (b *bench) trace() []string {
	ended := b.spans.Ended()
	names := map[trace.SpanID]string{}
	parents := map[trace.SpanID]trace.SpanID{}
	for _, span := range ended {
		names[span.SpanContext().SpanID()] = span.Name()
		parents[span.SpanContext().SpanID()] = span.Parent().SpanID()
	}
	var all []string
	for _, span := range ended {
		line := span.Name()
		for id := span.Parent().SpanID(); id.IsValid(); id = parents[id] {
			line = names[id] + "/" + line
		}
		if outcome, found := value(span, "cachewright.request.outcome"); found {
			line += ": " + outcome
		}
		if span.Status().Code == codes.Error {
			kind, _ := value(span, "error.type")
			line += ", failed: " + kind
		}
		all = append(all, line)
	}
	return all
}

func value(span sdktrace.ReadOnlySpan, key attribute.Key) (string, bool) {
	for _, kv := range span.Attributes() {
		if kv.Key == key {
			return kv.Value.String(), true
		}
	}
	return "", false
}

// saysNothingPrivate looks for params, users, values and the text of errors in all that is
// reported.
func (b *bench) saysNothingPrivate(t *testing.T) {
	t.Helper()
	said := []any{b.collect(t)}
	for _, span := range tracetest.SpanStubsFromReadOnlySpans(b.spans.Ended()) {
		said = append(said, span.Name, span.Status, span.Attributes, span.Events)
	}
	for _, part := range said {
		encoded, err := json.Marshal(part)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(encoded), secret) {
			t.Errorf("this is private: %s", encoded)
		}
	}
}

// Every metric, with its unit, is in docs/applications.md.
func TestMetricsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/applications.md")
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t, cache.WithAudit(cache.Audit{Share: 1}))
	_, _ = cache.Fetch(t.Context(), b, usersGet, load)
	_, _ = cache.Fetch(t.Context(), b, usersGet, load)
	_ = b.InvalidateModule(t.Context(), "users")
	const count = 10
	NewWithT(t).Eventually(func() []metricdata.Metrics { return b.collect(t) }).WithTimeout(20 * time.Second).Should(HaveLen(count))
	for _, m := range b.collect(t) {
		if row := "| `" + m.Name + "` | " + m.Unit + " |"; !strings.Contains(string(page), row) {
			t.Errorf("there is no row %s", row)
		}
	}
}

type refusing struct{ noop.MeterProvider }

func (refusing) Meter(string, ...metric.MeterOption) metric.Meter { return refusingMeter{} }

type refusingMeter struct{ noop.Meter }

func (refusingMeter) Int64Counter(string, ...metric.Int64CounterOption) (metric.Int64Counter, error) {
	return nil, errors.New("no more instruments")
}

func TestNewSaysThatAnInstrumentIsRefused(t *testing.T) {
	if _, err := cacheotel.New(cacheotel.WithMeterProvider(refusing{})); err == nil || !strings.Contains(err.Error(), "no more instruments") {
		t.Errorf("got %v", err)
	}
}
