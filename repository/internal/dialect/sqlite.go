// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package dialect

import (
	"context"
	"database/sql"
	"time"

	"github.com/cachewright/cachewright/repository/internal/fault"
	"github.com/cachewright/cachewright/repository/internal/settle"
)

// sqlite is SQLite, which runs in the process: there is no server that could outlive it.
type sqlite struct{}

// SQLite returns the dialect of SQLite.
func SQLite() Dialect { return sqlite{} }

// Fault implements Dialect.
func (sqlite) Fault(err error) fault.Fault { return fault.SQLite(err) }

// Learn implements Dialect.
func (sqlite) Learn(context.Context, *sql.Conn) error { return nil }

// Prepare implements Dialect.
func (sqlite) Prepare(context.Context, *sql.Tx, time.Duration) (Ticket, error) {
	return Ticket{}, nil
}

// Restore ends a transaction that a refused COMMIT left open.
func (sqlite) Restore(ctx context.Context, conn *sql.Conn, ticket Ticket) error {
	if ticket.Refused {
		_, _ = conn.ExecContext(ctx, "ROLLBACK") // fails if none is open
	}
	return nil
}

// Ask implements Dialect.
func (sqlite) Ask() func(context.Context, *sql.DB, Ticket) (settle.Outcome, error) { return nil }

// Identity implements Dialect.
func (sqlite) Identity(context.Context, *sql.Conn) (Identity, error) { return Identity{}, nil }
