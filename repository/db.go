// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package repository

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/cachewright/cachewright/repository/internal/dialect"
	"github.com/cachewright/cachewright/repository/internal/guard"
	"github.com/cachewright/cachewright/repository/internal/transact"
	"github.com/cachewright/cachewright/repository/internal/warn"
)

// Dialect is a family of databases.
type Dialect int

// The dialects.
const (
	Postgres Dialect = iota + 1 // PostgreSQL 10 or later, by lib/pq or pgx
	MySQL                       // MySQL or MariaDB, by go-sql-driver/mysql
	SQLite                      // by modernc.org/sqlite or mattn/go-sqlite3
)

// DB is a database whose transactions know the cache. It is safe for concurrent use.
type DB struct {
	pool    *sql.DB
	cache   Cache         // nil: there is none
	keeper  *guard.Keeper // nil: there is no cache
	engine  *transact.Engine
	speaks  dialect.Dialect
	dialect Dialect
	lag     time.Duration // of replicas
	warn    *warn.Log
}

// Open returns a DB over a pool of connections, which stays yours: open it, size it and close it as
// without this package. Open does not connect.
func Open(db *sql.DB, d Dialect, opts ...Option) (*DB, error) {
	if db == nil {
		return nil, errors.New("repository: the database is nil; open it with sql.Open")
	}
	o, err := newOptions(opts)
	if err != nil {
		return nil, fmt.Errorf("repository: %w", err)
	}
	speaks, err := dialectOf(d)
	if err != nil {
		return nil, fmt.Errorf("repository: %w", err)
	}
	opened := &DB{
		pool: db, cache: o.cache, speaks: speaks, dialect: d, lag: o.lag, warn: warn.New(o.logger),
	}
	if o.cache != nil {
		opened.keeper = guard.New(guard.Config{
			Holder: o.cache, TTL: o.hold, Linger: o.lag, Longest: longestHold, Report: opened.warn.Report,
		})
	}
	opened.engine = transact.New(transact.Config{
		Pool: db, Dialect: speaks, Keeper: opened.keeper, Hold: o.hold, Longest: longestHold,
		Refuse: o.away == Refuse, Warn: opened.warn.Report, Outbox: o.box(d, speaks),
	})
	return opened, nil
}

func dialectOf(d Dialect) (dialect.Dialect, error) {
	switch d {
	case Postgres:
		return dialect.Postgres(), nil
	case MySQL:
		return dialect.MySQL(), nil
	case SQLite:
		return dialect.SQLite(), nil
	default:
		return nil, fmt.Errorf("dialect %d is none of Postgres, MySQL and SQLite", d)
	}
}

// Querier runs statements: in a transaction, or on any connection of the pool.
type Querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
}

var (
	_ Querier = (*sql.DB)(nil)
	_ Querier = transact.Statements{}
)

// Querier returns what runs statements: the transaction of this DB that ctx has, or the pool. Code
// that takes it works in transactions and without. So does code that sqlc generates: pass it as its
// DBTX.
//
// In a transaction, return each error of a statement from the function of InTx. MySQL ends a
// transaction that meets a deadlock, and would run further statements outside of it. The Querier
// refuses them with ErrOver where it has seen that error. It does not see those of rows and of
// prepared statements.
func (d *DB) Querier(ctx context.Context) Querier {
	if f := d.engine.FrameOf(ctx); f != nil {
		return f.Statements()
	}
	return d.pool
}
