// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// A small web service that reads its users through the cache. The CachePolicies of the modules
// users and auth (config/samples) say how long they are cached.
//
//	GET /users/{id}          operation getById of module users
//	GET /users?page=N        operation list of module users
//	GET /profile             operation profile of module auth, of the user in the header X-User
//	PUT /users/{id}?name=…   changes the source, then invalidates
//	GET /queries             how often the source was read
//	/admin/cache/            statistics and purges, for the user admin
//
// The header X-Cache says where an answer came from: HIT, MISS, STALE and so on.
//
// Environment: REDIS_HOST, REDIS_PORT and so on for Redis, NAMESPACE for the namespace,
// ADMIN_PASSWORD for /admin/cache, which does not exist without it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/examples/internal/web"
	"github.com/cachewright/cachewright/registry"
)

const (
	moduleUsers = "users"
	moduleAuth  = "auth"
	pageSize    = 20
)

// errNoSuchUser is an ErrNotFound, which the cache stores if the policy has a negativeTTL.
var errNoSuchUser = fmt.Errorf("no such user: %w", cache.ErrNotFound)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "where to listen")
	latency := flag.Duration("source-latency", 20*time.Millisecond,
		"how long the source takes to answer")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, *latency); err != nil {
		slog.Error("Service ended", "error", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, addr string, latency time.Duration) error {
	client, err := registry.ClientFromEnv(os.LookupEnv)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	users, err := cache.New(client, namespace(), cache.WithObserver(web.HeaderObserver{}))
	if err != nil {
		return err
	}
	service := &service{cache: users, source: newSource(latency, 1000)}
	routes, err := web.Serving(service.routes(), users, os.Getenv("ADMIN_PASSWORD"))
	if err != nil {
		return err
	}
	server := &http.Server{Addr: addr, Handler: routes, ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { shutDown(server, users) })
	slog.Info("Listening", "address", addr)
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func namespace() string {
	if namespace := os.Getenv("NAMESPACE"); namespace != "" {
		return namespace
	}
	return "default"
}

// shutDown lets requests end and the last counters reach Redis.
func shutDown(server *http.Server, users *cache.Client) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := errors.Join(users.Close(ctx), server.Shutdown(ctx)); err != nil {
		slog.Warn("Could not shut down cleanly", "error", err)
	}
}

// service depends on the interface, so its tests can use cachetest.
type service struct {
	cache  cache.Cache
	source *source
}

func (s *service) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /users/{id}", s.getByID)
	mux.HandleFunc("GET /users", s.list)
	mux.HandleFunc("GET /profile", s.profile)
	mux.HandleFunc("PUT /users/{id}", s.rename)
	mux.HandleFunc("GET /queries", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, s.source.queries.Load(), nil)
	})
	return mux
}

func (s *service) getByID(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	user, err := cache.Fetch(r.Context(), s.cache,
		cache.Key{Module: moduleUsers, Operation: "getById", Params: id},
		func(ctx context.Context) (User, error) { return s.source.byID(ctx, id) })
	answer(w, user, err)
}

func (s *service) list(w http.ResponseWriter, r *http.Request) {
	page, _ := strconv.Atoi(r.URL.Query().Get("page"))
	users, err := cache.Fetch(r.Context(), s.cache,
		cache.Key{Module: moduleUsers, Operation: "list", Params: page},
		func(ctx context.Context) ([]User, error) { return s.source.page(ctx, page) })
	answer(w, users, err)
}

func (s *service) profile(w http.ResponseWriter, r *http.Request) {
	id := r.Header.Get("X-User")
	user, err := cache.Fetch(r.Context(), s.cache,
		cache.Key{Module: moduleAuth, Operation: "profile", User: id},
		func(ctx context.Context) (User, error) { return s.source.byID(ctx, id) })
	answer(w, user, err)
}

// rename changes the source first and then invalidates. A reader in between sees the old name once
// more. After that, no reader does.
func (s *service) rename(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	err := s.source.rename(r.Context(), id, r.URL.Query().Get("name"))
	if err == nil {
		err = errors.Join(
			s.cache.Delete(r.Context(), cache.Key{Module: moduleUsers, Operation: "getById", Params: id}),
			s.cache.InvalidateOperation(r.Context(), moduleUsers, "list"),
			s.cache.InvalidateUser(r.Context(), id, moduleAuth),
		)
	}
	answer(w, struct{}{}, err)
}

func answer(w http.ResponseWriter, value any, err error) {
	switch {
	case errors.Is(err, cache.ErrNotFound):
		http.Error(w, err.Error(), http.StatusNotFound)
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	default:
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(value); err != nil {
			slog.Warn("Could not write an answer", "error", err)
		}
	}
}
