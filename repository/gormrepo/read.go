// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package gormrepo

import (
	"context"
	"fmt"
	"iter"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/cachewright/cachewright/repository"
)

// Get implements repository.Repository.
func (r *Repo[T, ID]) Get(ctx context.Context, id ID) (T, error) {
	return r.one("Get", r.rows(ctx), id)
}

// one returns the row that a statement finds.
func (r *Repo[T, ID]) one(what string, statement *gorm.DB, id ID) (T, error) {
	var rows []T
	err := statement.Where(r.where(id)).Limit(1).Find(&rows).Error
	if err == nil && len(rows) == 0 {
		err = repository.ErrNotFound
	}
	if err != nil {
		var none T
		return none, r.typed(what, err)
	}
	return rows[0], nil
}

// GetMany implements repository.Repository.
func (r *Repo[T, ID]) GetMany(ctx context.Context, ids []ID) (map[ID]T, error) {
	if len(ids) > repository.MaxRows {
		return nil, r.typed("GetMany", fmt.Errorf("%w: %d ids, at most %d",
			repository.ErrTooMany, len(ids), repository.MaxRows))
	}
	found := make(map[ID]T, len(ids))
	if len(ids) == 0 {
		return found, nil
	}
	values := make([]any, len(ids))
	for i, id := range ids {
		values[i] = id
	}
	var rows []T
	err := r.rows(ctx).Where(clause.IN{Column: columnOf(r.key), Values: values}).Find(&rows).Error
	for i := range rows {
		found[r.IDOf(&rows[i])] = rows[i]
	}
	return found, r.typed("GetMany", err)
}

// GetForUpdate implements repository.Repository.
func (r *Repo[T, ID]) GetForUpdate(ctx context.Context, id ID) (T, error) {
	statement, err := r.locking(ctx)
	if err != nil {
		var none T
		return none, r.typed("GetForUpdate", err)
	}
	return r.one("GetForUpdate", statement, id)
}

// locking begins a statement that locks what it reads.
func (r *Repo[T, ID]) locking(ctx context.Context) (*gorm.DB, error) {
	statement := r.rows(ctx)
	if _, joined := statement.Statement.ConnPool.(*pool); !joined {
		return nil, fmt.Errorf("%w: rows are locked in InTx only", repository.ErrNoTransaction)
	}
	return statement.Clauses(clause.Locking{Strength: clause.LockingStrengthUpdate}), nil
}

// Lock implements repository.Source.
func (r *Repo[T, ID]) Lock(ctx context.Context, w ...repository.Cond) ([]T, error) {
	statement, err := r.locking(ctx)
	if err != nil {
		return nil, r.typed("Lock", err)
	}
	where, err := r.conditions(w)
	if err != nil {
		return nil, err
	}
	return r.bounded("Lock", statement.Clauses(clause.Where{Exprs: where}), 0)
}

// Find implements repository.Repository.
func (r *Repo[T, ID]) Find(ctx context.Context, q repository.Query) ([]T, error) {
	statement, err := r.query(ctx, q)
	if err != nil {
		return nil, r.typed("Find", err)
	}
	if q.Offset > 0 {
		statement = statement.Offset(q.Offset)
	}
	return r.bounded("Find", statement, q.Limit)
}

// bounded reads rows, and refuses to read more than there may be if there is no limit.
func (r *Repo[T, ID]) bounded(what string, statement *gorm.DB, limit int) ([]T, error) {
	most := limit
	if limit == 0 {
		most = repository.MaxRows + 1
	}
	rows := []T{}
	err := statement.Limit(most).Find(&rows).Error
	if err == nil && len(rows) > repository.MaxRows {
		err = fmt.Errorf("%w: more than %d rows; use Page or Each",
			repository.ErrTooMany, repository.MaxRows)
	}
	if err != nil {
		return nil, r.typed(what, err)
	}
	return rows, nil
}

// query begins the statement of a query, with its conditions and its order.
func (r *Repo[T, ID]) query(ctx context.Context, q repository.Query) (*gorm.DB, error) {
	if err := q.CheckBounds(); err != nil {
		return nil, err
	}
	where, err := r.conditions(q.Where)
	if err != nil {
		return nil, err
	}
	order, err := r.order(q.Order)
	if err != nil {
		return nil, err
	}
	statement := r.rows(ctx)
	if len(where) > 0 {
		statement = statement.Clauses(clause.Where{Exprs: where})
	}
	for _, by := range order {
		statement = statement.Order(clause.OrderByColumn{Column: columnOf(by.field), Desc: by.desc})
	}
	return statement, nil
}

// Page implements repository.Repository.
func (r *Repo[T, ID]) Page(
	ctx context.Context, q repository.Query, after repository.Cursor,
) (repository.Page[T], error) {
	if q.Limit == 0 {
		q.Limit = repository.MaxPage
	}
	rows, next, err := r.page(ctx, q, after)
	if err != nil {
		return repository.Page[T]{}, r.typed("Page", err)
	}
	return repository.Page[T]{Items: rows, Next: next}, nil
}

func (r *Repo[T, ID]) page(
	ctx context.Context, q repository.Query, after repository.Cursor,
) ([]T, repository.Cursor, error) {
	if q.Limit > repository.MaxPage || q.Offset != 0 {
		return nil, "", fmt.Errorf("%w: a page has at most %d rows, and no offset",
			repository.ErrTooMany, repository.MaxPage)
	}
	statement, err := r.query(ctx, q)
	if err != nil {
		return nil, "", err
	}
	keyset, err := r.keyset(q)
	if err != nil {
		return nil, "", err
	}
	if after != "" {
		beyond, err := keyset.beyond(after)
		if err != nil {
			return nil, "", err
		}
		statement = statement.Clauses(clause.Where{Exprs: []clause.Expression{beyond}})
	}
	rows := []T{}
	if err := statement.Limit(q.Limit + 1).Find(&rows).Error; err != nil {
		return nil, "", err
	}
	if len(rows) <= q.Limit {
		return rows, "", nil
	}
	rows = rows[:q.Limit]
	next, err := keyset.cursor(&rows[q.Limit-1])
	return rows, next, err
}

// Each implements repository.Repository.
func (r *Repo[T, ID]) Each(ctx context.Context, q repository.Query) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		if err := q.CheckBounds(); err != nil {
			var none T
			yield(none, r.typed("Each", err))
			return
		}
		r.eachOf(ctx, q, yield)
	}
}

// eachOf reads page by page.
func (r *Repo[T, ID]) eachOf(
	ctx context.Context, q repository.Query, yield func(T, error) bool,
) {
	left := q.Limit
	q.Limit = repository.MaxPage
	var after repository.Cursor
	for {
		if left > 0 {
			q.Limit = min(left, repository.MaxPage)
		}
		page, err := r.Page(ctx, q, after)
		if err != nil {
			var none T
			yield(none, err)
			return
		}
		for i := range page.Items {
			if !yield(page.Items[i], nil) {
				return
			}
		}
		after = page.Next
		if left -= len(page.Items); after == "" || left == 0 {
			return
		}
	}
}

// Count implements repository.Repository.
func (r *Repo[T, ID]) Count(ctx context.Context, w ...repository.Cond) (count int64, err error) {
	statement, err := r.query(ctx, repository.Query{Where: w})
	if err == nil {
		delete(statement.Statement.Clauses, "ORDER BY")
		err = statement.Count(&count).Error
	}
	return count, r.typed("Count", err)
}

// Exists implements repository.Repository.
func (r *Repo[T, ID]) Exists(ctx context.Context, w ...repository.Cond) (bool, error) {
	statement, err := r.query(ctx, repository.Query{Where: w})
	var found []int
	if err == nil {
		err = statement.Select("1").Limit(1).Find(&found).Error
	}
	return len(found) > 0, r.typed("Exists", err)
}
