// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package pgxtx

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/cachewright/cachewright/repository/internal/transact"
)

// statements run in a transaction.
type statements struct{ frame *transact.Frame }

// lease is the connection of a transaction, for one use.
type lease struct {
	*pgx.Conn

	giveBack func()
}

// take takes the connection until giveBack.
func (s statements) take() (lease, error) {
	conn, giveBack, err := s.frame.Native()
	if err != nil {
		return lease{}, err
	}
	driver, ok := conn.(*stdlib.Conn)
	if !ok {
		giveBack()
		return lease{}, fmt.Errorf("pgxtx: the connection is a %T, not one of pgx", conn)
	}
	return lease{Conn: driver.Conn(), giveBack: giveBack}, nil
}

// Exec implements Querier.
func (s statements) Exec(
	ctx context.Context, query string, args ...any,
) (pgconn.CommandTag, error) {
	conn, err := s.take()
	if err != nil {
		return pgconn.CommandTag{}, err
	}
	defer conn.giveBack()
	return conn.Exec(ctx, query, args...)
}

// Query implements Querier.
func (s statements) Query(ctx context.Context, query string, args ...any) (pgx.Rows, error) {
	conn, err := s.take()
	if err != nil {
		return refusedRows{err: err}, err
	}
	found, err := conn.Query(ctx, query, args...)
	if err != nil {
		conn.giveBack()
		return found, err
	}
	return &rows{Rows: found, giveBack: conn.giveBack}, nil
}

// QueryRow implements Querier.
func (s statements) QueryRow(ctx context.Context, query string, args ...any) pgx.Row {
	found, err := s.Query(ctx, query, args...)
	return row{rows: found, err: err}
}

// SendBatch implements Querier.
func (s statements) SendBatch(ctx context.Context, batch *pgx.Batch) pgx.BatchResults {
	conn, err := s.take()
	if err != nil {
		return refusedBatch{err: err}
	}
	return &results{BatchResults: conn.SendBatch(ctx, batch), giveBack: conn.giveBack}
}

// CopyFrom implements Querier.
func (s statements) CopyFrom(
	ctx context.Context, table pgx.Identifier, columns []string, source pgx.CopyFromSource,
) (int64, error) {
	conn, err := s.take()
	if err != nil {
		return 0, err
	}
	defer conn.giveBack()
	return conn.CopyFrom(ctx, table, columns, source)
}
