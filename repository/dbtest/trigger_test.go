// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package dbtest

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/cache/cachetest"
	"github.com/cachewright/cachewright/repository"
	"github.com/cachewright/cachewright/repository/pgxtx"
)

// SQL that did not come through InTx ends the entries of the old and the new values.
func TestATriggerTellsWhatOtherSQLChanged(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, b backend) {
		pool := b.open(t)
		installOutbox(t, b, pool, watchedAccounts)
		c := cachetest.New(cachetest.WithDefaultTTL(time.Hour))
		db := open(t, pool, b.dialect, repository.WithCache(c))
		runRelay(t, db, repository.PollEvery(10*time.Millisecond))
		name := func(name string) cache.Key {
			return cache.Key{Module: module, Operation: "getByName", Params: name}
		}
		keys := []cache.Key{
			accountKey(1), accountKey(2), accountKey(3), name("ada"), name("bob"), name("eve"), name(`q"\`),
			{Module: module, Operation: "list"},
		}
		for _, row := range []struct {
			query string
			ends  []int
		}{
			{"UPDATE accounts SET name = 'eve' WHERE id = 1", []int{0, 3, 5, 7}},
			{"INSERT INTO accounts VALUES (3, 7, NULL)", []int{2, 7}},
			{`UPDATE accounts SET name = 'q"\' WHERE id = 3`, []int{2, 6, 7}},
			{"DELETE FROM accounts WHERE id > 1", []int{1, 2, 4, 6, 7}},
			{"UPDATE accounts SET balance = 1 WHERE id = 99", nil},
		} {
			if b.dialect == repository.MySQL {
				row.query = strings.ReplaceAll(row.query, `\`, `\\`)
			}
			fill(t, c, keys...)
			execute(t, pool, row.query)
			eventually(t, "no row is open", func() bool { return number(t, pool, openRows) == 0 })
			for i, key := range keys {
				want := true
				for _, ended := range row.ends {
					want = want && ended != i
				}
				if got := isCached(t, c, key); got != want {
					t.Errorf("after %s: %v is cached: %v", row.query, key, got)
				}
			}
		}
	})
}

// On PostgreSQL, a trigger leaves out what InTx does, and sees COPY, TRUNCATE and many rows at once.
func TestATriggerOfPostgresKnowsInTx(t *testing.T) {
	t.Parallel()
	onPostgres(t, func(t *testing.T, b backend) {
		pool := b.open(t)
		installOutbox(t, b, pool, watchedAccounts)
		db := open(t, pool, b.dialect, repository.WithOutbox())
		if err := incrementIn(t, db); err != nil {
			t.Fatal(err)
		}
		if got := number(t, pool, openRows); got != 0 {
			t.Errorf("%d rows of a transaction of InTx that touched nothing", got)
		}
		pool.SetMaxOpenConns(1) // what InTx set is gone on its connection
		execute(t, pool, "INSERT INTO accounts SELECT n, 1, NULL FROM generate_series(10, 400) AS n")
		if got := number(t, pool, openRows); got != 1 {
			t.Errorf("%d rows for one statement", got)
		}
		var covers string
		if err := pool.QueryRowContext(t.Context(), "SELECT covers FROM cachewright_outbox WHERE done = 0").Scan(&covers); err != nil || len(covers) > 500 {
			t.Errorf("many rows became %d bytes: %v", len(covers), err)
		}
		execute(t, pool, "TRUNCATE accounts CASCADE")
		if got := number(t, pool, openRows); got != 2 {
			t.Errorf("%d rows after TRUNCATE", got)
		}
	})
}

// Databases differ in what calls a trigger, as the page says.
func TestWhatTriggersSeeIsWhatThePageSays(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, b backend) {
		pool := b.open(t)
		execute(t, pool, "CREATE TABLE parts (id INT PRIMARY KEY, name VARCHAR(9) UNIQUE, account INT, FOREIGN KEY (account) REFERENCES accounts (id) ON DELETE CASCADE)")
		execute(t, pool, "CREATE TABLE others (id INT PRIMARY KEY)")
		execute(t, pool, "INSERT INTO parts VALUES (1, 'a', 1), (2, 'b', 2)")
		installOutbox(t, b, pool, repository.Watched{
			Table: "parts", Module: "parts", Entries: []repository.WatchedEntry{{Operation: "getById", Column: "id"}},
		})
		trigger := "CREATE TRIGGER others_parts AFTER INSERT ON others FOR EACH ROW "
		change := "UPDATE parts SET name = 'o' WHERE id = 2"
		switch b.dialect {
		case repository.Postgres:
			execute(t, pool, "CREATE FUNCTION others_parts() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "+change+"; RETURN NULL; END $$")
			execute(t, pool, trigger+"EXECUTE PROCEDURE others_parts()")
		case repository.MySQL:
			execute(t, pool, trigger+change)
		default:
			execute(t, pool, trigger+"BEGIN "+change+"; END")
		}
		seen := func(query string) bool {
			before := number(t, pool, openRows)
			execute(t, pool, query)
			return number(t, pool, openRows) > before
		}
		if !seen("INSERT INTO others VALUES (1)") {
			t.Error("what another trigger changes is not seen")
		}
		if b.dialect != repository.Postgres && !seen("REPLACE INTO parts VALUES (3, 'c', 2)") {
			t.Error("REPLACE is not seen")
		}
		if got, want := seen("DELETE FROM accounts WHERE id = 1"), b.dialect != repository.MySQL; got != want {
			t.Errorf("a cascade is seen: %v", got)
		}
		if b.dialect == repository.MySQL && seen("TRUNCATE parts") {
			t.Error("TRUNCATE is seen")
		}
		if b.dialect == repository.SQLite && !seen("DELETE FROM parts") {
			t.Error("DELETE of all is not seen")
		}
	})
}

// COPY calls the trigger of PostgreSQL.
func TestATriggerSeesCopy(t *testing.T) {
	t.Parallel()
	b := backends[0]
	dsn := b.dsn(t)
	over := b.openAt(t, dsn)
	installOutbox(t, b, over, watchedAccounts)
	pool, err := pgxpool.New(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	rows := [][]any{{7, 1, "x"}, {8, 1, "y"}}
	if _, err := pool.CopyFrom(t.Context(), pgx.Identifier{"accounts"}, []string{"id", "balance", "name"}, pgx.CopyFromRows(rows)); err != nil {
		t.Fatal(err)
	}
	if got := number(t, over, openRows); got != 1 {
		t.Errorf("%d rows", got)
	}
}

// The relay sleeps for an hour, and the notification of the trigger wakes it.
func TestANotificationWakesTheRelay(t *testing.T) {
	t.Parallel()
	b := backends[0]
	dsn := b.dsn(t)
	other := b.openAt(t, dsn)
	installOutbox(t, b, other, watchedAccounts)
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	var prepared atomic.Int64 // connections that the pool's hook has seen
	config.BeforeConnect = func(context.Context, *pgx.ConnConfig) error {
		prepared.Add(1)
		return nil
	}
	config.MaxConns = 1
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	c := cachetest.New(cachetest.WithDefaultTTL(time.Hour))
	db, err := pgxtx.Open(pool, repository.WithCache(c), quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	relay := runRelay(t, db.DB, repository.PollEvery(time.Hour))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		db.Listen(ctx, relay.Wake)
	}()
	eventually(t, "it listens", func() bool { return relay.Figures().Woken > 0 })
	change := func() {
		fill(t, c, accountKey(1))
		execute(t, other, "UPDATE accounts SET balance = balance + 1 WHERE id = 1")
		eventually(t, "the relay has seen it", func() bool { return !isCached(t, c, accountKey(1)) })
	}
	change()
	woken := relay.Figures().Woken
	execute(t, other, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'LISTEN cachewright_outbox' AND datname = current_database()")
	eventually(t, "it listens again", func() bool { return relay.Figures().Woken > woken })
	change()
	cancel()
	<-ended
	if got := prepared.Load(); got < 3 { // that of the pool, and two that listened
		t.Errorf("%d connections were made as the pool makes them", got)
	}
}

// With Redis, readers see what other SQL changed once the relay was woken, and cache it again.
func TestReadersSeeWhatOtherSQLChanged(t *testing.T) {
	t.Parallel()
	b := backends[0]
	dsn := b.dsn(t)
	over := b.openAt(t, dsn)
	installOutbox(t, b, over, watchedAccounts)
	pool, err := pgxpool.New(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	db, err := pgxtx.Open(pool, repository.WithCache(newCache(t, startRedis(t).Addr())), quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	relay := runRelay(t, db.DB, repository.PollEvery(time.Hour))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go db.Listen(ctx, relay.Wake)
	eventually(t, "it listens", func() bool { return relay.Figures().Woken > 0 })
	var late []time.Duration
	for want := range 50 {
		execute(t, over, b.sql("UPDATE accounts SET balance = ? WHERE id = 1"), want)
		began := time.Now()
		eventually(t, "it is read", func() bool {
			got, _ := cachedBalance(t, b, db.DB, 1)
			return got == want
		})
		late = append(late, time.Since(began))
		eventually(t, "no mark is left", func() bool {
			got, hit := cachedBalance(t, b, db.DB, 1)
			return hit && got == want
		})
	}
	slices.Sort(late)
	t.Logf("read after %s in the middle, %s at most", late[len(late)/2], late[len(late)-1])
}
