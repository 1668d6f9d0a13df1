// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package dbtest

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/repository"
)

// A reader looks at the database, then at the cache. The cache must not be behind.
func TestNoReadIsOlderThanACommit(t *testing.T) {
	t.Parallel()
	redis := startRedis(t)
	onEach(t, func(t *testing.T, b backend) {
		pool := b.open(t)
		const ids = 4
		first := 10 * int(1+databases.Add(1)) // the backends share one Redis
		for i := range ids {
			execute(t, pool, b.sql("INSERT INTO accounts VALUES (?, 0, NULL)"), first+i)
		}
		writer := open(t, pool, b.dialect, repository.WithCache(newCache(t, redis.Addr())), repository.OnCacheAway(repository.Refuse))
		reader := open(t, pool, b.dialect, repository.WithCache(newCache(t, redis.Addr())))
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		var running sync.WaitGroup
		var reads, hits, commits atomic.Int64
		for i := range ids {
			running.Go(func() {
				for n := 1; ctx.Err() == nil; n++ {
					err := pay(t.Context(), writer, b, first+i, n)
					if err == nil {
						commits.Add(1)
					} else if !errors.Is(err, repository.ErrConflict) {
						t.Error(err)
					}
					time.Sleep(rand.N(10 * time.Millisecond))
				}
			})
			running.Go(func() {
				for ctx.Err() == nil {
					id := first + rand.IntN(ids)
					committed := balance(t, b, pool, id)
					got, hit := cachedBalance(t, b, reader, id)
					if got < committed {
						t.Errorf("read %d, after %d was committed", got, committed)
					}
					reads.Add(1)
					if hit {
						hits.Add(1)
					}
				}
			})
		}
		running.Wait()
		if hits.Load() == 0 || commits.Load() < ids {
			t.Errorf("%d commits, %d of %d reads were hits", commits.Load(), hits.Load(), reads.Load())
		}
		t.Logf("%d commits, %d of %d reads were hits", commits.Load(), hits.Load(), reads.Load())
	})
}

// The server ends the transaction of a writer that froze: before its hold ends, and whatever the
// writer believes when it goes on.
func TestAWriterThatFreezesIsRolledBackByTheServer(t *testing.T) {
	t.Parallel()
	redis := startRedis(t)
	onEach(t, func(t *testing.T, b backend) {
		if b.dialect == repository.SQLite {
			t.Skip("no server")
		}
		pool := b.open(t)
		frozen := &stepHolder{Client: newCache(t, redis.Addr())}
		db := open(t, pool, b.dialect, repository.WithCache(frozen), repository.WithHold(2*time.Second))
		frozen.held = func() { time.Sleep(1100 * time.Millisecond) } // so that the hold is renewed before COMMIT
		frozen.renew = func() { time.Sleep(2100 * time.Millisecond) }
		err := pay(t.Context(), db, b, 1, 50, repository.Attempts(1))
		if err == nil || balance(t, b, pool, 1) != 100 {
			t.Errorf("committed %d: %v", balance(t, b, pool, 1), err)
		}
		if b.dialect == repository.Postgres && db.Stats().OutcomeUnknown != 0 {
			t.Errorf("PostgreSQL did not tell the outcome: %v", err)
		}
		frozen.held, frozen.renew = nil, nil
		if err := pay(t.Context(), db, b, 1, 60); err != nil || balance(t, b, pool, 1) != 60 {
			t.Errorf("afterwards: %d, %v", balance(t, b, pool, 1), err)
		}
	})
}

// The limit of MariaDB is one of the session: who uses the connection next must not have it.
func TestTheLimitOfIdleTimeIsTakenBack(t *testing.T) {
	t.Parallel()
	redis := startRedis(t)
	queries := map[repository.Dialect]string{
		repository.Postgres: "SELECT current_setting('idle_in_transaction_session_timeout')",
		repository.MySQL:    "SELECT @@SESSION.idle_transaction_timeout",
	}
	onEach(t, func(t *testing.T, b backend) {
		if b.dialect == repository.SQLite {
			t.Skip("no server")
		}
		pool := b.open(t)
		pool.SetMaxOpenConns(1)
		holder := &stepHolder{Client: newCache(t, redis.Addr())}
		db := open(t, pool, b.dialect, repository.WithCache(holder), repository.OnCacheAway(repository.Refuse))
		limit := func() (text string) {
			if err := pool.QueryRowContext(t.Context(), queries[b.dialect]).Scan(&text); err != nil {
				t.Fatal(err)
			}
			return text
		}
		if b.dialect == repository.MySQL {
			execute(t, pool, "SET SESSION idle_transaction_timeout = 77")
		}
		before := limit()
		if err := pay(t.Context(), db, b, 1, 50); err != nil || limit() != before {
			t.Errorf("after a commit it is %s, not %s: %v", limit(), before, err)
		}
		holder.renew = nil
		err := db.InTx(t.Context(), func(ctx context.Context) error {
			return errors.Join(repository.Touch(ctx, accountKey(1)), errOurs)
		})
		if !errors.Is(err, errOurs) || limit() != before {
			t.Errorf("after a rollback it is %s, not %s: %v", limit(), before, err)
		}
	})
}

func TestWithoutRedisTransactionsGoOn(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, b backend) {
		redis := startRedis(t)
		pool := b.open(t)
		c := newCache(t, redis.Addr())
		db := open(t, pool, b.dialect, repository.WithCache(c))
		refusing := open(t, pool, b.dialect, repository.WithCache(c), repository.OnCacheAway(repository.Refuse))
		cachedBalance(t, b, db, 1)
		redis.Kill()
		if err := pay(t.Context(), refusing, b, 1, 1); !errors.Is(err, repository.ErrUnprotected) || balance(t, b, pool, 1) != 100 {
			t.Errorf("Refuse committed %d: %v", balance(t, b, pool, 1), err)
		}
		if err := pay(t.Context(), db, b, 1, 50); err != nil || balance(t, b, pool, 1) != 50 {
			t.Errorf("CommitAnyway committed %d: %v", balance(t, b, pool, 1), err)
		}
		if got, _ := cachedBalance(t, b, db, 1); got != 50 {
			t.Errorf("read %d without Redis", got)
		}
		if got := db.Stats().Unprotected + refusing.Stats().Unprotected; got != 2 {
			t.Errorf("%d are counted as unprotected", got)
		}
	})
}

var _ repository.Cache = (*cache.Client)(nil)
