// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package cacheotel reports what a cache.Client does to OpenTelemetry, as metrics and traces.
//
//	observer, err := cacheotel.New()
//	…
//	shop, err := cache.New(client, "shop", cache.WithObserver(observer))
//
// OpenTelemetry has no semantic conventions for caches, so names are in the namespace "cachewright", after its
// rules for naming, beside the general attribute error.type. Spans are of kind internal: those of the commands that
// go to Redis, of kind client and with db.system.name, are the Redis client's own affair, for example of
// go-redis' extra/redisotel.
//
// Attributes hold the names of the namespace, of modules and of operations, never params, users or values; the text
// of errors is left out for the same reason.
package cacheotel
