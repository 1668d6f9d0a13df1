// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package dbtest

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/cachewright/cachewright/repository"
	"github.com/cachewright/cachewright/repository/dbtest/servers"
)

// cuts is how often a connection is cut in COMMIT: DB_CUTS, default 40.
func cuts() int {
	if n, err := strconv.Atoi(os.Getenv("DB_CUTS")); err == nil && n > 0 {
		return n
	}
	return 40
}

// increment adds one to the balance of account 1.
func increment(ctx context.Context, db *repository.DB) error {
	_, err := db.Querier(ctx).ExecContext(ctx, "UPDATE accounts SET balance = balance + 1 WHERE id = 1")
	return err
}

// inCommit cuts a connection at a random byte of COMMIT, or after all of it was sent.
func inCommit(sent []byte) (at int, cut bool) {
	switch {
	case !bytes.Contains(bytes.ToLower(sent), []byte("commit")):
		return 0, false
	case rand.IntN(2) == 0:
		return len(sent), true
	default:
		return rand.IntN(len(sent)), true
	}
}

// Connections are cut at a random byte of COMMIT. What InTx says is what the database has, and
// nothing is done twice.
func TestACutConnectionInCommitIsSettled(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, b backend) {
		if b.dialect == repository.SQLite {
			t.Skip("no connection")
		}
		server := shared(t, b.server)
		proxy, err := servers.StartProxy(server.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(proxy.Close)
		dsn := b.dsnOn(t, server, proxy.Addr())
		pool := b.openAt(t, dsn)
		db := open(t, pool, b.dialect)
		want, repeated, unknown, done := balance(t, b, pool, 1), 0, 0, 0
		for range cuts() {
			proxy.CutAt(inCommit)
			runs := 0
			err := db.InTx(t.Context(), func(ctx context.Context) error {
				runs++
				return increment(ctx, db)
			})
			proxy.CutAt(nil)
			got := settled(t, pool)
			switch {
			case err == nil && got == want+1:
				done++
			case errors.Is(err, repository.ErrOutcomeUnknown) && runs == 1 && b.dialect != repository.Postgres &&
				(got == want || got == want+1):
				unknown++
			default:
				t.Fatalf("after %d runs the balance is %d, it was %d: %v", runs, got, want, err)
			}
			if runs > 1 {
				repeated++
			}
			want = got
		}
		t.Logf("%d done, %d of them by a second run, %d unknown", done, repeated, unknown)
		if b.dialect == repository.Postgres && (repeated == 0 || repeated == done) {
			t.Errorf("of %d, %d ran twice: COMMIT was never received, or always", done, repeated)
		}
	})
}

// settled reads the balance of account 1 once no transaction changes it any more. A server may
// still work on what it received before the cut.
func settled(t *testing.T, pool *sql.DB) (amount int) {
	t.Helper()
	err := pool.QueryRowContext(t.Context(), "SELECT balance FROM accounts WHERE id = 1 FOR UPDATE").Scan(&amount)
	if err != nil {
		t.Fatal(err)
	}
	return amount
}

// slowCommit lets each COMMIT of an account's change take a while.
func slowCommit(t *testing.T, pool *sql.DB, seconds string) {
	t.Helper()
	execute(t, pool, `CREATE FUNCTION nap() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(`+seconds+`); RETURN NULL; END'`)
	execute(t, pool, "CREATE CONSTRAINT TRIGGER nap AFTER UPDATE ON accounts DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION nap()")
}

// onPostgres runs a test with each driver of PostgreSQL.
func onPostgres(t *testing.T, test func(t *testing.T, b backend)) {
	onEach(t, func(t *testing.T, b backend) {
		if b.dialect != repository.Postgres {
			t.Skip("PostgreSQL alone")
		}
		test(t, b)
	})
}

func TestABackendThatIsTerminatedInCommitIsSettled(t *testing.T) {
	t.Parallel()
	onPostgres(t, func(t *testing.T, b backend) {
		pool := b.open(t)
		slowCommit(t, pool, "0.5")
		db := open(t, pool, b.dialect)
		runs := 0
		err := db.InTx(t.Context(), func(ctx context.Context) error {
			runs++
			if runs == 1 {
				var pid int
				if err := db.Querier(ctx).QueryRowContext(ctx, "SELECT pg_backend_pid()").Scan(&pid); err != nil {
					return err
				}
				go terminateInCommit(t, b, pool, pid)
			}
			return increment(ctx, db)
		})
		if got := balance(t, b, pool, 1); err != nil || got != 101 || runs != 2 {
			t.Errorf("%d runs made it %d: %v", runs, got, err)
		}
	})
}

// terminateInCommit ends a backend once it sleeps in COMMIT.
func terminateInCommit(t *testing.T, b backend, pool *sql.DB, pid int) {
	for t.Context().Err() == nil {
		var done bool
		err := pool.QueryRowContext(t.Context(), b.sql("SELECT coalesce(bool_or(pg_terminate_backend(pid)), false) "+
			"FROM pg_stat_activity WHERE pid = ? AND query ILIKE 'commit%' AND wait_event = 'PgSleep'"), pid).Scan(&done)
		if err != nil {
			t.Error(err)
			return
		}
		if done {
			return
		}
	}
}

// PostgreSQL is restarted, as after a crash, while it commits.
func TestARestartInCommitIsSettled(t *testing.T) {
	t.Parallel()
	server, err := servers.StartPostgres()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	for _, b := range backends[:2] {
		pool := b.openAt(t, b.dsnOn(t, server, server.Addr()))
		slowCommit(t, pool, "1")
		db := open(t, pool, b.dialect)
		runs, restarted := 0, make(chan struct{})
		err := db.InTx(t.Context(), func(ctx context.Context) error {
			runs++
			if runs == 1 {
				time.AfterFunc(500*time.Millisecond, func() {
					server.Restart()
					close(restarted)
				})
			}
			return increment(ctx, db)
		})
		if runs > 0 {
			<-restarted // the server may serve before Restart has seen that
		}
		if got := balance(t, b, pool, 1); err != nil || got != 101 || runs != 2 {
			t.Errorf("%s: %d runs made it %d: %v", b.name, runs, got, err)
		}
	}
}

// COMMIT takes longer than a hold lasts. It is renewed, so nobody caches what was before.
func TestACommitSlowerThanItsHoldIsProtected(t *testing.T) {
	t.Parallel()
	onPostgres(t, func(t *testing.T, b backend) {
		redis := startRedis(t)
		pool := b.open(t)
		slowCommit(t, pool, "5")
		db := open(t, pool, b.dialect, repository.WithCache(newCache(t, redis.Addr())),
			repository.WithHold(2*time.Second), repository.OnCacheAway(repository.Refuse))
		result := make(chan error, 1)
		cachedBalance(t, b, db, 1)
		go func() { result <- pay(t.Context(), db, b, 1, 50) }()
		for {
			select {
			case err := <-result:
				if got, _ := cachedBalance(t, b, db, 1); err != nil || got != 50 || db.Stats().HoldsLost != 0 {
					t.Errorf("read %d, %+v: %v", got, db.Stats(), err)
				}
				return
			default:
			}
			committed := balance(t, b, pool, 1)
			if got, _ := cachedBalance(t, b, db, 1); got < 50 && committed == 50 {
				t.Fatalf("read %d, after %d was committed", got, committed)
			}
			time.Sleep(10 * time.Millisecond)
		}
	})
}
