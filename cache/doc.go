// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package cache is the application's face of Cachewright: a read-through cache over Redis whose TTLs
// and purges are decided outside the application, by the CachePolicy and CacheInvalidation resources
// of a Kubernetes cluster, or by this package.
//
//	client, err := registry.ClientFromEnv(os.LookupEnv)
//	…
//	users, err := cache.New(client, "shop")
//	…
//	defer users.Close(context.Background())
//
//	user, err := cache.Fetch(ctx, users, cache.Key{Module: "users", Operation: "getById", Params: id},
//		func(ctx context.Context) (User, error) { return db.User(ctx, id) })
//
// An entry is addressed by module, operation, params and, where it is one user's, the user. What is
// cached, and for how long, is in the policy of the module, next to the entries in Redis; without a
// policy nothing is cached. The application does not need the Kubernetes API, or the operator, to run.
//
// The cache is there to help and never in the way: see Fetch for what happens when Redis fails.
// Where the application changes its source, it says so with InvalidateOperation, InvalidateUser or
// InvalidateModule, which take effect at once in all processes and for any number of entries.
//
// What may be a little out of date is served while it is loaded anew: by staleFor in the policy, or after
// InvalidateSoftly. One process at a time loads an entry (WithLoadWait), and what the source does not have
// is remembered too (ErrNotFound, negativeTTL in the policy). An invalidation that cannot reach Redis is kept
// and delivered later (ErrQueued). WithNearCache keeps values in memory as long as Redis has not told
// of a change.
//
// Applications depend on the interface Cache; package cachetest has one in memory for their tests.
package cache
