// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package dialect has what databases do differently around a transaction.
package dialect

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"time"

	"github.com/cachewright/cachewright/repository/internal/fault"
	"github.com/cachewright/cachewright/repository/internal/settle"
)

// Dialect is one family of databases. Its methods are safe for concurrent use.
type Dialect interface {
	// Fault says what an error means.
	Fault(err error) fault.Fault
	// Learn finds out once what the server can. It is called before transactions, on their connection.
	Learn(ctx context.Context, conn *sql.Conn) error
	// Prepare sends the last statement before COMMIT. If idle is more than 0, the server ends the
	// transaction if COMMIT does not come in that time. An error says that the transaction failed.
	Prepare(ctx context.Context, tx *sql.Tx, idle time.Duration) (Ticket, error)
	// Restore makes the connection of an ended transaction what it was before. An error says that it
	// must not be used again.
	Restore(ctx context.Context, conn *sql.Conn, ticket Ticket) error
	// Ask asks what became of a transaction. Nil: the database cannot tell.
	Ask() func(ctx context.Context, pool *sql.DB, ticket Ticket) (settle.Outcome, error)
	// Identity says which database it is, and how far it has come.
	Identity(ctx context.Context, conn *sql.Conn) (Identity, error)
}

// Ticket is what identifies a transaction after its connection is lost.
type Ticket struct {
	// Bounded says that the connection has a limit that must be taken back.
	Bounded bool
	// Refused says that COMMIT failed, and may have left the transaction open.
	Refused bool
	// ID of the transaction in the database. 0: it has changed nothing.
	ID int64
	// Server is the life of the server that ran it.
	Server string
}

var errRefused = errors.New("COMMIT failed on the connection")

// discardRefused has a connection closed if nobody knows what COMMIT left on it.
func discardRefused(ticket Ticket) error {
	if ticket.Refused {
		return errRefused
	}
	return nil
}

// Identity is one state of a database. Fields that the database does not tell are zero.
type Identity struct {
	// System identifies the database. Copies have the same.
	System string
	// Timeline is the number of the history: a failover and a restore to an earlier time begin one.
	Timeline int64
	// Position in the history, which never falls.
	Position int64
}

// IsOlderThan says whether a database that was seen before may have lost what it had then. The zero
// value was not seen.
func (i Identity) IsOlderThan(seen Identity) bool {
	return seen != Identity{} &&
		(i.System != seen.System || i.Timeline != seen.Timeline || i.Position < seen.Position)
}

// Savepoints have the same statements in all dialects.
const (
	savepoint = "SAVEPOINT "
	release   = "RELEASE SAVEPOINT "
	backTo    = "ROLLBACK TO SAVEPOINT "
)

// Savepoint is one inside of a transaction.
type Savepoint struct {
	tx   *sql.Tx
	name string
}

// Save makes the savepoint of a number, unique in its transaction.
func Save(ctx context.Context, tx *sql.Tx, number int) (Savepoint, error) {
	s := Savepoint{tx: tx, name: "cachewright_" + strconv.Itoa(number)}
	_, err := tx.ExecContext(ctx, savepoint+s.name)
	return s, err
}

// Release ends a savepoint. What was done since becomes part of what is around it.
func (s Savepoint) Release(ctx context.Context) error {
	_, err := s.tx.ExecContext(ctx, release+s.name)
	return err
}

// Back undoes what was done since a savepoint, and ends it.
func (s Savepoint) Back(ctx context.Context) error {
	if _, err := s.tx.ExecContext(ctx, backTo+s.name); err != nil {
		return err
	}
	return s.Release(ctx)
}
