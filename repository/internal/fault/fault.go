// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package fault tells what an error of a database means. It reads the codes that the database sent,
// whichever driver reports them, and imports no driver.
package fault

import (
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
)

// Class is what an error means to the caller of a transaction.
type Class uint8

// The classes.
const (
	Other Class = iota
	// NotFound: a query that must find a row found none.
	NotFound
	// Conflict: the database gave up the transaction for the sake of another one. It may succeed when
	// it runs again.
	Conflict
	// Locked: a lock was not free in time. The transaction may have waited for long, so running it
	// again is up to the caller.
	Locked
	// Constraint: a constraint of the schema does not allow the change.
	Constraint
	// Lost: the connection is of no use any more.
	Lost
)

// Kind is repository.ConstraintKind.
type Kind string

// The kinds of constraints.
const (
	Unique     Kind = "unique"
	ForeignKey Kind = "foreign key"
	NotNull    Kind = "not null"
	Check      Kind = "check"
	Exclusion  Kind = "exclusion"
	OtherKind  Kind = "other"
)

// Fault is what an error means. The zero value says nothing.
type Fault struct {
	Class Class
	Kind  Kind // of a Constraint
	// Final says that the error proves, as the answer to COMMIT, that nothing was committed.
	Final bool
	// Ended says that the server has ended the transaction already. What is sent on its connection
	// from now on would run outside of it.
	Ended bool
}

// Reader finds out what an error of one family of databases means.
type Reader func(error) Fault

func constraint(kind Kind) Fault {
	if kind == "" {
		kind = OtherKind
	}
	return Fault{Class: Constraint, Kind: kind, Final: true}
}

// unread is what an error means in which no code of the database was found.
func unread(err error) Fault {
	var network net.Error
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return Fault{Class: NotFound}
	case errors.Is(err, driver.ErrBadConn), errors.Is(err, sql.ErrConnDone), errors.Is(err, io.EOF),
		errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &network):
		return Fault{Class: Lost}
	default:
		return Fault{}
	}
}
