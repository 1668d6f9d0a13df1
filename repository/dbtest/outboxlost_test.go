// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package dbtest

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/cachewright/cachewright/cache/cachetest"
	"github.com/cachewright/cachewright/repository"
	"github.com/cachewright/cachewright/repository/dbtest/servers"
)

// losing opens connections of a driver whose answers to COMMIT can be lost.
type losing struct {
	driver driver.Driver
	dsn    string

	mu sync.Mutex
	// lose, if it is set, is called with the real COMMIT once. Then the connection is of no use.
	lose func(commit func() error)
}

func (l *losing) Connect(context.Context) (driver.Conn, error) {
	conn, err := l.driver.Open(l.dsn)
	if err != nil {
		return nil, err
	}
	return &losingConn{Conn: conn, of: l}, nil
}

func (l *losing) Driver() driver.Driver { return l.driver }

func (l *losing) next(lose func(commit func() error)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lose = lose
}

type losingConn struct {
	driver.Conn
	of *losing
}

func (c *losingConn) BeginTx(ctx context.Context, o driver.TxOptions) (driver.Tx, error) {
	tx, err := c.Conn.(driver.ConnBeginTx).BeginTx(ctx, o)
	return &losingTx{Tx: tx, of: c.of}, err
}

func (c *losingConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	return c.Conn.(driver.ExecerContext).ExecContext(ctx, query, args)
}

func (c *losingConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	return c.Conn.(driver.QueryerContext).QueryContext(ctx, query, args)
}

type losingTx struct {
	driver.Tx
	of *losing
}

func (t *losingTx) Commit() error {
	t.of.mu.Lock()
	lose := t.of.lose
	t.of.lose = nil
	t.of.mu.Unlock()
	if lose == nil {
		return t.Tx.Commit()
	}
	lose(t.Tx.Commit)
	return io.ErrUnexpectedEOF
}

// cutter is a database whose connections are cut in COMMIT.
type cutter struct {
	pool   *sql.DB       // connections that may be cut
	direct *sql.DB       // others
	arm    func(on bool) // has the next COMMIT cut
}

// cutSQLite has no connection. Some COMMITs are carried out and some are not, and neither answers.
func cutSQLite(t *testing.T, b backend) cutter {
	t.Helper()
	dsn := b.dsn(t)
	direct := b.openAt(t, dsn)
	source := &losing{driver: direct.Driver(), dsn: dsn}
	pool := sql.OpenDB(source)
	t.Cleanup(func() { _ = pool.Close() })
	return cutter{pool: pool, direct: direct, arm: func(on bool) {
		source.next(nil)
		if on {
			source.next(func(commit func() error) {
				if rand.IntN(2) == 0 {
					_ = commit()
				}
			})
		}
	}}
}

func cutServer(t *testing.T, b backend) cutter {
	t.Helper()
	server := shared(t, b.server)
	proxy, err := servers.StartProxy(server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	cut := b.dsnOn(t, server, proxy.Addr())
	pool := b.openAt(t, cut)
	var name string
	query := map[bool]string{true: "SELECT current_database()", false: "SELECT database()"}[b.dialect == repository.Postgres]
	if err := pool.QueryRowContext(t.Context(), query).Scan(&name); err != nil {
		t.Fatal(err)
	}
	return cutter{pool: pool, direct: b.connect(t, server.DSNAt(server.Addr(), name)), arm: func(on bool) {
		proxy.CutAt(nil)
		if on {
			proxy.CutAt(inCommit)
		}
	}}
}

// Connections are cut at a random byte of COMMIT, on each database, while a relay works on the
// outbox. InTx knows what became of it, and nothing runs twice.
func TestACutConnectionIsSettledByTheOutbox(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, b backend) {
		cut := cutServer
		if b.dialect == repository.SQLite {
			cut = cutSQLite
		}
		at := cut(t, b)
		installOutbox(t, b, at.direct, watchedAccounts)
		c := cachetest.New(cachetest.WithDefaultTTL(time.Hour))
		db := open(t, at.pool, b.dialect, repository.WithOutbox(), repository.WithCache(c), repository.OnCacheAway(repository.Refuse))
		runRelay(t, open(t, at.direct, b.dialect, repository.WithCache(c), quiet()), repository.PollEvery(10*time.Millisecond))
		want, repeated := balance(t, b, at.direct, 1), 0
		for range cuts() {
			runs := 0
			at.arm(true)
			err := db.InTx(t.Context(), func(ctx context.Context) error {
				runs++
				if err := repository.Touch(ctx, accountKey(1)); err != nil {
					return err
				}
				return increment(ctx, db)
			})
			at.arm(false)
			want++
			if got := balance(t, b, at.direct, 1); err != nil || got != want {
				t.Fatalf("after %d runs the balance is %d, want %d: %v", runs, got, want, err)
			}
			if runs > 1 {
				repeated++
			}
		}
		t.Logf("%d done, %d of them by a second run", cuts(), repeated)
		if repeated == 0 || repeated == cuts() {
			t.Errorf("of %d, %d ran twice: COMMIT was never received, or always", cuts(), repeated)
		}
		eventually(t, "no row is open", func() bool { return number(t, at.direct, openRows) == 0 })
		eventually(t, "no mark is left", func() bool {
			cachedBalance(t, b, db, 1)
			got, hit := cachedBalance(t, b, db, 1)
			return hit && got == want
		})
	})
}

// The control: InTx asks for its row after a relay has marked it, and finds it. If the relay removed
// it at once, InTx would run a transaction again that is committed.
func TestWithoutItsRowACommittedTransactionRunsTwice(t *testing.T) {
	t.Parallel()
	for removed, wantRuns := range map[bool]int{false: 1, true: 2} {
		b := backends[3]
		dsn := b.dsn(t)
		direct := b.openAt(t, dsn)
		installOutbox(t, b, direct)
		source := &losing{driver: direct.Driver(), dsn: dsn}
		pool := sql.OpenDB(source)
		t.Cleanup(func() { _ = pool.Close() })
		c := cachetest.New(cachetest.WithDefaultTTL(time.Hour))
		relay := runRelay(t, open(t, direct, b.dialect, repository.WithCache(c)), repository.PollEvery(10*time.Millisecond))
		source.next(func(commit func() error) {
			if err := commit(); err != nil {
				t.Error(err)
			}
			eventually(t, "the row is done", func() bool { return relay.Figures().Rows == 1 })
			if removed {
				execute(t, direct, "DELETE FROM cachewright_outbox")
			}
		})
		db, runs := open(t, pool, b.dialect, repository.WithOutbox()), 0
		err := db.InTx(t.Context(), func(ctx context.Context) error {
			runs++
			if err := repository.Touch(ctx, accountKey(1)); err != nil {
				return err
			}
			return increment(ctx, db)
		})
		if got := balance(t, b, direct, 1); err != nil || runs != wantRuns || got != 100+runs {
			t.Errorf("removed: %v: %d runs made it %d: %v", removed, runs, got, err)
		}
	}
}
