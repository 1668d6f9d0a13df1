// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package dbtest

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/cachewright/cachewright/cache/cachetest"
	"github.com/cachewright/cachewright/repository"
	"github.com/cachewright/cachewright/repository/pgxtx"
)

// Install installs the outbox, and triggers that watch the users.
func Install(ctx context.Context, db *sql.DB) error {
	statements, err := repository.OutboxSQL(repository.Postgres)
	if err != nil {
		return err
	}
	triggers, err := repository.TriggerSQL(repository.Postgres, repository.Watched{
		Table: "users", Module: "users",
		Entries:    []repository.WatchedEntry{{Operation: "getById", Column: "id"}},
		Operations: []string{"list"},
	})
	if err != nil {
		return err
	}
	for _, statement := range append(statements, triggers...) {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// startRelay carries what the outbox has to the cache, until ctx ends.
func startRelay(ctx context.Context, db *pgxtx.DB) (*repository.Relay, error) {
	relay, err := db.Relay()
	if err != nil {
		return nil, err
	}
	go relay.Run(ctx)
	go db.Listen(ctx, relay.Wake) // PostgreSQL by pgx alone
	return relay, nil
}

func TestTheOutboxOfThePageWorks(t *testing.T) {
	t.Parallel()
	b := backends[0]
	dsn := b.dsn(t)
	over := b.connect(t, dsn)
	execute(t, over, "CREATE TABLE users (id INT PRIMARY KEY, name VARCHAR(50) UNIQUE)")
	execute(t, over, "INSERT INTO users VALUES (1, 'Ada')")
	if err := Install(t.Context(), over); err != nil {
		t.Fatal(err)
	}
	pool, err := pgxpool.New(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	c := cachetest.New(cachetest.WithDefaultTTL(time.Hour))
	db, err := pgxtx.Open(pool, repository.WithCache(c), repository.WithOutbox(), quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if _, err := startRelay(ctx, db); err != nil {
		t.Fatal(err)
	}
	users := &Users{db: db.DB}
	if _, err := users.Name(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	execute(t, over, "UPDATE users SET name = 'Grace'")
	eventually(t, "the new name is read", func() bool {
		name, err := users.Name(t.Context(), 1)
		return err == nil && name == "Grace"
	})
}
