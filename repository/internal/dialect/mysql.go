// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package dialect

import (
	"context"
	"database/sql"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cachewright/cachewright/repository/internal/fault"
	"github.com/cachewright/cachewright/repository/internal/settle"
)

// The limit of MariaDB is one of the session, in seconds. MySQL has none.
const (
	knowsLimitSQL = "SHOW SESSION VARIABLES LIKE 'idle_transaction_timeout'"
	limitSQL      = "SET @cachewright_idle = @@SESSION.idle_transaction_timeout, " +
		"SESSION idle_transaction_timeout = %d"
	unlimitSQL = "SET SESSION idle_transaction_timeout = @cachewright_idle"
	// serverSQL finds the UUID that only MySQL has.
	serverSQL = "SHOW GLOBAL VARIABLES LIKE 'server_uuid'"
)

// mysql is MySQL or MariaDB.
type mysql struct {
	limits atomic.Pointer[bool] // whether it has the limit; nil: not known yet
}

// MySQL returns the dialect of one MySQL or MariaDB.
func MySQL() Dialect { return &mysql{} }

// Fault implements Dialect.
func (*mysql) Fault(err error) fault.Fault { return fault.MySQL(err) }

// Learn finds out whether the server is a MariaDB.
func (m *mysql) Learn(ctx context.Context, conn *sql.Conn) error {
	if m.limits.Load() != nil {
		return nil
	}
	_, found, err := variable(ctx, conn, knowsLimitSQL)
	if err == nil {
		m.limits.Store(&found)
	}
	return err
}

// Prepare implements Dialect.
func (m *mysql) Prepare(ctx context.Context, tx *sql.Tx, idle time.Duration) (Ticket, error) {
	seconds := int(idle / time.Second)
	if seconds == 0 || !*m.limits.Load() {
		return Ticket{}, nil
	}
	_, err := tx.ExecContext(ctx, fmt.Sprintf(limitSQL, seconds))
	return Ticket{Bounded: true}, err
}

// Restore implements Dialect.
func (*mysql) Restore(ctx context.Context, conn *sql.Conn, ticket Ticket) error {
	if !ticket.Bounded || ticket.Refused {
		return discardRefused(ticket)
	}
	_, err := conn.ExecContext(ctx, unlimitSQL)
	return err
}

// Ask returns nil: nothing in the server tells.
func (*mysql) Ask() func(context.Context, *sql.DB, Ticket) (settle.Outcome, error) { return nil }

// Identity implements Dialect.
func (*mysql) Identity(ctx context.Context, conn *sql.Conn) (Identity, error) {
	system, _, err := variable(ctx, conn, serverSQL)
	return Identity{System: system}, err
}

// variable returns the value of a variable of the server, if it has it.
func variable(
	ctx context.Context, conn *sql.Conn, query string,
) (value string, found bool, err error) {
	rows, err := conn.QueryContext(ctx, query)
	if err != nil {
		return "", false, err
	}
	defer func() { _ = rows.Close() }()
	var name string
	if found = rows.Next(); found {
		if err := rows.Scan(&name, &value); err != nil {
			return "", false, fmt.Errorf("reading a variable of the server: %w", err)
		}
	}
	return value, found, rows.Err()
}
