// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Cache-aside, as one writes it by hand. A reader stores what it loaded, without a TTL. A writer
// deletes that after its commit. If it dies between the two, the old name stays in Redis.
//
// The users are those of the service in the folder above, so that both can be compared.
//
//	GET /users/{id}          reads a user; X-Cache is HIT or MISS
//	PUT /users/{id}?name=…   renames a user
//
// Environment: REDIS_HOST, REDIS_PORT and so on for Redis.
package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"flag"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/redis/go-redis/v9"
	_ "modernc.org/sqlite" // the driver of SQLite

	"github.com/cachewright/cachewright/registry"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8081", "where to listen")
	database := flag.String("database", "users.db", "the file of the service beside this one")
	flag.Parse()
	if err := run(*addr, *database); err != nil {
		slog.Error("Service ended", "error", err)
		os.Exit(1)
	}
}

func run(addr, database string) error {
	client, err := registry.ClientFromEnv(os.LookupEnv)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	pool, err := sql.Open("sqlite", "file:"+database+"?_pragma=busy_timeout(2000)")
	if err != nil {
		return err
	}
	defer func() { _ = pool.Close() }()
	server := &http.Server{
		Addr: addr, Handler: routesOf(&users{redis: client, pool: pool}),
		ReadHeaderTimeout: 5 * time.Second,
	}
	return server.ListenAndServe()
}

func routesOf(u *users) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /users/{id}", func(w http.ResponseWriter, r *http.Request) {
		name, outcome, err := u.name(r.Context(), r.PathValue("id"))
		w.Header().Set("X-Cache", outcome)
		answer(w, map[string]string{"id": r.PathValue("id"), "name": name}, err)
	})
	mux.HandleFunc("PUT /users/{id}", func(w http.ResponseWriter, r *http.Request) {
		err := u.rename(r.Context(), r.PathValue("id"), r.URL.Query().Get("name"))
		answer(w, struct{}{}, err)
	})
	return mux
}

func answer(w http.ResponseWriter, value any, err error) {
	if err != nil {
		slog.Error("A request failed", "error", err)
		http.Error(w, "the request failed", http.StatusInternalServerError)
		return
	}
	if err := json.NewEncoder(w).Encode(value); err != nil {
		slog.Warn("Could not write an answer", "error", err)
	}
}

// users are those of a database, with Redis before it.
type users struct {
	redis redis.UniversalClient
	pool  *sql.DB
}

func keyOf(id string) string { return "cacheaside:" + id }

// name returns the name of a user, and whether Redis had it.
func (u *users) name(ctx context.Context, id string) (name, outcome string, err error) {
	name, err = u.redis.Get(ctx, keyOf(id)).Result()
	if !errors.Is(err, redis.Nil) {
		return name, "HIT", err
	}
	err = u.pool.QueryRowContext(ctx, "SELECT name FROM users WHERE id = $1", id).Scan(&name)
	if err != nil {
		return "", "MISS", err
	}
	return name, "MISS", u.redis.Set(ctx, keyOf(id), name, 0).Err()
}

// rename changes a user, and then deletes what is cached. There is a moment between the two.
func (u *users) rename(ctx context.Context, id, name string) error {
	_, err := u.pool.ExecContext(ctx, "UPDATE users SET name = $1 WHERE id = $2", name, id)
	if err != nil {
		return err
	}
	return u.redis.Del(ctx, keyOf(id)).Err()
}
