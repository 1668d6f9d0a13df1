// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package pgxtx

import (
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// refusedRows are those of a statement that was not sent.
type refusedRows struct{ err error }

// refusedBatch is a batch that was not sent.
type refusedBatch struct{ err error }

// Close implements pgx.Rows.
func (refusedRows) Close() {}

// Err implements pgx.Rows.
func (r refusedRows) Err() error { return r.err }

// Next implements pgx.Rows.
func (refusedRows) Next() bool { return false }

// CommandTag implements pgx.Rows.
func (refusedRows) CommandTag() pgconn.CommandTag { return pgconn.CommandTag{} }

// Scan implements pgx.Rows.
func (r refusedRows) Scan(...any) error { return r.err }

// Values implements pgx.Rows.
func (r refusedRows) Values() ([]any, error) { return nil, r.err }

// RawValues implements pgx.Rows.
func (refusedRows) RawValues() [][]byte { return nil }

// FieldDescriptions implements pgx.Rows.
func (refusedRows) FieldDescriptions() []pgconn.FieldDescription { return nil }

// Conn implements pgx.Rows.
func (refusedRows) Conn() *pgx.Conn { return nil }

// TypeMap implements pgx.Rows.
func (refusedRows) TypeMap() *pgtype.Map { return nil }

// Exec implements pgx.BatchResults.
func (r refusedBatch) Exec() (pgconn.CommandTag, error) { return pgconn.CommandTag{}, r.err }

// Query implements pgx.BatchResults.
func (r refusedBatch) Query() (pgx.Rows, error) { return refusedRows(r), r.err }

// QueryRow implements pgx.BatchResults.
func (r refusedBatch) QueryRow() pgx.Row { return row{err: r.err} }

// Close implements pgx.BatchResults.
func (r refusedBatch) Close() error { return r.err }

// Tx implements pgx.BatchResults.
func (refusedBatch) Tx() pgx.Tx { return nil }
