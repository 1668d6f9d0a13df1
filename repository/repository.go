// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package repository

import (
	"context"
	"iter"
)

// Repository reads and writes the rows of one table as values of T, which ID identifies. Package
// gormrepo has one over GORM, and Cached puts a cache before it. It is safe for concurrent use.
//
// With a context of InTx, each method works in that transaction, and returns ErrOver after its end.
// Conditions name columns of the table, and values have the types of their columns. Anything else
// is an error, and nothing is executed: ErrColumn, ErrOperator, ErrValue, ErrNil, ErrTooMany,
// ErrCursor.
type Repository[T any, ID comparable] interface {
	// Get returns a row, or ErrNotFound.
	Get(ctx context.Context, id ID) (T, error)
	// GetMany returns the rows of at most MaxRows ids. Those that do not exist are left out.
	GetMany(ctx context.Context, ids []ID) (map[ID]T, error)
	// GetForUpdate returns a row, and locks it until the transaction ends. Outside of one it returns
	// ErrNoTransaction.
	GetForUpdate(ctx context.Context, id ID) (T, error)
	// Find returns what a query names. ErrTooMany: the query has no Limit, and there are more than
	// MaxRows. Use Page or Each.
	Find(ctx context.Context, q Query) ([]T, error)
	// Page returns the page of at most q.Limit rows that follows a cursor: the first one for "".
	// Default MaxPage, which is also the bound.
	Page(ctx context.Context, q Query, after Cursor) (Page[T], error)
	// Each reads all that a query names, page by page. So it is not a snapshot, unless the
	// transaction gives one. The loop may use the database. An error ends it.
	Each(ctx context.Context, q Query) iter.Seq2[T, error]
	// Count returns how many rows fulfil all conditions.
	Count(ctx context.Context, w ...Cond) (int64, error)
	// Exists says whether a row fulfils all conditions.
	Exists(ctx context.Context, w ...Cond) (bool, error)
	// Create inserts rows, at most MaxRows: all or none. It sets what the database generates.
	Create(ctx context.Context, v ...*T) error
	// Update writes all columns of a row. It returns ErrNotFound if there is none, and ErrStaleCopy if
	// its version is not that of v.
	Update(ctx context.Context, v *T) error
	// Patch sets some columns of a row, and returns the row after that.
	Patch(ctx context.Context, id ID, set ...Set) (T, error)
	// Upsert updates the row whose columns are equal to those of v, or creates it. A unique index must
	// cover the columns. Default: the primary key. It does not check the version.
	Upsert(ctx context.Context, v *T, on ...string) error
	// Delete deletes a row, or marks it as deleted where T has a column for that.
	Delete(ctx context.Context, id ID) error
}

// Source is a Repository that Cached can stand before. Its conditions must be exact: no two values
// that differ may be equal to the database, such as "a" and "A".
type Source[T any, ID comparable] interface {
	Repository[T, ID]

	// DB returns the database.
	DB() *DB
	// Key is the column of the primary key.
	Key() string
	// IDOf returns what identifies a row.
	IDOf(v *T) ID
	// Versioned says whether Update checks a version.
	Versioned() bool
	// Value returns what a row has in a column, as Convert does. A NULL is nil.
	Value(v *T, column string) (any, error)
	// Convert returns a value as one of a column's type, in the form in which the database gets it.
	// ErrColumn, ErrValue: there is no such column, or the value is not of its type.
	Convert(column string, value any) (any, error)
	// Lock returns the rows that fulfil all conditions, locked until the transaction ends.
	Lock(ctx context.Context, w ...Cond) ([]T, error)
}
