// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package dbtest

import (
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/cachewright/cachewright/repository"
	"github.com/cachewright/cachewright/repository/dbtest/servers"
	"github.com/cachewright/cachewright/repository/pgxtx"
)

// openNative opens a new database with a table of accounts, by a pool of pgx.
func openNative(t *testing.T, opts ...repository.Option) (*pgxtx.DB, *pgxpool.Pool, *sql.DB) {
	t.Helper()
	dsn := backends[0].dsn(t)
	over := backends[0].openAt(t, dsn)
	db, pool := nativeAt(t, dsn, opts...)
	return db, pool, over
}

func nativeAt(t *testing.T, dsn string, opts ...repository.Option) (*pgxtx.DB, *pgxpool.Pool) {
	t.Helper()
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	config.MaxConns = 8
	pool, err := pgxpool.NewWithConfig(context.WithoutCancel(t.Context()), config)
	if err != nil {
		t.Fatal(err)
	}
	db, err := pgxtx.Open(pool, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = db.Close()
		pool.Close()
	})
	return db, pool
}

const addOne = "UPDATE accounts SET balance = balance + 1 WHERE id = $1"

// checkBalance compares what is committed.
func checkBalance(t *testing.T, over *sql.DB, id, want int) {
	t.Helper()
	if got := balance(t, backends[0], over, id); got != want {
		t.Errorf("account %d has %d, want %d", id, got, want)
	}
}

// All kinds of statements run in the transaction, beside those of database/sql.
func TestNativeStatementsAreOfTheTransaction(t *testing.T) {
	t.Parallel()
	db, pool, over := openNative(t)
	failed := errors.New("roll back")
	for _, end := range []error{failed, nil} {
		var hooks []string
		err := db.InTx(t.Context(), func(ctx context.Context) error {
			repository.AfterCommit(ctx, func(context.Context) { hooks = append(hooks, "committed") })
			repository.AfterRollback(ctx, func(context.Context) { hooks = append(hooks, "rolled back") })
			writeInEachWay(t, ctx, db)
			checkBalance(t, over, 1, 100) // others see nothing of it
			return end
		})
		if !errors.Is(err, end) || len(hooks) != 1 {
			t.Fatal(err, hooks)
		}
		if end != nil {
			checkBalance(t, over, 1, 100)
		}
	}
	checkBalance(t, over, 1, 104)
	checkBalance(t, over, 2, 101)
	checkBalance(t, over, 7, 70)
	if n := pool.Stat().AcquiredConns(); n != 0 {
		t.Errorf("%d connections are in use", n)
	}
}

// writeInEachWay adds 4 to account 1 and 1 to account 2, and makes the accounts 7 and 8.
func writeInEachWay(t *testing.T, ctx context.Context, db *pgxtx.DB) { //nolint:revive // that of the transaction
	t.Helper()
	native := db.Native(ctx)
	if tag, err := native.Exec(ctx, addOne, 1); err != nil || tag.RowsAffected() != 1 {
		t.Error(tag, err)
	}
	rows, _ := native.Query(ctx, "UPDATE accounts SET balance = balance + 1 RETURNING id")
	if ids, err := pgx.CollectRows(rows, pgx.RowTo[int]); err != nil || len(ids) != 2 {
		t.Error(ids, err)
	}
	batch := &pgx.Batch{}
	batch.Queue(addOne, 1)
	batch.Queue("SELECT balance FROM accounts WHERE id = 1")
	results := native.SendBatch(ctx, batch)
	var inBatch int
	if _, err := results.Exec(); err != nil {
		t.Error(err)
	}
	if err := results.QueryRow().Scan(&inBatch); err != nil || inBatch != 103 {
		t.Error(inBatch, err)
	}
	if err := results.Close(); err != nil {
		t.Error(err)
	}
	copied, err := native.CopyFrom(ctx, pgx.Identifier{"accounts"}, []string{"id", "balance"},
		pgx.CopyFromRows([][]any{{7, 70}, {8, 80}}))
	if err != nil || copied != 2 {
		t.Error(copied, err)
	}
	// database/sql in the same transaction, and back
	if err := increment(ctx, db.DB); err != nil {
		t.Error(err)
	}
	var amount int
	if err := native.QueryRow(ctx, "SELECT balance FROM accounts WHERE id = 1").Scan(&amount); err != nil || amount != 104 {
		t.Error(amount, err)
	}
}

// Errors of native statements are typed by InTx, and a savepoint undoes them alone.
func TestNativeErrorsAreTyped(t *testing.T) {
	t.Parallel()
	db, _, over := openNative(t)
	err := db.InTx(t.Context(), func(ctx context.Context) error {
		if _, err := db.Native(ctx).Exec(ctx, addOne, 1); err != nil {
			return err
		}
		err := db.InTx(ctx, func(ctx context.Context) error {
			_, err := db.Native(ctx).Exec(ctx, "INSERT INTO accounts VALUES (2, 0)")
			return err
		}, repository.Savepoint())
		var constraint *repository.ConstraintError
		if !errors.As(err, &constraint) || constraint.Kind != repository.KindUnique {
			t.Error(err)
		}
		var name string
		return db.Native(ctx).QueryRow(ctx, "SELECT name FROM accounts WHERE id = 1").Scan(&name)
	})
	if err != nil {
		t.Error(err)
	}
	checkBalance(t, over, 1, 101)
	err = db.InTx(t.Context(), func(ctx context.Context) error {
		var name string
		return db.Native(ctx).QueryRow(ctx, "SELECT name FROM accounts WHERE id = 99").Scan(&name)
	})
	if !errors.Is(err, repository.ErrNotFound) || !errors.Is(err, pgx.ErrNoRows) {
		t.Error(err)
	}
}

// Transactions that meet each other run again, and lose no update.
func TestNativeConflictsAreTriedAgain(t *testing.T) {
	t.Parallel()
	db, _, over := openNative(t)
	const writers, each = 4, 10
	var running sync.WaitGroup
	for range writers {
		running.Go(func() {
			for range each {
				err := db.InTx(t.Context(), func(ctx context.Context) error {
					var amount int
					if err := db.Native(ctx).QueryRow(ctx, "SELECT balance FROM accounts WHERE id = 1").Scan(&amount); err != nil {
						return err
					}
					_, err := db.Native(ctx).Exec(ctx, "UPDATE accounts SET balance = $1 WHERE id = 1", amount+1)
					return err
				}, repository.Isolation(sql.LevelSerializable), repository.Attempts(100))
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	running.Wait()
	checkBalance(t, over, 1, 100+writers*each)
	if db.Stats().Retries == 0 {
		t.Error("nothing ran again, so nothing was tried")
	}
}

// Connections are cut at a random byte of COMMIT. Whatever was lost, each transaction counts once.
func TestACutConnectionInANativeCommitIsSettled(t *testing.T) {
	t.Parallel()
	server := shared(t, postgres)
	proxy, err := servers.StartProxy(server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	dsn := backends[0].dsnOn(t, server, proxy.Addr())
	over := backends[0].openAt(t, dsn)
	db, _ := nativeAt(t, dsn)
	want, repeated := 100, 0
	for range cuts() {
		proxy.CutAt(inCommit)
		runs := 0
		err := db.InTx(t.Context(), func(ctx context.Context) error {
			runs++
			_, err := db.Native(ctx).Exec(ctx, addOne, 1)
			return err
		})
		proxy.CutAt(nil)
		want++
		if got := settled(t, over); err != nil || got != want {
			t.Fatalf("after %d runs the balance is %d, want %d: %v", runs, got, want, err)
		}
		if runs > 1 {
			repeated++
		}
	}
	if repeated == 0 || repeated == cuts() {
		t.Errorf("of %d, %d ran twice: COMMIT was never received, or always", cuts(), repeated)
	}
}

// A writer uses pgx, with holds in Redis. A reader that looks at the database first never finds less
// in the cache.
func TestNoReadIsOlderThanANativeCommit(t *testing.T) {
	t.Parallel()
	redis := startRedis(t)
	db, _, over := openNative(t, repository.WithCache(newCache(t, redis.Addr())), repository.OnCacheAway(repository.Refuse))
	reader := open(t, over, repository.Postgres, repository.WithCache(newCache(t, redis.Addr())))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	var running sync.WaitGroup
	var commits, hits atomic.Int64
	running.Go(func() {
		for ctx.Err() == nil {
			err := db.InTx(t.Context(), func(ctx context.Context) error {
				if _, err := db.Native(ctx).Exec(ctx, addOne, 1); err != nil {
					return err
				}
				return repository.Touch(ctx, accountKey(1))
			})
			if err != nil {
				t.Error(err)
			}
			commits.Add(1)
			time.Sleep(rand.N(10 * time.Millisecond))
		}
	})
	running.Go(func() {
		for ctx.Err() == nil {
			committed := balance(t, backends[0], over, 1)
			got, hit := cachedBalance(t, backends[0], reader, 1)
			if got < committed {
				t.Errorf("read %d, after %d was committed", got, committed)
			}
			if hit {
				hits.Add(1)
			}
		}
	})
	running.Wait()
	if commits.Load() < 10 || hits.Load() < 10 {
		t.Errorf("only %d commits and %d hits", commits.Load(), hits.Load())
	}
}

// The context ends while rows are read, and then statements are refused. The transaction is rolled
// back, also if the function forgets to close its rows, and the connection is free again, or closed.
func TestANativeTransactionEndsWithItsContext(t *testing.T) {
	t.Parallel()
	db, pool, over := openNative(t)
	for _, forgets := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		var native pgxtx.Querier
		err := db.InTx(ctx, func(ctx context.Context) error {
			native = db.Native(ctx)
			if _, err := native.Exec(ctx, addOne, 1); err != nil {
				return err
			}
			rows, err := native.Query(ctx, "SELECT generate_series(1, 1000000)")
			if err != nil {
				return err
			}
			rows.Next()
			cancel()
			time.Sleep(20 * time.Millisecond) // what ends the transaction would run now
			if _, err := native.Exec(context.WithoutCancel(ctx), addOne, 1); !errors.Is(err, repository.ErrOver) {
				t.Error("a statement after the end of the context:", err)
			}
			if forgets {
				return nil
			}
			for rows.Next() { // until the end of the context is seen
			}
			return rows.Err()
		})
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		checkRefused(t, native)
	}
	checkBalance(t, over, 1, 100)
	for end := time.Now().Add(20 * time.Second); pool.Stat().AcquiredConns() > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d connections are in use", pool.Stat().AcquiredConns())
		}
	}
}

// The context ends while the function does something else. The transaction is rolled back then, and
// its locks are free: whatever ran before has ended its use of the connection.
func TestAnIdleNativeTransactionEndsWithItsContext(t *testing.T) {
	t.Parallel()
	db, _, over := openNative(t)
	ctx, cancel := context.WithCancel(t.Context())
	err := db.InTx(ctx, func(ctx context.Context) error {
		writeInEachWay(t, ctx, db)
		var bad time.Time
		if err := db.Native(ctx).QueryRow(ctx, "SELECT id FROM accounts").Scan(&bad); err == nil {
			t.Error("a number is a time")
		}
		rows, _ := db.Native(ctx).Query(ctx, "SELECT id FROM accounts")
		rows.Close()
		rows, _ = db.Native(ctx).Query(ctx, "SELECT id FROM accounts")
		for rows.Next() { // the end closes the rows
		}
		cancel()
		settled(t, over) // waits for the lock of account 1
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	checkBalance(t, over, 1, 100)
}

// checkRefused fails if a statement runs after the end of its transaction.
func checkRefused(t *testing.T, native pgxtx.Querier) {
	t.Helper()
	ctx := t.Context()
	_, executed := native.Exec(ctx, addOne, 1)
	rows, queried := native.Query(ctx, "SELECT 1")
	_, collected := pgx.CollectRows(rows, pgx.RowTo[int])
	var n int
	scanned := native.QueryRow(ctx, "SELECT 1").Scan(&n)
	batch := &pgx.Batch{}
	batch.Queue(addOne, 1)
	_, copied := native.CopyFrom(ctx, pgx.Identifier{"accounts"}, []string{"id"}, pgx.CopyFromRows(nil))
	for i, err := range []error{executed, queried, collected, scanned, native.SendBatch(ctx, batch).Close(), copied} {
		if !errors.Is(err, repository.ErrOver) {
			t.Errorf("%d: %v", i, err)
		}
	}
}

// Outside of a transaction, Native is the pool.
func TestNativeOutsideOfATransaction(t *testing.T) {
	t.Parallel()
	db, pool, _ := openNative(t)
	if db.Native(t.Context()) != pgxtx.Querier(pool) {
		t.Error("not the pool")
	}
	other, _, _ := openNative(t)
	err := db.InTx(t.Context(), func(ctx context.Context) error {
		if _, ok := other.Native(ctx).(*pgxpool.Pool); !ok {
			t.Error("the transaction of another database")
		}
		return other.InTx(ctx, func(ctx context.Context) error {
			var here, there string
			if err := db.Native(ctx).QueryRow(ctx, "SELECT current_database()").Scan(&here); err != nil {
				return err
			}
			if err := other.Native(ctx).QueryRow(ctx, "SELECT current_database()").Scan(&there); err != nil {
				return err
			}
			if here == there {
				t.Error("both transactions are of one database")
			}
			return nil
		})
	})
	if err != nil {
		t.Error(err)
	}
	if _, err := pgxtx.Open(nil); err == nil {
		t.Error("a DB without a pool")
	}
	if _, err := pgxtx.Open(pool, repository.WithHold(0)); err == nil {
		t.Error("a hold of no time")
	}
}
