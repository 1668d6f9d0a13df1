// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package dbtest

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/cache/cachetest"
	"github.com/cachewright/cachewright/repository"
	"github.com/cachewright/cachewright/repository/pgxtx"
)

// NativeUsers is a store of users over pgx, which the page shows.
type NativeUsers struct{ db *pgxtx.DB }

// Rename renames a user.
func (s *NativeUsers) Rename(ctx context.Context, id int, name string) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		_, err := s.db.Native(ctx).Exec(ctx, "UPDATE users SET name = $1 WHERE id = $2", name, id)
		if err != nil {
			return err
		}
		return repository.Touch(ctx, cache.Key{Module: "users", Operation: "getById", Params: id})
	})
}

// openNativeUsers opens the database as the page does.
func openNativeUsers(pool *pgxpool.Pool, users repository.Cache) (*pgxtx.DB, error) {
	db, err := pgxtx.Open(pool, repository.WithCache(users)) // a *pgxpool.Pool
	return db, err
}

func TestTheNativeCodeOfThePageWorks(t *testing.T) {
	t.Parallel()
	b := backends[0]
	dsn := b.dsn(t)
	over := b.connect(t, dsn)
	execute(t, over, "CREATE TABLE users (id INT PRIMARY KEY, name VARCHAR(50) UNIQUE)")
	execute(t, over, "INSERT INTO users VALUES (1, 'Ada')")
	pool, err := pgxpool.New(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	db, err := openNativeUsers(pool, cachetest.New(cachetest.WithDefaultTTL(time.Hour)))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	users := &NativeUsers{db: db}
	readers := &Users{db: db.DB}
	for _, name := range []string{"Ada", "Grace"} {
		if err := users.Rename(t.Context(), 1, name); err != nil {
			t.Error(err)
		}
		for range 2 {
			if got, err := readers.Name(t.Context(), 1); err != nil || got != name {
				t.Errorf("user 1 is %q, want %q: %v", got, name, err)
			}
		}
	}
}
