// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// A small web service whose users are in a database, and in the cache by package repository. It
// runs on SQLite, which needs no server, or on PostgreSQL.
//
//	GET /users/{id}          operation getById of module users
//	GET /users?page=N        operation list of module users
//	PUT /users/{id}?name=…   changes a user in a transaction
//	GET /readyz              200 while the database answers
//	/admin/cache/            statistics and purges, for the user admin
//
// The header X-Cache says where an answer came from: HIT, MISS, STALE and so on.
//
// Environment: REDIS_HOST, REDIS_PORT and so on for Redis, NAMESPACE for the namespace of the
// CachePolicies, ADMIN_PASSWORD for /admin/cache, which does not exist without it.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/examples/internal/web"
	"github.com/cachewright/cachewright/registry"
)

// endTime is how long requests have to end.
const endTime = 5 * time.Second

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "where to listen")
	database := flag.String("database", "users.db",
		"a file for SQLite, or a postgres:// URL")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, *database); err != nil {
		slog.Error("Service ended", "error", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, addr, database string) error {
	client, err := registry.ClientFromEnv(os.LookupEnv)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	namespace := cmp.Or(os.Getenv("NAMESPACE"), "default")
	users, err := cache.New(client, namespace, cache.WithObserver(web.HeaderObserver{}))
	if err != nil {
		return err
	}
	stored, err := openStore(ctx, database, users)
	if err != nil {
		return err
	}
	defer stored.close()
	monitor := stored.db.Monitor()
	go monitor.Run(ctx)
	routes, err := web.Serving(routesOf(stored, monitor), users, os.Getenv("ADMIN_PASSWORD"))
	if err != nil {
		return err
	}
	server := &http.Server{Addr: addr, Handler: routes, ReadHeaderTimeout: 5 * time.Second}
	ended := make(chan struct{})
	context.AfterFunc(ctx, func() {
		defer close(ended)
		shutDown(server, users)
	})
	slog.Info("Listening", "address", addr)
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	<-ended
	return nil
}

// shutDown lets requests end and the last counters reach Redis.
func shutDown(server *http.Server, users *cache.Client) {
	ctx, cancel := context.WithTimeout(context.Background(), endTime)
	defer cancel()
	if err := errors.Join(server.Shutdown(ctx), users.Close(ctx)); err != nil {
		slog.Warn("Could not shut down cleanly", "error", err)
	}
}
