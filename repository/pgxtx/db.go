// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package pgxtx

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/cachewright/cachewright/repository"
	"github.com/cachewright/cachewright/repository/internal/transact"
)

// DB is a PostgreSQL that is reached by a pool of pgx. Make one with Open. It is safe for
// concurrent use.
type DB struct {
	*repository.DB

	pool *pgxpool.Pool
	// overPool is what database/sql sees of the pool. It keeps no connections.
	overPool *sql.DB
}

// Open returns a DB over a pool, which stays yours: size it and close it as without this package. A
// transaction uses one connection of it, and one more if COMMIT is lost. Open does not connect.
// Close the DB before the pool.
func Open(pool *pgxpool.Pool, opts ...repository.Option) (*DB, error) {
	if pool == nil {
		return nil, errors.New("pgxtx: the pool is nil; open it with pgxpool.New")
	}
	overPool := stdlib.OpenDBFromPool(pool)
	db, err := repository.Open(overPool, repository.Postgres, opts...)
	if err != nil {
		_ = overPool.Close()
		return nil, fmt.Errorf("pgxtx: %w", err)
	}
	return &DB{DB: db, pool: pool, overPool: overPool}, nil
}

// Close frees what the DB has beside the pool. Transactions that are under way go on.
func (d *DB) Close() error { return d.overPool.Close() }

// Querier runs statements of pgx: in a transaction, or on any connection of the pool. Code that
// sqlc generates for pgx takes it as its DBTX.
type Querier interface {
	Exec(ctx context.Context, query string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, query string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, query string, args ...any) pgx.Row
	SendBatch(ctx context.Context, batch *pgx.Batch) pgx.BatchResults
	CopyFrom(
		ctx context.Context, table pgx.Identifier, columns []string, source pgx.CopyFromSource,
	) (int64, error)
}

var (
	_ Querier = (*pgxpool.Pool)(nil)
	_ Querier = statements{}
)

// Native returns what runs statements of pgx: the transaction of this DB that ctx has, or the pool.
//
// In a transaction, pass contexts that derive from the one that InTx gives. Close rows and batches
// before the next statement, as pgx demands. Rows.Conn returns nil: it would pass by the hold.
// Errors are those of pgx, and InTx types what its function returns. After the end of a
// transaction, or of its context, statements return repository.ErrOver.
func (d *DB) Native(ctx context.Context) Querier {
	if f := transact.FrameOn(ctx, d.overPool); f != nil {
		return statements{frame: f}
	}
	return d.pool
}
