// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver of PostgreSQL
	_ "modernc.org/sqlite"             // the driver of SQLite

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/repository"
)

const (
	moduleUsers = "users"
	pageSize    = 20
	firstUsers  = 100
)

const createSQL = `CREATE TABLE IF NOT EXISTS users (
	id VARCHAR(50) PRIMARY KEY, name VARCHAR(100) NOT NULL UNIQUE, email VARCHAR(100) NOT NULL)`

// sqliteOptions make writers wait for each other rather than fail.
const sqliteOptions = "?_pragma=busy_timeout(2000)&_pragma=journal_mode(WAL)&_txlock=immediate"

// User is a row of the table.
type User struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Email string `json:"email"`
}

// store has the users.
type store struct {
	pool *sql.DB
	db   *repository.DB
}

// openStore opens a database, and fills it if it is empty.
func openStore(ctx context.Context, database string, users repository.Cache) (*store, error) {
	driver, dialect, dsn := "sqlite", repository.SQLite, "file:"+database+sqliteOptions
	if strings.HasPrefix(database, "postgres://") || strings.HasPrefix(database, "postgresql://") {
		driver, dialect, dsn = "pgx", repository.Postgres, database
	}
	pool, err := sql.Open(driver, dsn)
	if err != nil {
		return nil, err
	}
	db, err := repository.Open(pool, dialect, repository.WithCache(users))
	if err != nil {
		return nil, errors.Join(err, pool.Close())
	}
	s := &store{pool: pool, db: db}
	if err := s.fill(ctx); err != nil {
		return nil, errors.Join(err, pool.Close())
	}
	return s, nil
}

func (s *store) close() { _ = s.pool.Close() }

// fill makes the table and its first rows, once.
func (s *store) fill(ctx context.Context) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		q := s.db.Querier(ctx)
		if _, err := q.ExecContext(ctx, createSQL); err != nil {
			return err
		}
		for i := range firstUsers {
			id := fmt.Sprintf("user-%02d", i)
			_, err := q.ExecContext(ctx,
				"INSERT INTO users VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING",
				id, fmt.Sprintf("User %d", i), id+"@example.com")
			if err != nil {
				return err
			}
		}
		return repository.Touch(ctx, cache.Scope{Module: moduleUsers})
	})
}

func keyOf(id string) cache.Key {
	return cache.Key{Module: moduleUsers, Operation: "getById", Params: id}
}

// byID returns a user.
func (s *store) byID(ctx context.Context, id string) (User, error) {
	return repository.Fetch(ctx, s.db, keyOf(id), func(ctx context.Context) (u User, err error) {
		row := s.db.Querier(ctx).QueryRowContext(ctx,
			"SELECT id, name, email FROM users WHERE id = $1", id)
		return u, row.Scan(&u.ID, &u.Name, &u.Email)
	})
}

// page returns the users of a page.
func (s *store) page(ctx context.Context, page int) ([]User, error) {
	key := cache.Key{Module: moduleUsers, Operation: "list", Params: page}
	return repository.Fetch(ctx, s.db, key, func(ctx context.Context) ([]User, error) {
		rows, err := s.db.Querier(ctx).QueryContext(ctx,
			"SELECT id, name, email FROM users ORDER BY id LIMIT $1 OFFSET $2", pageSize, page*pageSize)
		if err != nil {
			return nil, err
		}
		defer func() { _ = rows.Close() }()
		users := []User{}
		for rows.Next() {
			var u User
			if err := rows.Scan(&u.ID, &u.Name, &u.Email); err != nil {
				return nil, err
			}
			users = append(users, u)
		}
		return users, rows.Err()
	})
}

// rename changes a user. From the commit on, no reader sees the old name, and if this process dies
// on the way, neither.
func (s *store) rename(ctx context.Context, id, name string) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		result, err := s.db.Querier(ctx).ExecContext(ctx,
			"UPDATE users SET name = $1 WHERE id = $2", name, id)
		if err != nil {
			return err
		}
		if changed, err := result.RowsAffected(); err != nil || changed == 0 {
			return errors.Join(err, repository.ErrNotFound)
		}
		return repository.Touch(ctx, keyOf(id), cache.Scope{Module: moduleUsers, Operation: "list"})
	})
}
