// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package dbtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gorm.io/gorm"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/cache/cachetest"
	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
	"github.com/cachewright/cachewright/repository"
)

// cacheArticles runs a Redis that caches articles and notes, and what the database does not have.
func cacheArticles(tb testing.TB) *redistest.Server {
	tb.Helper()
	server := redistest.Start(tb)
	for _, module := range []string{"articles", "notes"} {
		_, err := registry.New(server.Client()).ApplyPolicy(tb.Context(),
			registry.Slot{Namespace: "bank", Module: module},
			registry.Policy{DefaultTTL: new(time.Hour), Operations: []registry.OperationPolicy{
				{Name: "getById", TTL: time.Hour, NegativeTTL: time.Hour},
				{Name: "getBySlug", TTL: time.Hour, NegativeTTL: time.Hour},
			}})
		if err != nil {
			tb.Fatal(err)
		}
	}
	return server
}

// countReads counts the queries of GORM.
func countReads(on *tables) *atomic.Int64 {
	var reads atomic.Int64
	_ = on.gorm.Callback().Query().Before("gorm:query").Register("count", func(*gorm.DB) { reads.Add(1) })
	return &reads
}

func TestACachedRepositoryReadsWhatChangedAlone(t *testing.T) {
	t.Parallel()
	server := cacheArticles(t)
	c := newCache(t, server.Addr())
	on := backends[0].openTables(t, repository.WithCache(c))
	r := cachedArticles(t, on, c)
	reads := countReads(on)
	ctx := t.Context()
	one, two := &Article{Slug: "one", AuthorID: 1}, &Article{Slug: "two", AuthorID: 2}
	if err := r.Create(ctx, one, two); err != nil {
		t.Fatal(err)
	}
	by := func(column string, value any) func() {
		return func() {
			t.Helper()
			must[[]Article](t)(r.Find(ctx, repository.Query{Where: []repository.Cond{repository.Eq(column, value)}}))
		}
	}
	all := map[string]func(){
		"one":   func() { must[Article](t)(r.Get(ctx, one.ID)) },
		"two":   func() { must[map[int64]Article](t)(r.GetMany(ctx, []int64{two.ID})) },
		"none":  func() { _, err := r.Get(ctx, 99); wantError(t, err, repository.ErrNotFound) },
		"old":   by("slug", "one"),
		"new":   by("slug", "uno"),
		"other": by("slug", "two"),
		"1":     by("author_id", 1),
		"2":     by("author_id", 2),
		"3":     by("author_id", 3),
		"all":   func() { must[repository.Page[Article]](t)(r.Page(ctx, repository.Query{}, "")) },
		"count": func() { must[int64](t)(r.Count(ctx)) },
		"has 2": func() { must[bool](t)(r.Exists(ctx, repository.Eq("author_id", 2))) },
	}
	wantRead := func(what string, changed ...string) {
		t.Helper()
		for name, read := range all {
			before := reads.Load()
			read()
			want := int64(0)
			for _, c := range changed {
				if c == name {
					want = 1
				}
			}
			if got := reads.Load() - before; got != want {
				t.Errorf("%s: %s was read %d times, want %d", what, name, got, want)
			}
		}
	}
	for _, read := range all {
		read()
	}
	wantRead("without a change")
	one.Slug, one.AuthorID = "uno", 3
	if err := r.Update(ctx, one); err != nil {
		t.Fatal(err)
	}
	wantRead("after a change", "one", "old", "new", "1", "3", "all", "count")
	err := on.db.InTx(ctx, func(ctx context.Context) error {
		must[Article](t)(r.Patch(ctx, one.ID, repository.Set{Column: "title", Value: "secret"}))
		before := reads.Load()
		if got := must[Article](t)(r.Get(ctx, one.ID)); got.Title != "secret" || reads.Load() == before {
			t.Errorf("a transaction does not see its change: %s", say(got))
		}
		return errOurs
	})
	wantError(t, err, errOurs)
	if got := must[Article](t)(r.Get(ctx, one.ID)); got.Title != "" {
		t.Errorf("what was rolled back is seen: %s", say(got))
	}
	wantRead("after a rollback")
	created := &Article{ID: 99, Slug: "late", AuthorID: 2}
	if err := r.Create(ctx, created); err != nil {
		t.Fatal(err)
	}
	delete(all, "none")
	if got := must[Article](t)(r.Get(ctx, 99)); got.Slug != "late" {
		t.Errorf("got %s", say(got))
	}
	wantRead("after a creation", "2", "has 2", "all", "count")
}

func TestACopyFromTheCacheIsNotWrittenBack(t *testing.T) {
	t.Parallel()
	fake := cachetest.New(cachetest.WithDefaultTTL(time.Hour))
	on := backends[3].openTables(t, repository.WithCache(fake))
	type user struct{}
	r, err := repository.Cached[Note, int64](on.notes, fake, repository.Module("notes"))
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if err := r.Create(ctx, &Note{Owner: "ada", Text: "x"}); err != nil {
		t.Fatal(err)
	}
	copied := must[Note](t)(r.Get(ctx, 1))
	wantError(t, r.Update(ctx, &copied), repository.ErrStaleCopy)
	err = on.db.InTx(ctx, func(ctx context.Context) error {
		_ = on.db.InTx(ctx, func(ctx context.Context) error {
			must[Note](t)(r.GetForUpdate(ctx, 1))
			return errOurs
		}, repository.Savepoint())
		wantError(t, on.db.InTx(ctx, func(ctx context.Context) error { return r.Update(ctx, &copied) }, repository.Savepoint()),
			repository.ErrStaleCopy)
		read := must[Note](t)(r.GetForUpdate(ctx, 1))
		read.Text = "y"
		return r.Update(ctx, &read)
	})
	if err != nil || must[Note](t)(r.Get(ctx, 1)).Text != "y" {
		t.Errorf("not updated: %v", err)
	}

	// a repository of each user has the rows of that user alone
	mine, err := repository.Cached[Note, int64](on.notes, fake, repository.Module("mine"),
		repository.PerUser("owner", func(ctx context.Context) string { s, _ := ctx.Value(user{}).(string); return s }))
	if err != nil {
		t.Fatal(err)
	}
	ada, bob := context.WithValue(ctx, user{}, "ada"), context.WithValue(ctx, user{}, "bob")
	for range 2 {
		must[Note](t)(mine.Get(ada, 1))
		_, err := mine.Get(bob, 1)
		wantError(t, err, repository.ErrNotFound)
		if a, b := must[int64](t)(mine.Count(ada)), must[int64](t)(mine.Count(bob)); a != 1 || b != 0 {
			t.Errorf("ada has %d, bob has %d", a, b)
		}
	}
	wantError(t, mine.Delete(bob, 1), repository.ErrNotFound)
	wantError(t, mine.Create(bob, &Note{Owner: "ada"}), repository.ErrValue)
	_, err = mine.Get(ctx, 1)
	wantError(t, err, repository.ErrValue)
	must[Note](t)(mine.Patch(ada, 1, repository.Set{Column: "text", Value: "z"}))
	if got := must[Note](t)(mine.Get(ada, 1)); got.Text != "z" {
		t.Errorf("ada reads %q", got.Text)
	}

	other := cachetest.New()
	for _, opts := range [][]repository.CachedOption{{}, {repository.Module("notes"), repository.Unique("nothing")}} {
		if _, err := repository.Cached[Note, int64](on.notes, fake, opts...); err == nil {
			t.Error("a Cached without a module, or with an unknown column")
		}
	}
	if _, err := repository.Cached[Note, int64](on.notes, other, repository.Module("notes")); err == nil {
		t.Error("a Cached over another cache than its database's")
	}
	if _, err := repository.Cached[Note, int64](r, fake, repository.Module("notes")); err != nil {
		t.Errorf("a Cached over a Cached: %v", err)
	}
}

// Random calls have the same results with a cache and without.
func TestACacheChangesNoResult(t *testing.T) {
	t.Parallel()
	for _, b := range backends[1:] {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			fake := cachetest.New(cachetest.WithDefaultTTL(time.Hour))
			plain, on := b.openTables(t), b.openTables(t, repository.WithCache(fake))
			seed := rand.Uint64()
			first := randomCalls(t, seed, plain.db, plain.articles)
			second := randomCalls(t, seed, on.db, cachedArticles(t, on, fake))
			for i := range first {
				if first[i] != second[i] {
					t.Fatalf("seed %d, call %d: without a cache %s, with it %s", seed, i, first[i], second[i])
				}
			}
		})
	}
}

// randomCalls returns what each of some calls returned.
func randomCalls(t *testing.T, seed uint64, db *repository.DB, r articles) (said []string) {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 1))
	slug := func() string { return []string{"a", "A", "b", "c", "ä", "d "}[random.IntN(6)] }
	id := func() int64 { return 1 + random.Int64N(8) }
	call := func(ctx context.Context, what int) (string, error) {
		a := Article{ID: id(), Slug: slug(), AuthorID: random.Int64N(3), Rank: random.IntN(4)}
		where := []repository.Cond{repository.Eq("slug", slug())}
		if random.IntN(2) == 0 {
			where = []repository.Cond{repository.Eq("author_id", random.IntN(3)), repository.Ge("rank", random.IntN(3))}
		}
		switch what {
		case 0:
			return "", r.Create(ctx, &a)
		case 1:
			return "", r.Delete(ctx, a.ID)
		case 2:
			got, err := r.Patch(ctx, a.ID, repository.Set{Column: "author_id", Value: a.AuthorID}, repository.Set{Column: "slug", Value: a.Slug})
			return say(got), err
		case 3:
			old, err := r.Get(ctx, a.ID)
			if a.Version = old.Version; err != nil {
				return "", err
			}
			return "", r.Update(ctx, &a)
		case 4, 5:
			got, err := r.Get(ctx, a.ID)
			return say(got), err
		case 6:
			n, err := r.Count(ctx, where...)
			return fmt.Sprint(n), err
		case 7:
			found, err := r.GetMany(ctx, []int64{1, 2, 3, 4, 5, 6, 7, 8})
			return say(found[1], found[2], found[3], found[8]), err
		default:
			rows, err := r.Find(ctx, repository.Query{Where: where})
			return say(rows...), err
		}
	}
	for range 250 {
		var text string
		var err error
		if what := random.IntN(12); random.IntN(5) == 0 {
			fails := random.IntN(2) == 0
			err = db.InTx(t.Context(), func(ctx context.Context) error {
				text, err = call(ctx, what)
				if err == nil && fails {
					return errOurs
				}
				return err
			})
		} else {
			text, err = call(t.Context(), what)
		}
		kind := "fine"
		for _, known := range []error{repository.ErrNotFound, repository.ErrConstraint, repository.ErrStaleCopy, errOurs} {
			if errors.Is(err, known) {
				kind, err = known.Error(), nil
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		said = append(said, kind+" "+text)
	}
	return said
}

// Readers never get less than what was committed before they began.
func TestCachedRepositoriesAreNeverStale(t *testing.T) {
	t.Parallel()
	server := cacheArticles(t)
	for _, b := range backends[1:] {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			c := newCache(t, server.Addr())
			on := b.openTables(t, repository.WithCache(c))
			r, err := repository.Cached[Article, int64](on.articles, c, repository.Module("articles"),
				repository.Unique("slug"), repository.Partition("author_id"))
			if err != nil {
				t.Fatal(err)
			}
			if err := c.InvalidateModule(t.Context(), "articles"); err != nil {
				t.Fatal(err)
			}
			checkStaleness(t, r, c)
		})
	}
}

func checkStaleness(t *testing.T, r articles, _ cache.Cache) {
	t.Helper()
	row := &Article{ID: int64(rand.Uint32()), Slug: "x" + t.Name(), AuthorID: int64(rand.Uint32())}
	if err := r.Create(t.Context(), row); err != nil {
		t.Fatal(err)
	}
	var committed, stop atomic.Int64
	var wg sync.WaitGroup
	var checked atomic.Int64
	reads := []func() (int64, error){
		func() (int64, error) { a, err := r.Get(t.Context(), row.ID); return int64(a.Rank), err },
		func() (int64, error) {
			rows, err := r.Find(t.Context(), repository.Query{Where: []repository.Cond{repository.Eq("slug", row.Slug)}})
			if err != nil || len(rows) != 1 {
				return 0, errors.Join(err, errors.New("no row"))
			}
			return int64(rows[0].Rank), nil
		},
		func() (int64, error) {
			page, err := r.Page(t.Context(), repository.Query{Where: []repository.Cond{repository.Eq("author_id", row.AuthorID)}}, "")
			if err != nil || len(page.Items) != 1 {
				return 0, errors.Join(err, errors.New("no row"))
			}
			return int64(page.Items[0].Rank), nil
		},
	}
	for _, read := range reads {
		wg.Go(func() {
			for stop.Load() == 0 {
				least := committed.Load()
				got, err := read()
				checked.Add(1)
				if err != nil || got < least {
					t.Errorf("read %d after %d was committed: %v", got, least, err)
					return
				}
			}
		})
	}
	for i := range 60 {
		if _, err := r.Patch(t.Context(), row.ID, repository.Set{Column: "rank", Value: i + 1}); err != nil {
			t.Error(err)
			break
		}
		committed.Store(int64(i + 1))
		time.Sleep(2 * time.Millisecond) // lets readers cache it
	}
	stop.Store(1)
	wg.Wait()
	t.Logf("%d reads", checked.Load())
}
