// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"gorm.io/gorm"

	"github.com/cachewright/cachewright/bench/internal/inturn"
	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/repository"
)

// subject is one thing to measure.
type subject struct {
	inturn.Subject

	// to names what it is compared with. Empty: nothing.
	to string
}

// holdTTL is that of a hold by InTx.
const holdTTL = 5 * time.Second

func (l *lab) subjects() []subject {
	var hold cache.Hold
	alone := func(name string, call func(context.Context, int) error) subject {
		return subject{Subject: inturn.Subject{Name: name, Call: call}}
	}
	beside := func(name, to string, call func(context.Context, int) error) subject {
		return subject{inturn.Subject{Name: name, Call: call}, to}
	}
	return []subject{
		alone("database-sql-get", l.selectOne),
		alone("gorm-get", l.gormGet),
		beside("repository-get", "gorm-get", getBy(l.plain)),
		alone("fetch-get", hits(l.fetch)),
		beside("repository-cached-get", "fetch-get", hits(getBy(l.cached))),
		beside("repository-near-get", "gorm-get", hits(getBy(l.nearby))),
		alone("repository-list", listBy(l.plain)),
		beside("repository-cached-list", "repository-list", hits(listBy(l.cached))),
		alone("repository-count", countBy(l.plain)),
		beside("repository-cached-count", "repository-count", hits(countBy(l.cached))),
		alone("repository-plain-intx", patchBy(l.bare, l.plain)),
		beside("repository-intx", "repository-plain-intx", patchBy(l.held, l.cached)),
		alone("repository-hold", func(ctx context.Context, n int) (err error) {
			hold, err = l.cache.Hold(ctx, holdTTL, fetchKey(written(n)))
			return err
		}),
		alone("repository-release", func(ctx context.Context, _ int) error { return hold.Release(ctx) }),
	}
}

// read returns the id of an article that nobody changes.
func read(n int) int64 {
	author, row := n%writer, n/writer%listed
	return int64(row*authors+author) + 1
}

// written returns the id of an article that is changed.
func written(n int) int64 { return int64(n%listed*authors+writer) + 1 }

func (l *lab) selectOne(ctx context.Context, n int) error {
	var a Article
	const query = "SELECT id, author_id, title, body, rank FROM articles WHERE id = $1"
	return l.pool.QueryRowContext(ctx, query, read(n)).
		Scan(&a.ID, &a.AuthorID, &a.Title, &a.Body, &a.Rank)
}

func (l *lab) gormGet(ctx context.Context, n int) error {
	var a Article
	return l.gorm.WithContext(ctx).Take(&a, read(n)).Error
}

func fetchKey(id int64) cache.Key {
	return cache.Key{Module: module, Operation: "fetch", Params: id}
}

// fetch reads an article as an application without repositories does.
func (l *lab) fetch(ctx context.Context, n int) error {
	_, err := cache.Fetch(ctx, l.cache, fetchKey(read(n)), func(ctx context.Context) (Article, error) {
		return l.plain.Get(ctx, read(n))
	})
	return err
}

func getBy(r articles) func(context.Context, int) error {
	return func(ctx context.Context, n int) error {
		a, err := r.Get(ctx, read(n))
		if err == nil && a.ID != read(n) {
			err = fmt.Errorf("read article %d, want %d", a.ID, read(n))
		}
		return err
	}
}

func byAuthor(n int) repository.Cond { return repository.Eq("author_id", int64(n%writer)) }

func listBy(r articles) func(context.Context, int) error {
	return func(ctx context.Context, n int) error {
		found, err := r.Find(ctx, repository.Query{Where: []repository.Cond{byAuthor(n)}})
		if err == nil && len(found) != listed {
			err = fmt.Errorf("found %d articles, want %d", len(found), listed)
		}
		return err
	}
}

func countBy(r articles) func(context.Context, int) error {
	return func(ctx context.Context, n int) error {
		_, err := r.Count(ctx, byAuthor(n))
		return err
	}
}

// patchBy changes an article in a transaction.
func patchBy(db *repository.DB, r articles) func(context.Context, int) error {
	return func(ctx context.Context, n int) error {
		return db.InTx(ctx, func(ctx context.Context) error {
			_, err := r.Patch(ctx, written(n), repository.Set{Column: "rank", Value: int64(n)})
			return err
		})
	}
}

// warm reads what must be cached when the measurement begins.
func (l *lab) warm(ctx context.Context) error {
	for _, s := range l.subjects() {
		for n := range writer * listed {
			if err := s.Call(ctx, n); err != nil {
				return fmt.Errorf("%s: %w", s.Name, err)
			}
		}
	}
	return nil
}

// ofCached marks the context of a call that reads what is cached.
type ofCached struct{}

func hits(call func(context.Context, int) error) func(context.Context, int) error {
	return func(ctx context.Context, n int) error {
		return call(context.WithValue(ctx, ofCached{}, true), n)
	}
}

// countLoads counts the queries of such calls from now on.
func (l *lab) countLoads(context.Context) error {
	return l.gorm.Callback().Query().Before("gorm:query").Register("count", func(g *gorm.DB) {
		if g.Statement.Context.Value(ofCached{}) != nil {
			l.loads.Add(1)
		}
	})
}
