// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package repository_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cachewright/cachewright/repository"
)

// stateError is an error with an SQLSTATE, as those of lib/pq and pgx are.
type stateError string

func (e stateError) Error() string    { return "state " + string(e) }
func (e stateError) SQLState() string { return string(e) }

// errLost is what a driver returns when the connection breaks.
var errLost = io.ErrUnexpectedEOF

// fakeDB is a database that answers what InTx asks a PostgreSQL, and fails as a test wants.
type fakeDB struct {
	mu   sync.Mutex
	log  []string // BEGIN, statements of the test, COMMIT and ROLLBACK
	open int      // connections

	behaviour // change it by change, once the database is in use
}

// behaviour is what a fakeDB does. Its functions are called without a lock.
type behaviour struct {
	// commit is called in COMMIT. What it returns is the answer.
	commit func() error
	// status says what became of a transaction, and which server says so.
	status func() (status, server string, err error)
	// statement is called with each statement of a test.
	statement func(query string) error
	begin     func() error
	prepare   error // of the last statement before COMMIT
	noID      bool  // transactions have changed nothing

	// What identifies the database.
	system   string
	timeline string
	position int64
	standby  bool
	identity error
}

// now is what the database does now.
func (f *fakeDB) now() behaviour {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.behaviour
}

func (f *fakeDB) change(change func(*fakeDB)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func newFakeDB() *fakeDB {
	return &fakeDB{behaviour: behaviour{
		commit:    func() error { return nil },
		status:    func() (string, string, error) { return "committed", server, nil },
		statement: func(string) error { return nil },
		begin:     func() error { return nil },
		system:    "77", timeline: "00000001", position: 100,
	}}
}

func (f *fakeDB) note(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log = append(f.log, what)
}

func (f *fakeDB) history() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.log, "; ")
}

// pool opens the database until the test ends.
func (f *fakeDB) pool(tb testing.TB) *sql.DB {
	tb.Helper()
	pool := sql.OpenDB(f)
	tb.Cleanup(func() { _ = pool.Close() })
	return pool
}

// opened opens a DB over the fake.
func (f *fakeDB) opened(tb testing.TB, opts ...repository.Option) *repository.DB {
	tb.Helper()
	db, err := repository.Open(f.pool(tb), repository.Postgres, opts...)
	if err != nil {
		tb.Fatal(err)
	}
	return db
}

func (f *fakeDB) Driver() driver.Driver { return nil }

func (f *fakeDB) Connect(context.Context) (driver.Conn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open++
	return &fakeConn{db: f}, nil
}

type fakeConn struct{ db *fakeDB }

func (c *fakeConn) Prepare(string) (driver.Stmt, error) { return nil, errors.New("not prepared") }
func (c *fakeConn) Begin() (driver.Tx, error)           { return nil, errors.New("BeginTx is there") }

func (c *fakeConn) Close() error {
	c.db.mu.Lock()
	defer c.db.mu.Unlock()
	c.db.open--
	return nil
}

func (c *fakeConn) BeginTx(_ context.Context, o driver.TxOptions) (driver.Tx, error) {
	if err := c.db.now().begin(); err != nil {
		return nil, err
	}
	c.db.note(strings.TrimSpace(fmt.Sprintf("BEGIN %s", map[bool]string{true: "READ ONLY"}[o.ReadOnly])))
	return c, nil
}

func (c *fakeConn) Commit() error {
	c.db.note("COMMIT")
	return c.db.now().commit()
}

func (c *fakeConn) Rollback() error {
	c.db.note("ROLLBACK")
	return nil
}

func (c *fakeConn) ExecContext(_ context.Context, query string, _ []driver.NamedValue) (driver.Result, error) {
	c.db.note(query)
	return driver.ResultNoRows, c.db.now().statement(query)
}

func (c *fakeConn) QueryContext(ctx context.Context, query string, _ []driver.NamedValue) (driver.Rows, error) {
	does := c.db.now()
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case strings.Contains(query, "txid_status"):
		status, by, err := does.status()
		return &fakeRow{values: []driver.Value{status, by}}, err
	case strings.Contains(query, "txid_current_if_assigned"):
		id := int64(7)
		if does.noID {
			id = 0
		}
		return &fakeRow{values: []driver.Value{id, server, ""}}, does.prepare
	case strings.Contains(query, "pg_control_system"):
		return &fakeRow{values: []driver.Value{does.system, does.timeline, does.position}}, does.identity
	case query == "SELECT pg_is_in_recovery()":
		return &fakeRow{values: []driver.Value{does.standby}}, nil
	default:
		c.db.note(query)
		return &fakeRow{values: []driver.Value{int64(1)}}, does.statement(query)
	}
}

// fakeRow is a result of one row.
type fakeRow struct {
	values []driver.Value
	read   bool
}

func (r *fakeRow) Columns() []string { return make([]string, len(r.values)) }
func (r *fakeRow) Close() error      { return nil }

func (r *fakeRow) Next(values []driver.Value) error {
	if r.read {
		return io.EOF
	}
	r.read = true
	copy(values, r.values)
	return nil
}

// exec runs a statement in the transaction of ctx.
func exec(ctx context.Context, db *repository.DB, query string) error {
	_, err := db.Querier(ctx).ExecContext(ctx, query)
	return err
}

const (
	hour = time.Hour
	// server is the one that runs the transactions of tests.
	server = "1.5"
)
