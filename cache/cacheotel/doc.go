// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package cacheotel reports what a cache.Client does to OpenTelemetry, as metrics and traces.
//
//	observer, err := cacheotel.New()
//	…
//	shop, err := cache.New(client, "shop", cache.WithObserver(observer))
//
// OpenTelemetry has no semantic conventions for caches. So names follow its rules for naming, in
// the namespace "cachewright", beside the general attribute error.type. Spans are of kind internal.
// Spans of the commands to Redis, of kind client and with db.system.name, come from the Redis
// client, for example from go-redis' extra/redisotel.
//
// Attributes hold the names of the namespace, of modules and of operations, never params, users or
// values. They leave out the text of errors for the same reason.
package cacheotel
