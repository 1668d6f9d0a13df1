// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package dbtest

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"testing"

	"github.com/cachewright/cachewright/repository"
)

// Transactions that read, and write what follows from it, are as good as one after the other.
func TestSerializableTransactionsLoseNoUpdate(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, b backend) {
		pool := b.open(t)
		db := open(t, pool, b.dialect)
		const workers, times = 4, 10
		var running sync.WaitGroup
		for range workers {
			running.Go(func() {
				for range times {
					err := db.InTx(t.Context(), func(ctx context.Context) error {
						var amount int
						err := db.Querier(ctx).QueryRowContext(ctx, "SELECT balance FROM accounts WHERE id = 1").Scan(&amount)
						if err != nil {
							return err
						}
						return set(ctx, db, b, 1, amount+1)
					}, repository.Isolation(sql.LevelSerializable), repository.Attempts(100))
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		running.Wait()
		if got := balance(t, b, pool, 1); got != 100+workers*times {
			t.Errorf("%d increments made it %d", workers*times, got)
		}
		if b.dialect != repository.SQLite && db.Stats().Retries == 0 {
			t.Error("there was no conflict")
		}
		t.Logf("%+v", db.Stats())
	})
}

// Two transactions wait for each other. Both get through.
func TestADeadlockIsTriedAgain(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, b backend) {
		if b.dialect == repository.SQLite {
			t.Skip("it has one writer at a time")
		}
		pool := b.open(t)
		db := open(t, pool, b.dialect)
		var both, running sync.WaitGroup // both have their first row
		both.Add(2)
		for first, second := range map[int]int{1: 2, 2: 1} {
			running.Go(func() {
				wait := sync.OnceFunc(func() {
					both.Done()
					both.Wait()
				})
				err := db.InTx(t.Context(), func(ctx context.Context) error {
					if err := set(ctx, db, b, first, 10*first); err != nil {
						return err
					}
					wait()
					return set(ctx, db, b, second, 10*first)
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		running.Wait()
		if one, two := balance(t, b, pool, 1), balance(t, b, pool, 2); one != two || db.Stats().Retries == 0 {
			t.Errorf("the balances are %d and %d, %+v", one, two, db.Stats())
		}
	})
}

// MySQL ends a transaction that meets a deadlock. What a careless function sends afterwards must
// not run outside of it.
func TestNothingRunsAfterADeadlockThatWasIgnored(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, b backend) {
		if b.dialect != repository.MySQL {
			t.Skip("the others refuse statements themselves")
		}
		pool := b.open(t)
		db := open(t, pool, b.dialect)
		execute(t, pool, "INSERT INTO accounts VALUES (3, 0, NULL)")
		var both, running sync.WaitGroup
		both.Add(2)
		for first, second := range map[int]int{1: 2, 2: 1} {
			running.Go(func() {
				err := db.InTx(t.Context(), func(ctx context.Context) error {
					if err := set(ctx, db, b, first, 10*first); err != nil {
						return err
					}
					both.Done()
					both.Wait()
					if err := set(ctx, db, b, second, 10*first); err == nil {
						return nil
					}
					if err := set(ctx, db, b, 3, 1); !errors.Is(err, repository.ErrOver) {
						t.Errorf("a statement after a deadlock returned %v", err)
					}
					return nil
				}, repository.Attempts(1))
				if err != nil && !errors.Is(err, repository.ErrConflict) {
					t.Error(err)
				}
			})
		}
		running.Wait()
		if got := balance(t, b, pool, 3); got != 0 || db.Stats() != (repository.Stats{Committed: 1, RolledBack: 1}) {
			t.Errorf("a statement ran outside of its transaction: %d, %+v", got, db.Stats())
		}
	})
}
