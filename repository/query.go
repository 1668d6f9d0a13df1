// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package repository

import (
	"errors"
	"fmt"
)

// Bounds of what one call may ask for.
const (
	// MaxRows is how many rows or ids one call may have, and values an In.
	MaxRows = 1000
	// MaxPage is how many rows one Page may have.
	MaxPage = 500
	// MaxOffset bounds Query.Offset. Beyond it, use Page.
	MaxOffset = 100_000
	// MaxConds is how many conditions a query may have.
	MaxConds = 32
	// MaxOrder is how many columns may order it.
	MaxOrder = 8
)

// Errors of calls that are not valid. Nothing was executed.
var (
	// ErrColumn: T has no such column, or it cannot be used so.
	ErrColumn = errors.New("no such column, or it cannot be used like this")
	// ErrOperator: a condition has an operator that is none of those of this package.
	ErrOperator = errors.New("no such operator")
	// ErrValue: a value is not of the type of its column, or out of its bounds.
	ErrValue = errors.New("the value does not fit")
	// ErrNil: a row is nil, or there is none.
	ErrNil = errors.New("a row is nil or missing")
	// ErrTooMany: the call has or wants more than a bound allows.
	ErrTooMany = errors.New("too many")
	// ErrCursor: the cursor is not one of this query.
	ErrCursor = errors.New("the cursor is not one of this query")
	// ErrStaleCopy: the row may have changed since it was read. Read it again, and without a version
	// column, with GetForUpdate in the same transaction.
	ErrStaleCopy = errors.New("the row may have changed since it was read; read it again")
)

// Op is an operator.
type Op string

// The operators.
const (
	OpEq      Op = "="
	OpNe      Op = "<>"
	OpLt      Op = "<"
	OpLe      Op = "<="
	OpGt      Op = ">"
	OpGe      Op = ">="
	OpIn      Op = "IN"       // the value is an []any of at most MaxRows
	OpNull    Op = "IS NULL"  // without a value
	OpNotNull Op = "NOT NULL" // without a value
)

// Cond is a condition for one column. A value is never nil: see IsNull.
type Cond struct {
	Column string
	Op     Op
	Value  any
}

// Eq is true for rows that have the value in the column.
func Eq(column string, value any) Cond { return Cond{column, OpEq, value} }

// Ne is true for rows that have another value in the column.
func Ne(column string, value any) Cond { return Cond{column, OpNe, value} }

// Lt is true for rows that have less in the column.
func Lt(column string, value any) Cond { return Cond{column, OpLt, value} }

// Le is true for rows that have at most the value in the column.
func Le(column string, value any) Cond { return Cond{column, OpLe, value} }

// Gt is true for rows that have more in the column.
func Gt(column string, value any) Cond { return Cond{column, OpGt, value} }

// Ge is true for rows that have at least the value in the column.
func Ge(column string, value any) Cond { return Cond{column, OpGe, value} }

// In is true for rows that have one of the values in the column.
func In(column string, values ...any) Cond { return Cond{column, OpIn, values} }

// IsNull is true for rows that have nothing in the column.
func IsNull(column string) Cond { return Cond{Column: column, Op: OpNull} }

// IsNotNull is true for rows that have something in the column.
func IsNotNull(column string) Cond { return Cond{Column: column, Op: OpNotNull} }

// Order sorts by a column.
type Order struct {
	Column string
	Desc   bool
}

// Query names rows: those that fulfil all conditions, in an order. The primary key decides between
// rows that are equal in it.
type Query struct {
	Where  []Cond
	Order  []Order
	Limit  int // 0 to MaxRows
	Offset int // 0 to MaxOffset. Page and Each take 0 only
}

// Set sets a column.
type Set struct {
	Column string
	Value  any // nil for NULL
}

// Cursor is a place between two pages of a query. It shows values of the last row.
type Cursor string

// Page is a part of what a query names.
type Page[T any] struct {
	Items []T    `json:"items"`
	Next  Cursor `json:"next"` // empty after the last page
}

// CheckBounds returns why a query is not valid, whatever the columns are. Implementations of
// Repository call it first.
func (q Query) CheckBounds() error {
	switch {
	case q.Limit < 0 || q.Limit > MaxRows:
		return fmt.Errorf("%w: a limit is 0 to %d, not %d", ErrTooMany, MaxRows, q.Limit)
	case q.Offset < 0 || q.Offset > MaxOffset:
		return fmt.Errorf("%w: an offset is 0 to %d, not %d", ErrTooMany, MaxOffset, q.Offset)
	case len(q.Order) > MaxOrder:
		return fmt.Errorf("%w: a query has at most %d orders", ErrTooMany, MaxOrder)
	case len(q.Where) > MaxConds:
		return fmt.Errorf("%w: a query has at most %d conditions", ErrTooMany, MaxConds)
	}
	for _, c := range q.Where {
		if err := c.check(); err != nil {
			return err
		}
	}
	return nil
}

func (c Cond) check() error {
	switch c.Op {
	case OpEq, OpNe, OpLt, OpLe, OpGt, OpGe:
		if c.Value == nil {
			return fmt.Errorf("%w: nil for column %q; use IsNull", ErrValue, c.Column)
		}
	case OpIn:
		values, ok := c.Value.([]any)
		switch {
		case !ok:
			return fmt.Errorf("%w: In of column %q takes an []any", ErrValue, c.Column)
		case len(values) > MaxRows:
			return fmt.Errorf("%w: In takes at most %d values", ErrTooMany, MaxRows)
		}
	case OpNull, OpNotNull:
		if c.Value != nil {
			return fmt.Errorf("%w: %s of column %q takes none", ErrValue, c.Op, c.Column)
		}
	default:
		return fmt.Errorf("%w: of column %q; use those of package repository", ErrOperator, c.Column)
	}
	return nil
}
