// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package dbtest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log"
	"strings"
	"testing"
	"time"

	"github.com/libtnb/sqlite"
	gormmysql "gorm.io/driver/mysql"
	gormpostgres "gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/cache/cachetest"
	"github.com/cachewright/cachewright/repository"
	"github.com/cachewright/cachewright/repository/gormrepo"
)

// Article is a row with a version.
type Article struct {
	ID       int64          `json:"id"`
	Slug     string         `gorm:"size:100;uniqueIndex" json:"slug"`
	AuthorID int64          `json:"authorID"`
	Title    string         `gorm:"size:100" json:"title"`
	Rank     int            `json:"rank"`
	Note     *string        `gorm:"size:100" json:"note"`
	Version  int64          `json:"version"`
	Deleted  gorm.DeletedAt `gorm:"column:deleted_at" json:"deleted"`
}

// Note is a row without a version, that belongs to a user.
type Note struct {
	ID    int64  `json:"id"`
	Owner string `gorm:"size:100" json:"owner"`
	Text  string `gorm:"size:100" json:"text"`
}

type articles = repository.Repository[Article, int64]

// openGorm opens GORM over a pool.
func (b backend) openGorm(tb testing.TB, pool *sql.DB) *gorm.DB {
	tb.Helper()
	g, err := b.gormOver(pool)
	if err != nil {
		tb.Fatal(err)
	}
	return g
}

func (b backend) gormOver(pool *sql.DB) (*gorm.DB, error) {
	var dialector gorm.Dialector
	switch b.dialect {
	case repository.Postgres:
		dialector = gormpostgres.New(gormpostgres.Config{Conn: pool})
	case repository.MySQL:
		dialector = gormmysql.New(gormmysql.Config{Conn: pool})
	default:
		dialector = &sqlite.Dialector{Conn: pool}
	}
	return gorm.Open(dialector, &gorm.Config{Logger: logger.New(log.New(io.Discard, "", 0), logger.Config{})})
}

// tables are the repositories of a new database.
type tables struct {
	db       *repository.DB
	gorm     *gorm.DB
	articles *gormrepo.Repo[Article, int64]
	notes    *gormrepo.Repo[Note, int64]
}

func (b backend) openTables(tb testing.TB, opts ...repository.Option) *tables {
	tb.Helper()
	pool := b.connect(tb, b.dsn(tb))
	g := b.openGorm(tb, pool)
	if err := g.AutoMigrate(&Article{}, &Note{}); err != nil {
		tb.Fatal(err)
	}
	t := &tables{db: open(tb, pool, b.dialect, opts...), gorm: g}
	var err error
	if t.articles, err = gormrepo.New[Article, int64](t.db, g, gormrepo.Version("version")); err != nil {
		tb.Fatal(err)
	}
	if t.notes, err = gormrepo.New[Note, int64](t.db, g); err != nil {
		tb.Fatal(err)
	}
	return t
}

func cachedArticles(tb testing.TB, t *tables, c cache.Cache) articles {
	tb.Helper()
	r, err := repository.Cached[Article, int64](t.articles, c, repository.Module("articles"),
		repository.Unique("slug"), repository.Partition("author_id"))
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// onBoth runs a test on each kind of database, with and without a cache.
func onBoth(t *testing.T, test func(t *testing.T, tables *tables, r articles)) {
	for _, b := range backends {
		if b.name == "postgres-pq" {
			continue
		}
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			t.Run("plain", func(t *testing.T) {
				on := b.openTables(t)
				test(t, on, on.articles)
			})
			t.Run("cached", func(t *testing.T) {
				fake := cachetest.New(cachetest.WithDefaultTTL(time.Hour))
				on := b.openTables(t, repository.WithCache(fake))
				test(t, on, cachedArticles(t, on, fake))
			})
		})
	}
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func wantError(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
}

// say writes rows in one line, without what differs between runs.
func say(rows ...Article) string {
	var text strings.Builder
	for _, a := range rows {
		note := "-"
		if a.Note != nil {
			note = *a.Note
		}
		fmt.Fprintf(&text, "%d:%s:%d:%s:%d:%s:v%d ", a.ID, a.Slug, a.AuthorID, a.Title, a.Rank, note, a.Version)
	}
	return text.String()
}

func TestARepositoryDoesWhatItsInterfaceSays(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, on *tables, r articles) {
		ctx := t.Context()
		one := &Article{Slug: "one", AuthorID: 1, Title: "One", Rank: 5}
		two, three := &Article{Slug: "two", AuthorID: 1, Rank: 5}, &Article{Slug: "three", AuthorID: 2, Rank: 1}
		_, err := r.Get(ctx, 1)
		wantError(t, err, repository.ErrNotFound)
		if err := errors.Join(r.Create(ctx, one), r.Create(ctx, two, three)); err != nil {
			t.Fatal(err)
		}
		wantError(t, r.Create(ctx, &Article{Slug: "one"}), repository.ErrConstraint)
		for range 2 {
			if got := must[Article](t)(r.Get(ctx, one.ID)); say(got) != say(*one) {
				t.Errorf("got %s, want %s", say(got), say(*one))
			}
			found := must[map[int64]Article](t)(r.GetMany(ctx, []int64{three.ID, one.ID, 99, one.ID}))
			if len(found) != 2 || say(found[three.ID]) != say(*three) {
				t.Errorf("found %v", found)
			}
			q := repository.Query{Where: []repository.Cond{repository.Eq("author_id", 1)}, Order: []repository.Order{{Column: "rank", Desc: true}, {Column: "id", Desc: true}}}
			if got := must[[]Article](t)(r.Find(ctx, q)); say(got...) != say(*two, *one) {
				t.Errorf("found %s", say(got...))
			}
			// no database of ours takes another case for the same, nor does the cache
			for slug, want := range map[string]int{"one": 1, "ONE": 0} {
				if got := must[[]Article](t)(r.Find(ctx, repository.Query{Where: []repository.Cond{repository.Eq("slug", slug)}})); len(got) != want {
					t.Errorf("%s: %s", slug, say(got...))
				}
			}
			if n := must[int64](t)(r.Count(ctx, repository.In("slug", "one", "three", "TWO"))); n != 2 {
				t.Errorf("counted %d", n)
			}
			if !must[bool](t)(r.Exists(ctx, repository.IsNull("note"), repository.Gt("rank", 4), repository.Ne("slug", "two"))) {
				t.Error("there is none")
			}
			if must[bool](t)(r.Exists(ctx, repository.In("id"))) {
				t.Error("there is one of no ids")
			}
		}

		stale := *one
		one.Title = "Uno"
		if err := r.Update(ctx, one); err != nil || one.Version != 1 {
			t.Errorf("version %d: %v", one.Version, err)
		}
		wantError(t, r.Update(ctx, &stale), repository.ErrStaleCopy)
		wantError(t, r.Update(ctx, &Article{ID: 99}), repository.ErrNotFound)
		patched := must[Article](t)(r.Patch(ctx, one.ID, repository.Set{Column: "note", Value: "n"}, repository.Set{Column: "author_id", Value: 2}))
		if patched.Version != 2 || patched.Note == nil || patched.Title != "Uno" {
			t.Errorf("patched: %s", say(patched))
		}
		if got := must[Article](t)(r.Get(ctx, one.ID)); say(got) != say(patched) {
			t.Errorf("got %s, want %s", say(got), say(patched))
		}
		if n := must[int64](t)(r.Count(ctx, repository.Eq("author_id", 2))); n != 2 {
			t.Errorf("author 2 has %d", n)
		}

		again := &Article{Slug: "two", AuthorID: 7, Title: "Two"}
		if err := r.Upsert(ctx, again, "slug"); err != nil || again.ID != two.ID || again.Version != 1 {
			t.Errorf("upserted %s: %v", say(*again), err)
		}
		fresh := &Article{Slug: "four", AuthorID: 7}
		if err := r.Upsert(ctx, fresh, "slug"); err != nil || fresh.ID == 0 {
			t.Errorf("upserted %s: %v", say(*fresh), err)
		}
		clash := &Article{ID: 77, Slug: "four"}
		wantError(t, r.Upsert(ctx, clash), repository.ErrConstraint)

		if err := r.Delete(ctx, three.ID); err != nil {
			t.Error(err)
		}
		wantError(t, r.Delete(ctx, three.ID), repository.ErrNotFound)
		_, err = r.Get(ctx, three.ID)
		wantError(t, err, repository.ErrNotFound)
		var rows int64
		if err := on.gorm.Unscoped().Model(&Article{}).Count(&rows).Error; err != nil || rows != 4 {
			t.Errorf("%d rows are there, with those that are marked as deleted: %v", rows, err)
		}
	})
}

func TestPagesAndStreamsHaveEachRowOnce(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, _ *tables, r articles) {
		ctx := t.Context()
		var all []*Article
		for i := range 620 {
			all = append(all, &Article{Slug: fmt.Sprintf("s%03d", i), Rank: i % 7, AuthorID: int64(i % 3)})
		}
		if err := r.Create(ctx, all...); err != nil {
			t.Fatal(err)
		}
		q := repository.Query{Order: []repository.Order{{Column: "rank", Desc: true}, {Column: "author_id"}}, Limit: 250}
		paged := ""
		var after repository.Cursor
		for pages := 0; ; pages++ {
			page := must[repository.Page[Article]](t)(r.Page(ctx, q, after))
			paged += say(page.Items...)
			if after = page.Next; after == "" {
				if pages != 2 {
					t.Errorf("%d pages", pages+1)
				}
				break
			}
			if pages == 0 {
				_, err := r.Page(ctx, repository.Query{Limit: 250}, after)
				wantError(t, err, repository.ErrCursor)
			}
		}
		q.Limit = 0
		want := say(must[[]Article](t)(r.Find(ctx, q))...)
		streamed := ""
		for a, err := range r.Each(ctx, q) {
			streamed += say(must[Article](t)(a, err))
		}
		if paged != want || streamed != want {
			t.Error("pages, streams and lists differ")
		}
		q.Limit, q.Offset = 3, 4
		if got := say(must[[]Article](t)(r.Find(ctx, q))...); !strings.Contains(want, got) || strings.Count(got, " ") != 3 {
			t.Errorf("got %s", got)
		}
		n := 0
		for a, err := range r.Each(ctx, repository.Query{Limit: 501}) {
			must[Article](t)(a, err)
			n++
		}
		if n != 501 {
			t.Errorf("streamed %d of 501", n)
		}
		for i := range 400 {
			all[i] = &Article{Slug: fmt.Sprintf("t%03d", i)}
		}
		if err := r.Create(ctx, all[:400]...); err != nil {
			t.Fatal(err)
		}
		_, err := r.Find(ctx, repository.Query{})
		wantError(t, err, repository.ErrTooMany)
	})
}

func TestBadInputIsNotExecuted(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, on *tables, r articles) {
		ctx := t.Context()
		statements := 0
		count := func(*gorm.DB) { statements++ }
		_ = on.gorm.Callback().Query().Before("gorm:query").Register("count", count)
		_ = on.gorm.Callback().Create().Before("gorm:create").Register("count", count)
		_ = on.gorm.Callback().Update().Before("gorm:update").Register("count", count)
		var wide []repository.Cond
		for range 40 {
			wide = append(wide, repository.Eq("id", 1))
		}
		for name, c := range map[string]struct {
			q    repository.Query
			want error
		}{
			"column":     {repository.Query{Where: []repository.Cond{repository.Eq("id = 1 OR 1", 1)}}, repository.ErrColumn},
			"operator":   {repository.Query{Where: []repository.Cond{{Column: "id", Op: "= 1 OR 1 =", Value: 1}}}, repository.ErrOperator},
			"type":       {repository.Query{Where: []repository.Cond{repository.Eq("id", "1")}}, repository.ErrValue},
			"slice":      {repository.Query{Where: []repository.Cond{repository.Eq("id", []int{1})}}, repository.ErrValue},
			"overflow":   {repository.Query{Where: []repository.Cond{repository.Eq("id", uint64(1<<63))}}, repository.ErrValue},
			"nil":        {repository.Query{Where: []repository.Cond{repository.Eq("id", nil)}}, repository.ErrValue},
			"order":      {repository.Query{Order: []repository.Order{{Column: "id;--"}}}, repository.ErrColumn},
			"limit":      {repository.Query{Limit: 1001}, repository.ErrTooMany},
			"negative":   {repository.Query{Limit: -1}, repository.ErrTooMany},
			"offset":     {repository.Query{Offset: 1 << 30}, repository.ErrTooMany},
			"conditions": {repository.Query{Where: wide}, repository.ErrTooMany},
			"values":     {repository.Query{Where: []repository.Cond{repository.In("id", make([]any, 1001)...)}}, repository.ErrTooMany},
		} {
			_, err := r.Find(ctx, c.q)
			_, pageErr := r.Page(ctx, c.q, "")
			for _, err := range []error{err, pageErr} {
				if !errors.Is(err, c.want) {
					t.Errorf("%s: got %v, want %v", name, err, c.want)
				}
			}
			refused := 0
			for _, err := range r.Each(ctx, c.q) {
				refused++
				if !errors.Is(err, c.want) {
					t.Errorf("%s: the stream got %v, want %v", name, err, c.want)
				}
			}
			if refused != 1 {
				t.Errorf("%s: the stream had %d results", name, refused)
			}
			if len(c.q.Where) > 0 {
				_, err := r.Count(ctx, c.q.Where...)
				wantError(t, err, c.want)
				_, err = r.Exists(ctx, c.q.Where...)
				wantError(t, err, c.want)
			}
		}
		_, err := r.Page(ctx, repository.Query{Limit: 501}, "")
		wantError(t, err, repository.ErrTooMany)
		_, err = r.Page(ctx, repository.Query{Order: []repository.Order{{Column: "note"}}}, "")
		wantError(t, err, repository.ErrColumn)
		for _, cursor := range []repository.Cursor{"x", "e30", repository.Cursor(strings.Repeat("a", 5000))} {
			_, err := r.Page(ctx, repository.Query{}, cursor)
			wantError(t, err, repository.ErrCursor)
		}
		_, err = r.GetMany(ctx, make([]int64, 1001))
		wantError(t, err, repository.ErrTooMany)
		wantError(t, r.Create(ctx), repository.ErrNil)
		wantError(t, r.Create(ctx, &Article{}, nil), repository.ErrNil)
		wantError(t, r.Update(ctx, nil), repository.ErrNil)
		wantError(t, r.Upsert(ctx, nil), repository.ErrNil)
		wantError(t, r.Upsert(ctx, &Article{}, "nothing"), repository.ErrColumn)
		_, err = r.GetForUpdate(ctx, 1)
		wantError(t, err, repository.ErrNoTransaction)
		if statements != 0 {
			t.Errorf("%d statements", statements)
		}

		var over context.Context
		_ = on.db.InTx(ctx, func(ctx context.Context) error {
			over = ctx //nolint:fatcontext // it is used after its end on purpose
			for _, set := range []repository.Set{{Column: "version", Value: 9}, {Column: "id", Value: 9}, {Column: "x", Value: 1}, {Column: "rank", Value: "x"}} {
				if _, err := on.articles.Patch(ctx, 1, set); !errors.Is(err, repository.ErrColumn) && !errors.Is(err, repository.ErrValue) {
					t.Errorf("patched %s: %v", set.Column, err)
				}
			}
			session := gormrepo.Joined(ctx, on.db, on.gorm)
			if session.Commit().Error == nil || session.Rollback().Error == nil || session.Begin().Error == nil {
				t.Error("GORM ended the transaction")
			}
			return nil
		})
		_, err = r.Get(over, 1)
		wantError(t, err, repository.ErrOver)
		wantError(t, r.Create(over, &Article{}), repository.ErrOver)
		_, err = r.Find(over, repository.Query{})
		wantError(t, err, repository.ErrOver)
		if _, err := gormrepo.New[Article, string](on.db, on.gorm); !errors.Is(err, repository.ErrValue) {
			t.Errorf("ids of the wrong type: %v", err)
		}
	})
}
