// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package dbtest

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
	"github.com/cachewright/cachewright/repository"
)

// module has the cached accounts.
const module = "accounts"

func accountKey(id int) cache.Key {
	return cache.Key{Module: module, Operation: "balance", Params: id}
}

// startRedis runs a Redis that caches the module.
func startRedis(tb testing.TB) *redistest.Server {
	tb.Helper()
	server := redistest.Start(tb)
	_, err := registry.New(server.Client()).ApplyPolicy(tb.Context(),
		registry.Slot{Namespace: "bank", Module: module}, registry.Policy{DefaultTTL: new(time.Hour)})
	if err != nil {
		tb.Fatal(err)
	}
	return server
}

// openCache returns a client of the cache, as one process has it, and what closes it.
func openCache(addr string) (c *cache.Client, closeAll func(), err error) {
	client := redis.NewClient(&redis.Options{
		Addr: addr, ContextTimeoutEnabled: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	c, err = cache.New(client, "bank", cache.WithTimeout(10*time.Second),
		cache.WithInvalidationTimeout(10*time.Second), cache.WithLogger(slog.New(slog.DiscardHandler)))
	return c, func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second) // in some tests Redis is gone
		defer cancel()
		if c != nil {
			_ = c.Close(ctx)
		}
		_ = client.Close()
	}, err
}

func newCache(tb testing.TB, addr string) *cache.Client {
	tb.Helper()
	c, closeAll, err := openCache(addr)
	tb.Cleanup(closeAll)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// cachedBalance reads an account as readers do, and says whether that was a hit.
func cachedBalance(tb testing.TB, b backend, db *repository.DB, id int) (amount int, hit bool) {
	tb.Helper()
	hit = true
	amount, err := repository.Fetch(tb.Context(), db, accountKey(id), func(ctx context.Context) (amount int, err error) {
		hit = false
		err = db.Querier(ctx).QueryRowContext(ctx, b.sql("SELECT balance FROM accounts WHERE id = ?"), id).Scan(&amount)
		return amount, err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return amount, hit
}

// pay sets a balance, and touches its entry.
func pay(ctx context.Context, db *repository.DB, b backend, id, amount int, opts ...repository.TxOption) error {
	return db.InTx(ctx, func(ctx context.Context) error {
		if err := set(ctx, db, b, id, amount); err != nil {
			return err
		}
		return repository.Touch(ctx, accountKey(id))
	}, opts...)
}

// stepHolder calls functions around the calls of a holder.
type stepHolder struct {
	*cache.Client
	held, renew, release func()
}

func (s *stepHolder) Hold(ctx context.Context, ttl time.Duration, on ...cache.Covered) (cache.Hold, error) {
	hold, err := s.Client.Hold(ctx, ttl, on...)
	if s.held != nil {
		s.held()
	}
	return stepHold{Hold: hold, of: s}, err
}

type stepHold struct {
	cache.Hold
	of *stepHolder
}

func (s stepHold) Renew(ctx context.Context, ttl time.Duration) error {
	err := s.Hold.Renew(ctx, ttl)
	if s.of.renew != nil {
		s.of.renew()
	}
	return err
}

func (s stepHold) Release(ctx context.Context) error {
	if s.of.release != nil {
		s.of.release()
	}
	return s.Hold.Release(ctx)
}
