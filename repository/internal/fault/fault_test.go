// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/cachewright/cachewright/cache"
)

// Errors as drivers have them.
type (
	stateError string   // lib/pq, pgx
	MySQLError struct { // go-sql-driver/mysql
		Number  uint16
		Message string
	}
	codeError int // modernc.org/sqlite
	errNo     int
	Error     struct { // mattn/go-sqlite3
		Code         errNo
		ExtendedCode errNo
	}
)

func (e stateError) Error() string    { return string(e) }
func (e stateError) SQLState() string { return string(e) }
func (e *MySQLError) Error() string   { return e.Message }
func (e codeError) Error() string     { return "code" }
func (e codeError) Code() int         { return int(e) }
func (e Error) Error() string         { return "code" }

func TestCodesOfErrors(t *testing.T) {
	t.Parallel()
	rows := []struct {
		read Reader
		err  error
		want Fault
	}{
		{Postgres, stateError("40001"), Fault{Class: Conflict, Final: true}},
		{Postgres, stateError("40P01"), Fault{Class: Conflict, Final: true}},
		{Postgres, stateError("40003"), Fault{Class: Lost}},
		{Postgres, stateError("55P03"), Fault{Class: Locked, Final: true}},
		{Postgres, stateError("23P01"), Fault{Class: Constraint, Kind: Exclusion, Final: true}},
		{Postgres, stateError("23001"), Fault{Class: Constraint, Kind: OtherKind, Final: true}},
		{Postgres, stateError("25P02"), Fault{Final: true}},
		{Postgres, stateError("25P03"), Fault{Class: Lost, Final: true}},
		{Postgres, stateError("57014"), Fault{Final: true}},
		{Postgres, stateError("57P01"), Fault{Class: Lost}},
		{Postgres, stateError("08006"), Fault{Class: Lost}},
		{Postgres, stateError("53100"), Fault{}},
		{Postgres, stateError("58030"), Fault{}},
		{Postgres, stateError("XX000"), Fault{}},
		{Postgres, stateError(""), Fault{}},
		{Postgres, codeError(5), Fault{}},
		{MySQL, &MySQLError{Number: 1213}, Fault{Class: Conflict, Final: true, Ended: true}},
		{MySQL, &MySQLError{Number: 1205}, Fault{Class: Locked, Final: true}},
		{MySQL, &MySQLError{Number: 1062}, Fault{Class: Constraint, Kind: Unique, Final: true}},
		{MySQL, &MySQLError{Number: 4025}, Fault{Class: Constraint, Kind: Check, Final: true}},
		{MySQL, &MySQLError{Number: 1927}, Fault{Class: Lost}},
		{MySQL, &MySQLError{Number: 1180}, Fault{}},
		{MySQL, (*MySQLError)(nil), Fault{}},
		{MySQL, stateError("40001"), Fault{}},
		{SQLite, codeError(5), Fault{Class: Conflict, Final: true}},
		{SQLite, codeError(517), Fault{Class: Conflict, Final: true}},
		{SQLite, codeError(2067), Fault{Class: Constraint, Kind: Unique, Final: true}},
		{SQLite, codeError(1811), Fault{Class: Constraint, Kind: OtherKind, Final: true}},
		{SQLite, codeError(13), Fault{Final: true, Ended: true}},
		{SQLite, codeError(10), Fault{Ended: true}},
		{SQLite, codeError(1), Fault{}},
		{SQLite, Error{Code: 19, ExtendedCode: 1555}, Fault{Class: Constraint, Kind: Unique, Final: true}},
		{SQLite, Error{Code: 5, ExtendedCode: 5}, Fault{Class: Conflict, Final: true}},
		{SQLite, context.DeadlineExceeded, Fault{Ended: true}},
		{Postgres, context.DeadlineExceeded, Fault{Class: Lost}},
		{MySQL, sql.ErrNoRows, Fault{Class: NotFound}},
		{SQLite, driver.ErrBadConn, Fault{Class: Lost}},
		{MySQL, io.ErrUnexpectedEOF, Fault{Class: Lost}},
		{Postgres, &net.OpError{Err: errors.New("reset")}, Fault{Class: Lost}},
		{MySQL, errors.New("any"), Fault{}},
	}
	for _, row := range rows {
		for _, err := range []error{row.err, fmt.Errorf("wrapped: %w", row.err), errors.Join(errors.New("other"), row.err)} {
			if got := row.read(err); got != row.want {
				t.Errorf("%T %v: got %+v, want %+v", row.err, err, got, row.want)
			}
		}
	}
}

func TestErrorsAreTypedOnce(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]error{
		sql.ErrNoRows: cache.ErrNotFound, stateError("40001"): ErrConflict, stateError("55P03"): ErrConflict,
		stateError("23505"): ErrConstraint,
	} {
		typed := Typed(err, Postgres)
		if !errors.Is(typed, want) || !errors.Is(typed, err) || !errors.Is(Typed(typed, Postgres), want) ||
			Typed(typed, Postgres).Error() != typed.Error() {
			t.Errorf("%v became %v", err, typed)
		}
	}
	if Typed(nil, Postgres) != nil || Typed(io.EOF, Postgres).Error() != io.EOF.Error() {
		t.Error("what has no type was changed")
	}
}
