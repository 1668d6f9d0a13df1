// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package pgxtx has the transactions of package repository for pgx, on a pool of its own kind: with
// native statements, batches and COPY.
//
//	db, err := pgxtx.Open(pool, repository.WithCache(users))
//	…
//	err = db.InTx(ctx, func(ctx context.Context) error {
//		_, err := db.Native(ctx).Exec(ctx, "UPDATE users SET name = $1 WHERE id = $2", name, id)
//		if err != nil {
//			return err
//		}
//		return repository.Touch(ctx, cache.Key{Module: "users", Operation: "getById", Params: id})
//	})
//
// A DB is a *repository.DB, and keeps its promises: hooks, holds, retries, savepoints, and a COMMIT
// that was lost is looked up. In a transaction, Native and Querier run on one connection. So code
// for pgx and for database/sql can be mixed.
package pgxtx
