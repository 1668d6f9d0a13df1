// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package cache is what applications use of Cachewright: a read-through cache over Redis. Its TTLs
// and purges are decided outside the application, by the CachePolicy and CacheInvalidation
// resources of a Kubernetes cluster, or by this package.
//
//	client, err := registry.ClientFromEnv(os.LookupEnv)
//	…
//	users, err := cache.New(client, "shop")
//	…
//	defer users.Close(context.Background())
//
//	key := cache.Key{Module: "users", Operation: "getById", Params: id}
//	user, err := cache.Fetch(ctx, users, key,
//		func(ctx context.Context) (User, error) { return db.User(ctx, id) })
//
// An entry is addressed by module, operation, params and, if it belongs to one user, the user. The
// policy of the module says what is cached, and for how long. It is stored next to the entries in
// Redis. Without a policy nothing is cached. To run, the application needs neither the Kubernetes
// API nor the operator.
//
// The cache helps and never stands in the way: see Fetch for what happens when Redis fails. When
// the application changes its source, it calls InvalidateOperation, InvalidateUser or
// InvalidateModule. They take effect at once in all processes, for any number of entries.
//
// Values that may be slightly out of date are served while they are refreshed: by staleFor in the
// policy, or after InvalidateSoftly. One process at a time loads an entry (WithLoadWait). The cache
// also stores that the source has nothing (ErrNotFound, negativeTTL in the policy). An invalidation
// that cannot reach Redis is kept and delivered later (ErrQueued). WithNearCache keeps values in
// memory until Redis reports a change. A Holder forbids to cache what a transaction changes, until
// after its commit.
//
// Applications depend on the interface Cache. Package cachetest has one in memory for their tests.
//
// Client is a façade over internal packages: fetch.go leads to entries, loads and refresh,
// invalidate.go to invalidate and outbox, hold.go to holds. docs/architecture.md follows one Fetch
// through the files.
package cache
