// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package repository_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/repository"
)

var errOurs = errors.New("an error of the function")

func TestConflictsAreTriedAgain(t *testing.T) {
	t.Parallel()
	rows := map[string]struct {
		err     error // of the statement
		times   int   // how often it fails
		opts    []repository.TxOption
		attempt int // how many are made
		want    error
	}{
		"serialization":       {stateError("40001"), 2, nil, 3, nil},
		"deadlock":            {stateError("40P01"), 1, nil, 2, nil},
		"too many":            {stateError("40001"), 99, nil, 5, repository.ErrConflict},
		"as many as wanted":   {stateError("40001"), 99, []repository.TxOption{repository.Attempts(2)}, 2, repository.ErrConflict},
		"a lock is not free":  {stateError("55P03"), 1, nil, 1, repository.ErrConflict},
		"a constraint":        {stateError("23505"), 1, nil, 1, repository.ErrConstraint},
		"a mistake":           {stateError("42601"), 1, nil, 1, stateError("42601")},
		"a lost connection":   {errLost, 1, nil, 1, errLost},
		"something of others": {errOurs, 1, nil, 1, errOurs},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				fake := newFakeDB()
				db := fake.opened(t)
				failed := 0
				fake.statement = func(string) error {
					if failed == row.times {
						return nil
					}
					failed++
					return row.err
				}
				attempts := 0
				err := db.InTx(t.Context(), func(ctx context.Context) error {
					attempts++
					if err := exec(ctx, db, "UPDATE"); err != nil {
						return fmt.Errorf("in the function: %w", err)
					}
					return nil
				}, row.opts...)
				if !errors.Is(err, row.want) || attempts != row.attempt {
					t.Errorf("%d attempts, %v; want %d, %v", attempts, err, row.attempt, row.want)
				}
				if row.want != nil && !errors.Is(err, row.err) {
					t.Errorf("%v does not wrap %v", err, row.err)
				}
				if got := db.Stats().Retries; got != int64(row.attempt-1) {
					t.Errorf("%d retries are counted, want %d", got, row.attempt-1)
				}
			})
		})
	}
}

func TestAConflictInCommitIsTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fake := newFakeDB()
		db := fake.opened(t)
		commits := 0
		fake.commit = func() error {
			commits++
			if commits == 1 {
				return stateError("40001")
			}
			return nil
		}
		if err := db.InTx(t.Context(), func(context.Context) error { return nil }); err != nil || commits != 2 {
			t.Errorf("%d commits: %v", commits, err)
		}
	})
}

func TestPausesBetweenAttemptsEndWithTheContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := newFakeDB().opened(t)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		began, attempts := time.Now(), 0
		err := db.InTx(ctx, func(context.Context) error {
			attempts++
			return stateError("40001")
		}, repository.Attempts(100))
		if !errors.Is(err, repository.ErrConflict) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took != 10*time.Second || attempts < 20 || attempts > 60 {
			t.Errorf("%d attempts in %s", attempts, took)
		}
	})
}

func TestAConnectionThatBrokeBeforeIsReplaced(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]error{
		"as database/sql knows it": driver.ErrBadConn, "by the server's last word": stateError("57P01"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake := newFakeDB()
			pool := fake.pool(t)
			pool.SetMaxIdleConns(10)
			var conns []*sql.Conn
			for range 4 {
				conn, err := pool.Conn(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				conns = append(conns, conn)
			}
			for _, conn := range conns {
				_ = conn.Close()
			}
			db, err := repository.Open(pool, repository.Postgres)
			if err != nil {
				t.Fatal(err)
			}
			begins := 0
			fake.begin = func() error {
				begins++
				if begins <= 4 {
					return broken
				}
				return nil
			}
			if err := db.InTx(t.Context(), func(context.Context) error { return nil }); err != nil || begins != 5 {
				t.Errorf("began %d times: %v", begins, err)
			}
			begins = -100
			if err := db.InTx(t.Context(), func(context.Context) error { return nil }); !errors.Is(err, broken) || begins > -90 {
				t.Errorf("a database that is away is asked %d times: %v", begins+100, err)
			}
			if inUse := pool.Stats().InUse; inUse != 0 {
				t.Errorf("%d connections are in use", inUse)
			}
		})
	}
}

func TestACancelledTransactionIsNotCommitted(t *testing.T) {
	t.Parallel()
	fake := newFakeDB()
	db := fake.opened(t)
	ctx, cancel := context.WithCancel(t.Context())
	err := db.InTx(ctx, func(context.Context) error {
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) || errors.Is(err, repository.ErrOutcomeUnknown) || fake.history() != "BEGIN; ROLLBACK" ||
		db.Stats() != (repository.Stats{RolledBack: 1}) {
		t.Errorf("%s, %+v: %v", fake.history(), db.Stats(), err)
	}
}

func TestNothingRunsAfterTheEnd(t *testing.T) {
	t.Parallel()
	fake := newFakeDB()
	db := fake.opened(t)
	uses := map[string]func(context.Context) error{
		"ExecContext": func(ctx context.Context) error { return exec(ctx, db, "AFTER") },
		"QueryContext": func(ctx context.Context) error {
			_, err := db.Querier(ctx).QueryContext(ctx, "AFTER") //nolint:gocritic // there are no rows
			return err
		},
		"QueryRowContext": func(ctx context.Context) error {
			return db.Querier(ctx).QueryRowContext(ctx, "AFTER").Scan(new(int))
		},
		"PrepareContext": func(ctx context.Context) error {
			_, err := db.Querier(ctx).PrepareContext(ctx, "AFTER")
			return err
		},
		"Touch":                 func(ctx context.Context) error { return repository.Touch(ctx, users) },
		"InTx":                  func(ctx context.Context) error { return db.InTx(ctx, func(context.Context) error { return nil }) },
		"InTx with a savepoint": func(ctx context.Context) error { return db.InTx(ctx, nil, repository.Savepoint()) },
		"InTx that calls its func": func(ctx context.Context) error {
			return db.InTx(ctx, func(ctx context.Context) error { return exec(ctx, db, "AFTER") })
		},
	}
	var ofSavepoint, ofTransaction context.Context
	check := func(ctx context.Context, when string) {
		for name, use := range uses {
			if err := use(ctx); !errors.Is(err, repository.ErrOver) {
				t.Errorf("%s after %s: %v", name, when, err)
			}
		}
	}
	err := db.InTx(t.Context(), func(ctx context.Context) error {
		ofTransaction = ctx //nolint:fatcontext // it is what the test uses after its end
		for _, result := range []error{nil, errOurs} {
			_ = db.InTx(ctx, func(ctx context.Context) error {
				ofSavepoint = ctx //nolint:fatcontext // see above
				return result
			}, repository.Savepoint())
			check(ofSavepoint, "the savepoint")
		}
		return nil
	})
	check(ofTransaction, "COMMIT")
	repository.AfterCommit(ofTransaction, func(context.Context) { t.Error("a hook was called that came after the end") })
	const want = "BEGIN; SAVEPOINT cachewright_1; RELEASE SAVEPOINT cachewright_1; " +
		"SAVEPOINT cachewright_2; ROLLBACK TO SAVEPOINT cachewright_2; RELEASE SAVEPOINT cachewright_2; COMMIT"
	if err != nil || fake.history() != want {
		t.Errorf("%v: %s", err, fake.history())
	}
}

func TestOptionsThatMakeNoSenseAreRefused(t *testing.T) {
	t.Parallel()
	fake := newFakeDB()
	for name, opts := range map[string][]repository.Option{
		"too short a hold": {repository.WithHold(time.Second)}, "too long a hold": {repository.WithHold(11 * time.Minute)},
		"a negative lag": {repository.ReplicaLag(-1)}, "too long a lag": {repository.ReplicaLag(hour)},
		"no logger": {repository.WithLogger(nil)}, "an unknown way": {repository.OnCacheAway(7)},
	} {
		if _, err := repository.Open(fake.pool(t), repository.Postgres, opts...); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if _, err := repository.Open(nil, repository.Postgres); err == nil {
		t.Error("a nil database was taken")
	}
	if _, err := repository.Open(fake.pool(t), 0); err == nil {
		t.Error("no dialect was taken")
	}
	db := fake.opened(t)
	never := func(context.Context) error {
		t.Error("the function was called")
		return nil
	}
	for _, n := range []int{0, -1, 101} {
		if err := db.InTx(t.Context(), never, repository.Attempts(n)); err == nil {
			t.Errorf("%d attempts were taken", n)
		}
	}
	err := db.InTx(t.Context(), func(ctx context.Context) error {
		for name, option := range map[string]repository.TxOption{
			"attempts": repository.Attempts(2), "read-only": repository.ReadOnly(), "isolation": repository.Isolation(sql.LevelSerializable),
		} {
			if err := db.InTx(ctx, never, option); err == nil {
				t.Errorf("%s was taken inside", name)
			}
		}
		return db.InTx(ctx, func(context.Context) error { return nil }, repository.Isolation(sql.LevelDefault))
	})
	if err != nil {
		t.Error(err)
	}
}

func TestAReadOnlyTransactionTouchesNothing(t *testing.T) {
	t.Parallel()
	fake := newFakeDB()
	db := fake.opened(t)
	err := db.InTx(t.Context(), func(ctx context.Context) error { return repository.Touch(ctx, users) }, repository.ReadOnly())
	if err == nil || fake.history() != "BEGIN READ ONLY; ROLLBACK" {
		t.Errorf("%s: %v", fake.history(), err)
	}
	if err := repository.Touch(t.Context(), users); !errors.Is(err, repository.ErrNoTransaction) {
		t.Errorf("without a transaction: %v", err)
	}
}

// users is a module that tests touch.
var users = cache.Scope{Module: "users"}
