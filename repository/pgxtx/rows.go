// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package pgxtx

import "github.com/jackc/pgx/v5"

// rows give the connection back once they are closed. pgx closes them at their end and at an error.
type rows struct {
	pgx.Rows

	giveBack func()
}

// Close implements pgx.Rows.
func (r *rows) Close() {
	r.Rows.Close()
	r.giveBack()
}

// Next implements pgx.Rows.
func (r *rows) Next() bool {
	more := r.Rows.Next()
	if !more {
		r.giveBack()
	}
	return more
}

// Scan implements pgx.Rows.
func (r *rows) Scan(dest ...any) error {
	err := r.Rows.Scan(dest...)
	if err != nil {
		r.Close()
	}
	return err
}

// Values implements pgx.Rows.
func (r *rows) Values() ([]any, error) {
	values, err := r.Rows.Values()
	if err != nil {
		r.Close()
	}
	return values, err
}

// Conn implements pgx.Rows.
func (*rows) Conn() *pgx.Conn { return nil }

// row is the first of some rows.
type row struct {
	rows pgx.Rows
	err  error
}

// Scan implements pgx.Row.
func (r row) Scan(dest ...any) error {
	if r.err != nil {
		return r.err
	}
	defer r.rows.Close()
	if !r.rows.Next() {
		if err := r.rows.Err(); err != nil {
			return err
		}
		return pgx.ErrNoRows
	}
	if err := r.rows.Scan(dest...); err != nil {
		return err
	}
	r.rows.Close()
	return r.rows.Err()
}

// results give the connection back once they are closed.
type results struct {
	pgx.BatchResults

	giveBack func()
}

// Query implements pgx.BatchResults. The connection stays taken until the results are closed.
func (r *results) Query() (pgx.Rows, error) {
	found, err := r.BatchResults.Query()
	return &rows{Rows: found, giveBack: func() {}}, err
}

// Tx implements pgx.BatchResults: what a batch begins would pass by the hold.
func (*results) Tx() pgx.Tx { return nil }

// Close implements pgx.BatchResults.
func (r *results) Close() error {
	defer r.giveBack()
	return r.BatchResults.Close()
}
