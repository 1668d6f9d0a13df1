// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package transact

import (
	"context"
	"database/sql"
	"database/sql/driver"
)

// Statements runs statements in a transaction. It has no Commit, which would pass by the hold.
type Statements struct{ frame *Frame }

// Statements returns what runs statements in the transaction.
func (f *Frame) Statements() Statements { return Statements{frame: f} }

// ExecContext implements repository.Querier.
func (s Statements) ExecContext(
	ctx context.Context, query string, args ...any,
) (sql.Result, error) {
	if err := s.frame.usable(); err != nil {
		return nil, err
	}
	result, err := s.frame.tx.sql.ExecContext(ctx, query, args...)
	s.frame.tx.observe(err)
	return result, err
}

// QueryContext implements repository.Querier.
func (s Statements) QueryContext(
	ctx context.Context, query string, args ...any,
) (*sql.Rows, error) {
	if err := s.frame.usable(); err != nil {
		return nil, err
	}
	rows, err := s.frame.tx.sql.QueryContext(ctx, query, args...)
	s.frame.tx.observe(err)
	return rows, err
}

// QueryRowContext implements repository.Querier.
func (s Statements) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	if err := s.frame.usable(); err != nil {
		return refusedRow(ctx, err)
	}
	row := s.frame.tx.sql.QueryRowContext(ctx, query, args...)
	s.frame.tx.observe(row.Err())
	return row
}

// PrepareContext implements repository.Querier. The statement ends with the transaction.
func (s Statements) PrepareContext(ctx context.Context, query string) (*sql.Stmt, error) {
	if err := s.frame.usable(); err != nil {
		return nil, err
	}
	statement, err := s.frame.tx.sql.PrepareContext(ctx, query)
	s.frame.tx.observe(err)
	return statement, err
}

// refusedRow is a row whose Scan returns an error. Only database/sql can make rows.
func refusedRow(ctx context.Context, err error) *sql.Row {
	nowhere := sql.OpenDB(nowhere{reason: err})
	defer func() { _ = nowhere.Close() }()
	return nowhere.QueryRowContext(ctx, "")
}

// nowhere is a database that nobody can connect to.
type nowhere struct{ reason error }

// Connect implements driver.Connector.
func (n nowhere) Connect(context.Context) (driver.Conn, error) { return nil, n.reason }

// Driver implements driver.Connector.
func (n nowhere) Driver() driver.Driver { return nil }
