// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package dbtest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "github.com/lib/pq"
	_ "modernc.org/sqlite"

	"github.com/cachewright/cachewright/repository"
	"github.com/cachewright/cachewright/repository/dbtest/servers"
)

// The servers that tests share; those that kill one start their own.
var (
	postgres = sync.OnceValues(func() (*servers.Server, error) { return servers.StartPostgres() })
	mariadb  = sync.OnceValues(func() (*servers.Server, error) { return servers.StartMariaDB() })
	started  []func() (*servers.Server, error)
	starting sync.Mutex
)

func TestMain(m *testing.M) {
	if settings := os.Getenv(writerVariable); settings != "" {
		runWriter(settings)
		return
	}
	if errand := os.Getenv(errandVariable); errand != "" {
		runErrand(errand)
		return
	}
	_ = mysql.SetLogger(&mysql.NopLogger{})
	code := m.Run()
	for _, server := range started {
		if s, err := server(); err == nil {
			s.Close()
		}
	}
	os.Exit(code)
}

func shared(tb testing.TB, server func() (*servers.Server, error)) *servers.Server {
	tb.Helper()
	s, err := server()
	if err != nil {
		tb.Fatal(err)
	}
	starting.Lock()
	defer starting.Unlock()
	started = append(started, server)
	return s
}

// backend is a database by one of its drivers.
type backend struct {
	name    string
	driver  string
	dialect repository.Dialect
	server  func() (*servers.Server, error) // nil: SQLite
}

var backends = []backend{
	{"postgres-pgx", "pgx", repository.Postgres, postgres},
	{"postgres-pq", "postgres", repository.Postgres, postgres},
	{"mariadb", "mysql", repository.MySQL, mariadb},
	{"sqlite", "sqlite", repository.SQLite, nil},
}

// onEach runs a test on each backend.
func onEach(t *testing.T, test func(t *testing.T, b backend)) {
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			test(t, b)
		})
	}
}

// sql puts the placeholders of the backend in.
func (b backend) sql(query string) string {
	if b.dialect != repository.Postgres {
		return query
	}
	var text strings.Builder
	for i, part := range strings.Split(query, "?") {
		if i > 0 {
			text.WriteString("$" + strconv.Itoa(i))
		}
		text.WriteString(part)
	}
	return text.String()
}

var databases atomic.Int64

// dsn names a new, empty database.
func (b backend) dsn(tb testing.TB) string {
	tb.Helper()
	if b.server == nil {
		return "file:" + filepath.Join(tb.TempDir(), "test.db") +
			"?_pragma=busy_timeout(2000)&_pragma=journal_mode(WAL)&_pragma=foreign_keys(1)&_txlock=immediate"
	}
	server := shared(tb, b.server)
	return b.dsnOn(tb, server, server.Addr())
}

// dsnOn names a new, empty database on a server, by an address that leads to it.
func (b backend) dsnOn(tb testing.TB, server *servers.Server, addr string) string {
	tb.Helper()
	root := map[repository.Dialect]string{repository.Postgres: "postgres", repository.MySQL: "mysql"}[b.dialect]
	pool, err := sql.Open(b.driver, server.DSN(root))
	if err != nil {
		tb.Fatal(err)
	}
	defer pool.Close()
	name := fmt.Sprintf("test%d", databases.Add(1))
	if _, err := pool.ExecContext(tb.Context(), "CREATE DATABASE "+name); err != nil {
		tb.Fatal(err)
	}
	return server.DSNAt(addr, name)
}

// open opens a new database with a table of accounts: 1 and 2, with a balance of 100 each.
func (b backend) open(tb testing.TB) *sql.DB {
	tb.Helper()
	return b.openAt(tb, b.dsn(tb))
}

func (b backend) openAt(tb testing.TB, dsn string) *sql.DB {
	tb.Helper()
	pool := b.connect(tb, dsn)
	execute(tb, pool, "CREATE TABLE accounts (id INT PRIMARY KEY, balance INT NOT NULL CHECK (balance >= 0), name VARCHAR(50) UNIQUE)")
	execute(tb, pool, "CREATE TABLE orders (id INT PRIMARY KEY, account INT NOT NULL, FOREIGN KEY (account) REFERENCES accounts (id))")
	execute(tb, pool, "INSERT INTO accounts VALUES (1, 100, 'ada'), (2, 100, 'bob')")
	return pool
}

func (b backend) connect(tb testing.TB, dsn string) *sql.DB {
	tb.Helper()
	pool, err := sql.Open(b.driver, dsn)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = pool.Close() })
	return pool
}

func execute(tb testing.TB, q repository.Querier, query string, args ...any) {
	tb.Helper()
	if _, err := q.ExecContext(context.WithoutCancel(tb.Context()), query, args...); err != nil {
		tb.Fatalf("%s: %v", query, err)
	}
}

// open opens a DB of this module.
func open(tb testing.TB, pool *sql.DB, d repository.Dialect, opts ...repository.Option) *repository.DB {
	tb.Helper()
	db, err := repository.Open(pool, d, opts...)
	if err != nil {
		tb.Fatal(err)
	}
	return db
}

// balance reads one account on the pool.
func balance(tb testing.TB, b backend, q repository.Querier, id int) (amount int) {
	tb.Helper()
	err := q.QueryRowContext(tb.Context(), b.sql("SELECT balance FROM accounts WHERE id = ?"), id).Scan(&amount)
	if err != nil {
		tb.Fatal(err)
	}
	return amount
}

// set sets the balance of an account in the transaction of ctx.
func set(ctx context.Context, db *repository.DB, b backend, id, amount int) error {
	_, err := db.Querier(ctx).ExecContext(ctx, b.sql("UPDATE accounts SET balance = ? WHERE id = ?"), amount, id)
	return err
}

var errOurs = errors.New("an error of the function")
