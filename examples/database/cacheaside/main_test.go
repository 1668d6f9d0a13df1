// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"database/sql"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cachewright/cachewright/internal/redistest"
)

// Where nobody dies and nobody reads meanwhile, cache-aside shows what is committed.
func TestARenameIsSeenByTheNextReader(t *testing.T) {
	pool, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "users.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pool.Close() })
	if _, err := pool.ExecContext(t.Context(), "CREATE TABLE users (id TEXT, name TEXT); INSERT INTO users VALUES ('user-08', 'User 8')"); err != nil {
		t.Fatal(err)
	}
	routes := routesOf(&users{redis: redistest.Start(t).Client(), pool: pool})
	for _, step := range []struct{ method, path, want, outcome string }{
		{http.MethodGet, "/users/user-08", "User 8", "MISS"},
		{http.MethodGet, "/users/user-08", "User 8", "HIT"},
		{http.MethodPut, "/users/user-08?name=Grace", "", ""},
		{http.MethodGet, "/users/user-08", "Grace", "MISS"},
	} {
		w := httptest.NewRecorder()
		routes.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), step.method, step.path, http.NoBody))
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), step.want) || w.Header().Get("X-Cache") != step.outcome {
			t.Errorf("%s %s: %d %s %s", step.method, step.path, w.Code, w.Header().Get("X-Cache"), w.Body)
		}
	}
}
