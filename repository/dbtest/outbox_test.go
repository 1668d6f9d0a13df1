// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package dbtest

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/cache/cachetest"
	"github.com/cachewright/cachewright/repository"
)

// installOutbox installs the table, and triggers of the accounts if they are wanted.
func installOutbox(tb testing.TB, b backend, pool *sql.DB, watched ...repository.Watched) {
	tb.Helper()
	statements, err := repository.OutboxSQL(b.dialect)
	if err != nil {
		tb.Fatal(err)
	}
	for _, w := range watched {
		more, err := repository.TriggerSQL(b.dialect, w)
		if err != nil {
			tb.Fatal(err)
		}
		statements = append(statements, more...)
	}
	for range 2 { // they can be run again
		for _, statement := range statements {
			execute(tb, pool, statement)
		}
	}
}

// watchedAccounts have entries by id, and lists.
var watchedAccounts = repository.Watched{
	Table: "accounts", Module: module,
	Entries:    []repository.WatchedEntry{{Operation: "balance", Column: "id"}, {Operation: "getByName", Column: "name"}},
	Operations: []string{"list"},
}

// runRelay runs a relay until the test ends.
func runRelay(tb testing.TB, db *repository.DB, opts ...repository.RelayOption) *repository.Relay {
	tb.Helper()
	relay, err := db.Relay(opts...)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		relay.Run(ctx)
	}()
	tb.Cleanup(func() {
		cancel()
		<-done
	})
	return relay
}

// number reads a number.
func number(tb testing.TB, pool *sql.DB, query string) (n int) {
	tb.Helper()
	if err := pool.QueryRowContext(tb.Context(), query).Scan(&n); err != nil {
		tb.Fatalf("%s: %v", query, err)
	}
	return n
}

const openRows = "SELECT count(*) FROM cachewright_outbox WHERE done = 0"

// eventually waits for a state.
func eventually(tb testing.TB, what string, is func() bool) {
	tb.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatalf("it never came to be: %s", what)
		}
	}
}

// isCached says whether the cache has an entry, without loading it.
func isCached(tb testing.TB, c cache.Cache, key cache.Key) bool {
	tb.Helper()
	var value int
	found, err := c.Get(tb.Context(), key, &value)
	if err != nil {
		tb.Fatal(err)
	}
	return found
}

func fill(tb testing.TB, c cache.Cache, keys ...cache.Key) {
	tb.Helper()
	for _, key := range keys {
		if _, err := cache.Fetch(tb.Context(), c, key, func(context.Context) (int, error) { return 1, nil }); err != nil {
			tb.Fatal(err)
		}
		if !isCached(tb, c, key) {
			tb.Fatalf("%v is not cached", key)
		}
	}
}

// A relay in another process, with another cache, learns what a transaction touched.
func TestARelayCarriesWhatTransactionsTouched(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, b backend) {
		pool := b.open(t)
		installOutbox(t, b, pool)
		c := cachetest.New(cachetest.WithDefaultTTL(time.Hour))
		db := open(t, pool, b.dialect, repository.WithOutbox())
		touched := []cache.Key{
			accountKey(1),
			{Module: module, Operation: "byName", Params: `a"<'\ü`, User: "\xff\x00u"},
			{Module: module, Operation: "big", Params: map[string]any{"n": int64(9007199254740993), "nil": nil}},
			{Module: module, Operation: "all"},
			{Module: module, Operation: "list", Params: 3},
		}
		other := accountKey(2)
		fill(t, c, append(touched, other)...)
		for _, isBack := range []bool{true, false} {
			err := db.InTx(t.Context(), func(ctx context.Context) error {
				for _, key := range touched[:4] {
					if err := repository.Touch(ctx, key); err != nil {
						return err
					}
				}
				if err := repository.Touch(ctx, cache.Scope{Module: module, Operation: "list"}); err != nil || !isBack {
					return err
				}
				return errOurs
			})
			if isBack != errors.Is(err, errOurs) {
				t.Fatal(err)
			}
		}
		if err := incrementIn(t, db); err != nil { // touches nothing
			t.Fatal(err)
		}
		if got := number(t, pool, openRows); got != 1 {
			t.Errorf("%d rows are open", got)
		}
		relay := runRelay(t, open(t, pool, b.dialect, repository.WithCache(c)), repository.PollEvery(10*time.Millisecond))
		eventually(t, "no row is open", func() bool { return number(t, pool, openRows) == 0 })
		for _, key := range touched {
			if isCached(t, c, key) {
				t.Errorf("%q is cached", key.Operation)
			}
		}
		if !isCached(t, c, other) {
			t.Error("what nobody touched is not cached")
		}
		eventually(t, "the relay counts the row", func() bool { return relay.Figures().Rows == 1 })
	})
}

func incrementIn(t *testing.T, db *repository.DB) error {
	return db.InTx(t.Context(), func(ctx context.Context) error { return increment(ctx, db) })
}

// Rows that others wrote stop nothing.
func TestForeignRowsAreSetAside(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, b backend) {
		pool := b.open(t)
		installOutbox(t, b, pool)
		foreign := []string{
			"", "no JSON", "{}", `[{"module":"a b"}]`, `[{"module":"a","entry":true}]`, `[{"other":1}]`, `[{}]`,
			`[{"module":"` + strings.Repeat("x", 300<<10) + `"}]`, `[{"user":"bm9ib2R5","operation":"x"}]`, `[] []`,
		}
		for range 20 {
			for _, text := range foreign {
				execute(t, pool, b.sql("INSERT INTO cachewright_outbox (covers) VALUES (?)"), text)
			}
		}
		execute(t, pool, b.sql("INSERT INTO cachewright_outbox (covers) VALUES (?)"), `[{"module":"accounts"}]`)
		c := cachetest.New(cachetest.WithDefaultTTL(time.Hour))
		fill(t, c, accountKey(1))
		relay := runRelay(t, open(t, pool, b.dialect, repository.WithCache(c), quiet()), repository.PollEvery(10*time.Millisecond))
		eventually(t, "no row is open", func() bool { return number(t, pool, openRows) == 0 })
		if isCached(t, c, accountKey(1)) {
			t.Error("a row behind foreign ones was not carried")
		}
		eventually(t, "the relay counts them", func() bool {
			f := relay.Figures()
			return f.SetAside == int64(20*len(foreign)) && f.Rows == 1
		})
	})
}

// While the cache is away, rows stay open. Afterwards they are carried.
func TestARelayWaitsForTheCache(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, b backend) {
		pool := b.open(t)
		installOutbox(t, b, pool, watchedAccounts)
		c := cachetest.New(cachetest.WithDefaultTTL(time.Hour))
		fill(t, c, accountKey(1), accountKey(2))
		c.Fail(errOurs)
		relay := runRelay(t, open(t, pool, b.dialect, repository.WithCache(c), quiet()), repository.PollEvery(10*time.Millisecond))
		execute(t, pool, "UPDATE accounts SET balance = balance - 1")
		eventually(t, "turns fail", func() bool { return relay.Figures().Failures > 2 })
		if number(t, pool, openRows) == 0 {
			t.Error("rows are done without the cache")
		}
		c.Fail(nil)
		eventually(t, "no row is open", func() bool { return number(t, pool, openRows) == 0 })
		if isCached(t, c, accountKey(1)) || isCached(t, c, accountKey(2)) {
			t.Error("it is cached")
		}
	})
}

// Done rows stay for as long as InTx may ask for them, and no longer.
func TestDoneRowsAreRemovedOnceNobodyAsks(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, b backend) {
		pool := b.open(t)
		installOutbox(t, b, pool)
		now := map[repository.Dialect]string{
			repository.Postgres: "extract(epoch FROM now())::bigint", repository.MySQL: "UNIX_TIMESTAMP()",
			repository.SQLite: "CAST(strftime('%s', 'now') AS INTEGER)",
		}[b.dialect]
		for _, age := range []string{"3600", "700", "600", "0"} {
			execute(t, pool, "INSERT INTO cachewright_outbox (covers, done) VALUES ('[]', "+now+" - "+age+")")
		}
		execute(t, pool, "INSERT INTO cachewright_outbox (covers) VALUES ('[]')") // done right before the removal
		c := cachetest.New(cachetest.WithDefaultTTL(time.Hour))
		relay := runRelay(t, open(t, pool, b.dialect, repository.WithCache(c)), repository.PollEvery(time.Hour))
		eventually(t, "rows are removed", func() bool { return relay.Figures().Turns > 0 })
		if got := number(t, pool, "SELECT count(*) FROM cachewright_outbox"); got != 3 || relay.Figures().Removed != 2 {
			t.Errorf("%d rows are left: %+v", got, relay.Figures())
		}
	})
}

func quiet() repository.Option { return repository.WithLogger(slog.New(slog.DiscardHandler)) }
