// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/internal/redistest"
)

// Store of users, over a database and a cache.
type Store struct {
	users *cache.Client
	db    interface {
		Rename(ctx context.Context, id int, name string) error
	}
}

func (s *Store) Rename(ctx context.Context, id int, name string) error {
	hold, err := s.users.Hold(ctx, 30*time.Second,
		cache.Key{Module: "users", Operation: "getById", Params: id},
		cache.Scope{Module: "users", Operation: "list"})
	if err != nil {
		slog.Warn("Renaming a user without a hold", "error", err) // what follows is right all the same
	}
	defer func() { _ = hold.Release(context.WithoutCancel(ctx)) }() // it reports, and queues, what fails

	ctx, cancel := context.WithTimeout(ctx, 20*time.Second) // the commit must come before the end of the hold
	defer cancel()
	return s.db.Rename(ctx, id, name)
}

// database has the name of one user. While it commits, somebody watches.
type database struct {
	name     string
	deadline time.Time
	watch    func()
}

func (d *database) Rename(ctx context.Context, _ int, name string) error {
	d.deadline, _ = ctx.Deadline()
	if err := ctx.Err(); err != nil {
		return err
	}
	d.watch()
	d.name = name
	d.watch()
	return nil
}

// docs/applications.md shows the method Rename, which is tested here.
func TestHoldOfTheDocumentationWorks(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/applications.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("example_hold_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n### Holds\n")
	_, snippet, _ := strings.Cut(section, "```go\n")
	snippet, _, _ = strings.Cut(snippet, "```")
	if snippet == "" || !strings.Contains(string(source), "\n"+snippet) {
		t.Errorf("the page shows what is not tested:\n%s", snippet)
	}

	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	c := newCache(t, redis.NewClient(redisOptions(server.Addr())), cache.WithTimeout(waitTimeout), cache.WithInvalidationTimeout(time.Second))
	db := &database{name: "Ada"}
	read := func() string {
		name, err := cache.Fetch(t.Context(), c, cache.Key{Module: "users", Operation: "getById", Params: 7},
			func(context.Context) (string, error) { return db.name, nil })
		if err != nil {
			t.Error(err)
		}
		return name
	}
	db.watch = func() {
		if got := read(); got != db.name {
			t.Errorf("read %q while the database has %q", got, db.name)
		}
	}
	store := &Store{users: c, db: db}
	read()
	began := time.Now()
	if err := store.Rename(t.Context(), 7, "Ada King"); err != nil || read() != "Ada King" || read() != "Ada King" {
		t.Errorf("got %q, %v", read(), err)
	}
	if left := db.deadline.Sub(began); left <= 0 || left >= 30*time.Second {
		t.Errorf("the commit may take %s, longer than the hold lasts", left)
	}

	// Without Redis the change is made all the same, and readers see it.
	db.watch = func() {}
	server.Kill()
	if err := store.Rename(t.Context(), 7, "Ada Lovelace"); err != nil || read() != "Ada Lovelace" {
		t.Errorf("got %q, %v", read(), err)
	}
	server.Restart()
	applyPolicy(t, server.Client(), "users", hour())
	NewWithT(t).Eventually(func() error {
		hold, err := c.Hold(t.Context(), time.Second, usersGet)
		return errors.Join(err, hold.Release(t.Context()))
	}).WithTimeout(waitTimeout).Should(Succeed())
	if got := read(); got != "Ada Lovelace" {
		t.Errorf("read %q with Redis back", got)
	}
}
