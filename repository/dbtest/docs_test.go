// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package dbtest

import (
	"context"
	"database/sql"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/cache/cachetest"
	"github.com/cachewright/cachewright/repository"
)

// Users is a store of users, which the page shows.
type Users struct {
	db      *repository.DB
	imports atomic.Int64
}

// Name returns the name of a user.
func (s *Users) Name(ctx context.Context, id int) (string, error) {
	key := cache.Key{Module: "users", Operation: "getById", Params: id}
	return repository.Fetch(ctx, s.db, key, func(ctx context.Context) (name string, err error) {
		err = s.db.Querier(ctx).QueryRowContext(ctx, "SELECT name FROM users WHERE id = $1", id).Scan(&name)
		return name, err
	})
}

// Rename renames a user.
func (s *Users) Rename(ctx context.Context, id int, name string) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		_, err := s.db.Querier(ctx).ExecContext(ctx, "UPDATE users SET name = $1 WHERE id = $2", name, id)
		if err != nil {
			return err
		}
		return repository.Touch(ctx,
			cache.Key{Module: "users", Operation: "getById", Params: id},
			cache.Scope{Module: "users", Operation: "list"})
	})
}

// Import renames users, and returns those whose new name is taken.
func (s *Users) Import(ctx context.Context, names map[int]string) (taken []int, err error) {
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		taken = nil // the function may run again
		for id, name := range names {
			err := s.db.InTx(ctx, func(ctx context.Context) error {
				return s.Rename(ctx, id, name)
			}, repository.Savepoint())
			switch {
			case errors.Is(err, repository.ErrConstraint):
				taken = append(taken, id)
			case err != nil:
				return err
			}
		}
		repository.AfterCommit(ctx, func(context.Context) { s.imports.Add(1) })
		return nil
	})
	return taken, err
}

// openUsers opens the database as the page does.
func openUsers(pool *sql.DB, users repository.Cache) (*repository.DB, error) {
	db, err := repository.Open(pool, repository.Postgres, repository.WithCache(users))
	return db, err
}

// watchUsers watches the database as the page does.
func watchUsers(ctx context.Context, db *repository.DB, mux *http.ServeMux) *repository.Monitor {
	monitor := db.Monitor(repository.Invalidates("users"))
	go monitor.Run(ctx)
	mux.Handle("/readyz", monitor)
	return monitor
}

var (
	snippet = regexp.MustCompile("(?s)```go\n(.*?)```")
	named   = regexp.MustCompile("`(Test[A-Za-z0-9]+)`")
	defined = regexp.MustCompile(`(?m)^func (Test[A-Za-z0-9]+)\(`)
)

func readAll(t *testing.T, files ...string) string {
	t.Helper()
	var all strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}

// docs/database.md shows the code above, and names tests that there are.
func TestThePageOfDatabasesShowsWhatIsTested(t *testing.T) {
	t.Parallel()
	page := readAll(t, "../../docs/database.md")
	source := strings.ReplaceAll(readAll(t, "docs_test.go", "docs_native_test.go", "docs_outbox_test.go", "docs_repositories_test.go", "../repoprom/example_test.go"), "\n\t", "\n")
	found := snippet.FindAllStringSubmatch(page, -1)
	if len(found) != 11 {
		t.Errorf("the page has %d snippets", len(found))
	}
	for _, code := range found {
		if !strings.Contains(source, "\n"+strings.ReplaceAll(code[1], "\n\t", "\n")) {
			t.Errorf("the page shows what is not tested:\n%s", code[1])
		}
	}
	var tests []string
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(files, "../intx_test.go") {
		for _, test := range defined.FindAllStringSubmatch(readAll(t, file), -1) {
			tests = append(tests, test[1])
		}
	}
	promises := named.FindAllStringSubmatch(page, -1)
	if len(promises) < 12 {
		t.Errorf("the page names %d tests", len(promises))
	}
	for _, promise := range promises {
		if !slices.Contains(tests, promise[1]) {
			t.Errorf("there is no %s", promise[1])
		}
	}
}

func TestTheCodeOfThePageWorks(t *testing.T) {
	t.Parallel()
	b := backends[0]
	pool := b.connect(t, b.dsn(t))
	execute(t, pool, "CREATE TABLE users (id INT PRIMARY KEY, name VARCHAR(50) UNIQUE)")
	execute(t, pool, "INSERT INTO users VALUES (1, 'Ada'), (2, 'Bob'), (3, 'Eve')")
	fake := cachetest.New(cachetest.WithDefaultTTL(time.Hour))
	db, err := openUsers(pool, fake)
	if err != nil {
		t.Fatal(err)
	}
	users := &Users{db: db}
	wantNames := func(want ...string) {
		t.Helper()
		for i, name := range want {
			for range 2 {
				if got, err := users.Name(t.Context(), i+1); err != nil || got != name {
					t.Errorf("user %d is %q, want %q: %v", i+1, got, name, err)
				}
			}
		}
	}
	wantNames("Ada", "Bob", "Eve")
	if err := users.Rename(t.Context(), 1, "Ada King"); err != nil {
		t.Error(err)
	}
	wantNames("Ada King", "Bob", "Eve")
	if err := users.Rename(t.Context(), 1, "Bob"); !errors.Is(err, repository.ErrConstraint) {
		t.Errorf("got %v for a name that is taken", err)
	}
	if _, err := users.Name(t.Context(), 4); !errors.Is(err, repository.ErrNotFound) {
		t.Errorf("got %v for nobody", err)
	}
	taken, err := users.Import(t.Context(), map[int]string{1: "Grace", 2: "Eve"})
	if err != nil || !slices.Equal(taken, []int{2}) || users.imports.Load() != 1 {
		t.Errorf("taken are %v after %d imports: %v", taken, users.imports.Load(), err)
	}
	wantNames("Grace", "Bob", "Eve")

	mux := http.NewServeMux()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	until(t, watchUsers(ctx, db, mux), "an answer", func(f repository.Figures) bool { return f.Up })
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", http.NoBody))
	if w.Code != http.StatusOK {
		t.Errorf("readiness is %d", w.Code)
	}
}
