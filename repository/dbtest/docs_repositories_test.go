// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package dbtest

import (
	"context"
	"errors"
	"testing"
	"time"

	"gorm.io/gorm"

	"github.com/cachewright/cachewright/cache/cachetest"
	"github.com/cachewright/cachewright/repository"
	"github.com/cachewright/cachewright/repository/gormrepo"
)

// openArticles returns the articles, with a cache before them.
func openArticles(db *repository.DB, g *gorm.DB, c repository.Cache) (repository.Repository[Article, int64], error) {
	rows, err := gormrepo.New[Article, int64](db, g, gormrepo.Version("version"))
	if err != nil {
		return nil, err
	}
	return repository.Cached[Article, int64](rows, c, repository.Module("articles"),
		repository.Unique("slug"), repository.Partition("author_id"))
}

// Newest returns a page of the articles of an author.
func Newest(ctx context.Context, articles repository.Repository[Article, int64], author int64, after repository.Cursor) (repository.Page[Article], error) {
	return articles.Page(ctx, repository.Query{
		Where: []repository.Cond{repository.Eq("author_id", author), repository.Gt("rank", 0)},
		Order: []repository.Order{{Column: "rank", Desc: true}},
		Limit: 20,
	}, after)
}

func TestTheRepositoriesOfThePageWork(t *testing.T) {
	t.Parallel()
	fake := cachetest.New(cachetest.WithDefaultTTL(time.Hour))
	on := backends[0].openTables(t, repository.WithCache(fake))
	articles, err := openArticles(on.db, on.gorm, fake)
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(articles.Create(t.Context(), &Article{Slug: "a", AuthorID: 1, Rank: 1}, &Article{Slug: "b", AuthorID: 1}))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		page, err := Newest(t.Context(), articles, 1, "")
		if err != nil || len(page.Items) != 1 || page.Next != "" {
			t.Errorf("got %v: %v", page, err)
		}
	}
	rows := must[[]Article](t)(articles.Find(t.Context(), repository.Query{}))
	notes, err := repository.Related(t.Context(), rows, repository.Repository[Note, int64](on.notes), func(a *Article) int64 { return a.AuthorID })
	if err != nil || len(notes) != 0 {
		t.Errorf("got %v: %v", notes, err)
	}
}
