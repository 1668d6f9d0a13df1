// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
	"github.com/cachewright/cachewright/repository"
	"github.com/cachewright/cachewright/repository/dbtest/servers"
	"github.com/cachewright/cachewright/repository/gormrepo"
)

const (
	namespace, module = "bench", "articles"
	// authors have the articles by turns. Those of the last one are changed, and not read.
	authors, writer = 10, authors - 1
	// listed is how many articles an author has.
	listed = 20
)

// Article is the row that is read and changed.
type Article struct {
	ID       int64 `gorm:"primaryKey"`
	AuthorID int64 `gorm:"index"`
	Title    string
	Body     string
	Rank     int64
}

type articles = repository.Repository[Article, int64]

// lab has the servers, and the layers over them.
type lab struct {
	database *servers.Server
	pool     *sql.DB
	gorm     *gorm.DB
	redis    *redis.Client
	// cache and near are those of a process, without and with values in its memory.
	cache, near *cache.Client
	// plain has no cache; cached and nearby have the one or the other.
	plain, cached, nearby articles
	// bare and held are databases whose transactions have no cache, and hold in the cache.
	bare, held *repository.DB

	// loads counts queries for what is cached.
	loads   atomic.Int64
	closers []func()
}

// newLab starts everything. Close it also after an error.
func newLab(ctx context.Context) (*lab, error) {
	l := &lab{}
	for _, step := range []func(context.Context) error{
		l.startDatabase, l.startCache, l.openRepositories, l.fill, l.warm, l.countLoads,
	} {
		if err := step(ctx); err != nil {
			return l, err
		}
	}
	return l, nil
}

func (l *lab) onClose(fn func()) { l.closers = append(l.closers, fn) }

// close runs the closers, the last one first.
func (l *lab) close() {
	for i := len(l.closers) - 1; i >= 0; i-- {
		l.closers[i]()
	}
}

func (l *lab) startDatabase(ctx context.Context) (err error) {
	// As in production, a commit is on the disk when it returns.
	if l.database, err = servers.StartPostgres("fsync=on"); err != nil {
		return err
	}
	l.onClose(l.database.Close)
	if l.pool, err = sql.Open("pgx", l.database.DSN("postgres")); err != nil {
		return err
	}
	l.onClose(func() { _ = l.pool.Close() })
	silent := logger.Default.LogMode(logger.Silent)
	l.gorm, err = gorm.Open(postgres.New(postgres.Config{Conn: l.pool}), &gorm.Config{Logger: silent})
	if err != nil {
		return err
	}
	return l.gorm.WithContext(ctx).AutoMigrate(&Article{})
}

func (l *lab) startCache(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "cachewright-bench-")
	if err != nil {
		return err
	}
	l.onClose(func() { _ = os.RemoveAll(dir) })
	server, err := redistest.Run(ctx, dir, 0)
	if err != nil {
		return err
	}
	l.onClose(server.Kill)
	l.redis = redis.NewClient(&redis.Options{
		Addr: server.Addr(), ContextTimeoutEnabled: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	l.onClose(func() { _ = l.redis.Close() })
	store := registry.New(l.redis)
	if _, err := store.Install(ctx); err != nil {
		return err
	}
	slot, ttl := registry.Slot{Namespace: namespace, Module: module}, time.Hour
	if _, err := store.ApplyPolicy(ctx, slot, registry.Policy{DefaultTTL: &ttl}); err != nil {
		return err
	}
	if l.cache, err = l.newCache(ctx); err != nil {
		return err
	}
	l.near, err = l.newCache(ctx, cache.WithNearCache(cache.NearCache{}))
	return err
}

// newCache returns the cache of a process. On a machine that halts for a moment, the default
// timeout would load, which must not be measured.
func (l *lab) newCache(ctx context.Context, opts ...cache.Option) (*cache.Client, error) {
	c, err := cache.New(l.redis, namespace, append(opts, cache.WithTimeout(time.Minute))...)
	if err != nil {
		return nil, err
	}
	l.onClose(func() { _ = c.Close(context.WithoutCancel(ctx)) })
	return c, nil
}

func (l *lab) openRepositories(context.Context) (err error) {
	if l.bare, err = repository.Open(l.pool, repository.Postgres); err != nil {
		return err
	}
	l.held, err = repository.Open(l.pool, repository.Postgres, repository.WithCache(l.cache))
	if err != nil {
		return err
	}
	near, err := repository.Open(l.pool, repository.Postgres, repository.WithCache(l.near))
	if err != nil {
		return err
	}
	if l.plain, err = gormrepo.New[Article, int64](l.bare, l.gorm); err != nil {
		return err
	}
	if l.cached, err = cachedArticles(l.held, l.gorm, l.cache); err != nil {
		return err
	}
	l.nearby, err = cachedArticles(near, l.gorm, l.near)
	return err
}

func cachedArticles(db *repository.DB, g *gorm.DB, c cache.Cache) (articles, error) {
	source, err := gormrepo.New[Article, int64](db, g)
	if err != nil {
		return nil, err
	}
	return repository.Cached[Article, int64](source, c,
		repository.Module(module), repository.Partition("author_id"))
}

// fill creates the articles.
func (l *lab) fill(ctx context.Context) error {
	var all []*Article
	for i := range int64(authors * listed) {
		all = append(all, &Article{
			ID: i + 1, AuthorID: i % authors, Title: fmt.Sprint("Article ", i),
			Body: strings.Repeat("text ", 100),
		})
	}
	return l.plain.Create(ctx, all...)
}
