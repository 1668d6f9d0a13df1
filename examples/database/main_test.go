// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/cache/cachetest"
	"github.com/cachewright/cachewright/repository/dbtest/servers"
)

// deployed are the CachePolicies of the service. A name that they do not list fails a test.
const deployed = "../../config/samples/cachepolicy_users.yaml"

// onEach runs a test on both databases.
func onEach(t *testing.T, test func(t *testing.T, fake *cachetest.Fake, database string)) {
	t.Run("sqlite", func(t *testing.T) {
		test(t, cachetest.FromManifests(t, deployed), filepath.Join(t.TempDir(), "users.db"))
	})
	t.Run("postgres", func(t *testing.T) {
		server, err := servers.StartPostgres()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(server.Close)
		test(t, cachetest.FromManifests(t, deployed), server.DSN("postgres"))
	})
}

func open(t *testing.T, database string, fake *cachetest.Fake) *store {
	t.Helper()
	s, err := openStore(t.Context(), database, fake)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	return s
}

func call(t *testing.T, s *store, method, path string) (status int, body string) {
	t.Helper()
	w := httptest.NewRecorder()
	request := httptest.NewRequestWithContext(t.Context(), method, path, http.NoBody)
	routesOf(s, s.db.Monitor()).ServeHTTP(w, request)
	return w.Code, w.Body.String()
}

func checkName(t *testing.T, s *store, want string) {
	t.Helper()
	for _, path := range []string{"/users/user-07", "/users?page=0", "/users/user-07"} {
		if status, body := call(t, s, http.MethodGet, path); status != http.StatusOK || !strings.Contains(body, `"name":"`+want+`"`) {
			t.Errorf("%s: %d %s, want %s", path, status, body, want)
		}
	}
}

// What is read is cached, and the next reader sees a change wherever the old name was cached. A
// service that starts again finds what is there.
func TestAChangeIsSeenByTheNextReader(t *testing.T) {
	onEach(t, func(t *testing.T, fake *cachetest.Fake, database string) {
		s := open(t, database, fake)
		checkName(t, s, "User 7")
		var cached User
		if found, err := fake.Get(t.Context(), cache.Key{Module: moduleUsers, Operation: "getById", Params: "user-07"}, &cached); !found || err != nil || cached.Name != "User 7" {
			t.Error("it is not cached:", cached, err)
		}
		for path, want := range map[string]int{
			"/users/user-07?name=User+8": http.StatusConflict,
			"/users/nobody?name=x":       http.StatusNotFound,
		} {
			if status, body := call(t, s, http.MethodPut, path); status != want || strings.Contains(body, "SQL") {
				t.Errorf("%s: %d %s", path, status, body)
			}
		}
		checkName(t, s, "User 7")
		if status, body := call(t, s, http.MethodPut, "/users/user-07?name=Ada"); status != http.StatusOK {
			t.Error(status, body)
		}
		checkName(t, s, "Ada")
		if status, _ := call(t, s, http.MethodGet, "/users/nobody"); status != http.StatusNotFound {
			t.Error(status)
		}
		checkName(t, open(t, database, fake), "Ada")
	})
}
