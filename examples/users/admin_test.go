// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/cache/cachetest"
	"github.com/cachewright/cachewright/examples/internal/web"
	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

// ask returns the status and the header X-Cache of an answer.
func ask(t *testing.T, h http.Handler, method, path, password string) (status int, outcome string) {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), method, path, http.NoBody)
	if password != "" {
		request.SetBasicAuth("admin", password)
	}
	recorder := httptest.NewRecorder()
	h.ServeHTTP(recorder, request)
	return recorder.Code, recorder.Header().Get(web.XCache)
}

// The first reader misses, the next one hits, and after a purge by the admin endpoints one misses
// again.
func TestTheHeaderSaysWhereAnAnswerCameFrom(t *testing.T) {
	server := redistest.Start(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), ContextTimeoutEnabled: true})
	defer client.Close()
	slot := registry.Slot{Namespace: "shop", Module: moduleUsers}
	if _, err := registry.New(client).ApplyPolicy(t.Context(), slot, registry.Policy{DefaultTTL: new(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	users, err := cache.New(client, "shop", cache.WithObserver(web.HeaderObserver{}), cache.WithTimeout(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	s := &service{cache: users, source: newSource(0, 50)}
	routes, err := web.Serving(s.routes(), s.cache, "secret")
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		method, path, password, outcome string
	}{
		{"GET", "/users/user-7", "", "MISS"},
		{"GET", "/users/user-7", "", "HIT"},
		{"GET", "/users/nobody", "", "MISS"}, // and 404
		{"GET", "/profile", "", "BYPASS"},    // no policy for the module
		{"GET", "/queries", "", ""},
		{"DELETE", "/admin/cache/module/users", "secret", ""},
		{"GET", "/users/user-7", "", "MISS"},
	} {
		if _, got := ask(t, routes, step.method, step.path, step.password); got != step.outcome {
			t.Errorf("%s %s: X-Cache is %q, want %q", step.method, step.path, got, step.outcome)
		}
	}
}

// Without the password nobody reaches the admin endpoints, and without a password there are none.
func TestTheAdminEndpointsWantThePassword(t *testing.T) {
	s := &service{cache: cachetest.FromManifests(t, deployed), source: newSource(0, 50)}
	routes, err := web.Serving(s.routes(), s.cache, "secret")
	if err != nil {
		t.Fatal(err)
	}
	for password, want := range map[string]int{"": 401, "wrong": 401, "secret": 200} {
		for _, path := range []string{"/admin/cache/", "/admin/cache/stats", "/admin/cache/module/users"} {
			if status, _ := ask(t, routes, http.MethodGet, path, password); status != want {
				t.Errorf("%s with password %q: %d", path, password, status)
			}
		}
	}
	if routes, err = web.Serving(s.routes(), s.cache, ""); err != nil {
		t.Fatal(err)
	}
	if status, _ := ask(t, routes, http.MethodGet, "/admin/cache/stats", ""); status != http.StatusNotFound {
		t.Error(status)
	}
}
