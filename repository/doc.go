// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package repository lets a database and the cache agree. From the commit of a transaction on, no
// reader sees in the cache what was before it.
//
//	db, err := repository.Open(pool, repository.Postgres, repository.WithCache(users))
//	…
//	err = db.InTx(ctx, func(ctx context.Context) error {
//		_, err := db.Querier(ctx).ExecContext(ctx, "UPDATE users SET name = $1 WHERE id = $2", name, id)
//		if err != nil {
//			return err
//		}
//		return repository.Touch(ctx,
//			cache.Key{Module: "users", Operation: "getById", Params: id},
//			cache.Scope{Module: "users", Operation: "list"})
//	})
//	…
//	key := cache.Key{Module: "users", Operation: "getById", Params: id}
//	user, err := repository.Fetch(ctx, db, key, load)
//
// The package stands on database/sql and on the holds of package cache. From before COMMIT until
// its outcome is known, what a transaction touched is neither served nor stored.
//
// The work is done in internal packages. transact runs a function in a transaction, and records
// what happens in it. settle sends COMMIT and asks what became of it, and guard has the hold. What
// databases do differently is in dialect and fault. The rows of WithOutbox, their relay and the
// triggers are in outbox.
package repository
