// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package dbtest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"gorm.io/gorm"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/repository"
	"github.com/cachewright/cachewright/repository/gormrepo"
)

// Item is a row of a run. Each committed change raises its version. Rows 1 to 8 change. They belong
// to authors 1 to 3, and swap slugs. The row 10 + n counts the changes of what author n has. Nobody
// touches it, so that a list must be dead for its rows alone.
type Item struct {
	ID       int64  `json:"id"`
	Slug     string `gorm:"size:40;uniqueIndex" json:"slug"`
	AuthorID int64  `json:"authorID"`
	Version  int64  `json:"version"`
}

const (
	rows     = 8
	authors  = 3
	lastItem = counter + authors
	counter  = 10
)

const itemModule = "items"

// slugOf is the slug that a row has at first. It stays that of one of the rows.
func slugOf(id int64) string { return fmt.Sprintf("slug-%d", id) }

// items are the rows, as one client sees them.
type items struct {
	backend

	pool *sql.DB
	db   *repository.DB
	rows repository.Repository[Item, int64]

	queries atomic.Int64
	reads   atomic.Bool // it reads: some loads are slow, so that commits overtake them
}

// openItems opens the rows of a database that has them, with a cache before them.
func openItems(b backend, dsn string, c repository.Cache, opts ...repository.Option) (*items, error) {
	pool, err := sql.Open(b.driver, dsn)
	if err != nil {
		return nil, err
	}
	pool.SetMaxOpenConns(20)
	g, err := b.gormOver(pool)
	if err != nil {
		return nil, err
	}
	i := &items{backend: b, pool: pool}
	slow := func(*gorm.DB) {
		i.queries.Add(1)
		if i.reads.Load() && rand.IntN(6) == 0 {
			time.Sleep(rand.N(40 * time.Millisecond))
		}
	}
	if err := g.Callback().Query().After("gorm:query").Register("slow", slow); err != nil {
		return nil, err
	}
	if i.db, err = repository.Open(pool, b.dialect, append(opts, repository.WithCache(c), repository.WithHold(holdOfWriter))...); err != nil {
		return nil, err
	}
	plain, err := gormrepo.New[Item, int64](i.db, g)
	if err != nil {
		return nil, err
	}
	i.rows, err = repository.Cached[Item, int64](plain, c, repository.Module(itemModule),
		repository.Unique("slug"), repository.Partition("author_id"))
	return i, err
}

func (i *items) close() { _ = i.pool.Close() }

// writing is one transaction that changes rows.
type writing struct {
	*items

	changed []change
}

// patch changes a row, and counts that for its authors.
func (w *writing) patch(ctx context.Context, id int64, set ...repository.Set) (Item, error) {
	old, err := w.rows.GetForUpdate(ctx, id)
	if err != nil {
		return old, err
	}
	patched, err := w.rows.Patch(ctx, id, append(set, repository.Set{Column: "version", Value: old.Version + 1})...)
	if err != nil {
		return old, err
	}
	w.changed = append(w.changed, change{id, patched.Version})
	if err := w.count(ctx, old.AuthorID); err != nil || patched.AuthorID == old.AuthorID {
		return old, err
	}
	return old, w.count(ctx, patched.AuthorID)
}

// count counts a change of what an author has.
func (w *writing) count(ctx context.Context, author int64) error {
	return w.raise(ctx, "id = ?", counter+author)
}

// raise raises the versions of rows by a statement that the cache does not see.
func (w *writing) raise(ctx context.Context, where string, arg int64) error {
	q := w.db.Querier(ctx)
	if _, err := q.ExecContext(ctx, w.sql("UPDATE items SET version = version + 1 WHERE "+where), arg); err != nil {
		return err
	}
	found, err := q.QueryContext(ctx, w.sql("SELECT id, version FROM items WHERE "+where), arg)
	if err != nil {
		return err
	}
	defer found.Close()
	for found.Next() {
		var c change
		if err := found.Scan(&c.ID, &c.Version); err != nil {
			return err
		}
		w.changed = append(w.changed, c)
	}
	return found.Err()
}

func anyRow() int64 { return 1 + rand.Int64N(rows) }

// move gives a row to an author, mostly another one.
func (w *writing) move(ctx context.Context) error {
	_, err := w.patch(ctx, anyRow(), repository.Set{Column: "author_id", Value: 1 + rand.Int64N(authors)})
	return err
}

// swap swaps the slugs of two rows. Two of them may meet in a deadlock.
func (w *writing) swap(ctx context.Context) error {
	one, other := anyRow(), anyRow()
	if one == other {
		return nil
	}
	first, err := w.patch(ctx, one, repository.Set{Column: "slug", Value: fmt.Sprintf("free-%d", one)})
	if err != nil {
		return err
	}
	second, err := w.patch(ctx, other, repository.Set{Column: "slug", Value: first.Slug})
	if err != nil {
		return err
	}
	_, err = w.rows.Patch(ctx, one, repository.Set{Column: "slug", Value: second.Slug})
	return err
}

// bulk changes all rows of an author at once, which the cache knows as the module.
func (w *writing) bulk(ctx context.Context) error {
	author := 1 + rand.Int64N(authors)
	if err := w.raise(ctx, "author_id = ?", author); err != nil {
		return err
	}
	return repository.Touch(ctx, cache.Scope{Module: itemModule})
}

// undoInner changes a row, and another one in a savepoint that is undone.
func (w *writing) undoInner(ctx context.Context) error {
	if _, err := w.patch(ctx, anyRow()); err != nil {
		return err
	}
	kept := len(w.changed)
	err := w.db.InTx(ctx, func(ctx context.Context) error {
		if _, err := w.patch(ctx, anyRow()); err != nil {
			return err
		}
		return errOurs
	}, repository.Savepoint())
	w.changed = w.changed[:kept]
	if errors.Is(err, errOurs) {
		return nil
	}
	return err
}

func (w *writing) undo(ctx context.Context) error {
	_, err := w.patch(ctx, anyRow())
	return errors.Join(err, errOurs)
}

func (w *writing) upsert(ctx context.Context) error {
	row, err := w.rows.GetForUpdate(ctx, anyRow())
	if err != nil {
		return err
	}
	row.Version++
	if err := w.rows.Upsert(ctx, &row); err != nil {
		return err
	}
	w.changed = append(w.changed, change{row.ID, row.Version})
	return w.count(ctx, row.AuthorID)
}

// write makes one transaction of some kind. It returns what the last attempt changed.
func (i *items) write(ctx context.Context, opts ...repository.TxOption) ([]change, error) {
	w := &writing{items: i}
	kinds := []func(context.Context) error{
		func(ctx context.Context) error { _, err := w.patch(ctx, anyRow()); return err },
		w.move, w.move, w.swap, w.swap, w.bulk, w.undoInner, w.undo, w.upsert,
	}
	kind := kinds[rand.IntN(len(kinds))]
	if i.dialect == repository.Postgres && rand.IntN(4) == 0 {
		opts = append(opts, repository.Isolation(sql.LevelSerializable))
	}
	err := i.db.InTx(ctx, func(ctx context.Context) error {
		w.changed = nil
		return kind(ctx)
	}, opts...)
	return w.changed, err
}

// read makes one read of some kind, and checks it.
func (i *items) read(ctx context.Context, l *ledger) error {
	floors := l.floors()
	check := func(rows ...Item) { l.check(rows, &floors) }
	switch rand.IntN(6) {
	case 0, 1:
		row, err := i.rows.Get(ctx, anyRow())
		if err != nil {
			return err
		}
		check(row)
	case 2:
		found, err := i.rows.GetMany(ctx, []int64{anyRow(), anyRow(), anyRow()})
		if err != nil {
			return err
		}
		check(slices.Collect(maps.Values(found))...)
	case 3:
		slug := slugOf(anyRow())
		found, err := i.rows.Find(ctx, repository.Query{Where: []repository.Cond{repository.Eq("slug", slug)}})
		if err != nil {
			return err
		}
		if len(found) != 1 || found[0].Slug != slug {
			l.refuse("%s found %d rows: %+v", slug, len(found), found)
		}
		check(found...)
	case 4:
		author := 1 + rand.Int64N(authors)
		page, err := i.rows.Page(ctx, repository.Query{Where: []repository.Cond{repository.Eq("author_id", author)}}, "")
		if err != nil {
			return err
		}
		if !hasCounter(page.Items, author) {
			l.refuse("the list of author %d has no row %d", author, counter+author)
		}
		check(page.Items...)
	default:
		all, err := i.rows.Find(ctx, repository.Query{})
		if err != nil {
			return err
		}
		if len(all) != rows+authors {
			l.refuse("the list of all has %d rows", len(all))
		}
		check(all...)
	}
	return nil
}

// hasCounter says whether a list has the row that counts the changes of its author.
func hasCounter(list []Item, author int64) bool {
	for _, row := range list {
		if row.ID == counter+author {
			return true
		}
	}
	return false
}
