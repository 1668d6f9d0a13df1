// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cacheotel_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/redis/go-redis/v9"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/cache/cacheotel"
	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

func Example() {
	ctx := context.Background()
	client, stop := startRedis(ctx)
	defer stop()

	reader := sdkmetric.NewManualReader() // in production the exporter that you have
	observer, err := cacheotel.New(cacheotel.WithMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))))
	if err != nil {
		log.Fatal(err)
	}
	shop, err := cache.New(client, "shop", cache.WithObserver(observer), cache.WithTimeout(time.Minute))
	if err != nil {
		log.Fatal(err)
	}
	defer shop.Close(ctx)

	for range 3 {
		key := cache.Key{Module: "users", Operation: "getById", Params: 7}
		_, _ = cache.Fetch(ctx, shop, key, func(context.Context) (string, error) { return "Ada", nil })
	}

	var found metricdata.ResourceMetrics
	if err := reader.Collect(ctx, &found); err != nil {
		log.Fatal(err)
	}
	for _, metric := range found.ScopeMetrics[0].Metrics {
		if requests, ok := metric.Data.(metricdata.Histogram[float64]); ok && metric.Name == "cachewright.request.duration" {
			for _, point := range requests.DataPoints {
				outcome, _ := point.Attributes.Value("cachewright.request.outcome")
				fmt.Println(outcome.AsString(), point.Count)
			}
		}
	}
	// Unordered output:
	// miss 1
	// hit 2
}

// startRedis returns a client of a Redis that caches users for an hour.
func startRedis(ctx context.Context) (client *redis.Client, stop func()) {
	dir, err := os.MkdirTemp("", "cacheotel-")
	if err != nil {
		log.Fatal(err)
	}
	server, err := redistest.Run(ctx, dir, 0)
	if err != nil {
		log.Fatal(err)
	}
	client = redis.NewClient(&redis.Options{Addr: server.Addr(), ContextTimeoutEnabled: true})
	slot := registry.Slot{Namespace: "shop", Module: "users"}
	if _, err := registry.New(client).ApplyPolicy(ctx, slot, registry.Policy{DefaultTTL: new(time.Hour)}); err != nil {
		log.Fatal(err)
	}
	return client, func() {
		_ = client.Close()
		server.Kill()
		_ = os.RemoveAll(dir)
	}
}
