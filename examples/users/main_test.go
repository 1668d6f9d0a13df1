// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/cachewright/cachewright/cache/cachetest"
)

// call calls the service and returns status and body.
func call(t *testing.T, handler http.Handler, method, path, user string) (status int, body string) {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), method, path, http.NoBody)
	request.Header.Set("X-User", user)
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, request)
	return recorder.Code, recorder.Body.String()
}

// deployed are the CachePolicies of the service. A name that they do not list fails a test.
const deployed = "../../config/samples/cachepolicy_*.yaml"

// With the cache in memory, what is read twice reaches the source once. The next reader sees a
// change, wherever the old name was cached.
func TestAChangeIsSeenByTheNextReader(t *testing.T) {
	s := &service{cache: cachetest.FromManifests(t, deployed), source: newSource(0, 50)}
	routes := s.routes()
	pages := []string{"/users/user-7", "/users?page=0", "/profile"}
	readAll := func(want string) {
		t.Helper()
		for _, page := range pages {
			if status, body := call(t, routes, http.MethodGet, page, "user-7"); status != http.StatusOK || !strings.Contains(body, want) {
				t.Errorf("%s: %d %s, want %q", page, status, body, want)
			}
		}
	}
	readAll("User 7")
	readAll("User 7")
	if got := s.source.queries.Load(); got != int64(len(pages)) {
		t.Errorf("the source was read %d times, want %d", got, len(pages))
	}
	if status, body := call(t, routes, http.MethodPut, "/users/user-7?name=Ada", ""); status != http.StatusOK {
		t.Fatal(status, body)
	}
	readAll("Ada")
}

func TestTheServiceWorksWithoutItsCache(t *testing.T) {
	fake := cachetest.New()
	fake.Fail(errors.New("redis is down"))
	s := &service{cache: fake, source: newSource(0, 50)}
	if status, body := call(t, s.routes(), http.MethodGet, "/users/user-7", ""); status != http.StatusOK || !strings.Contains(body, "User 7") {
		t.Error(status, body)
	}
	if status, _ := call(t, s.routes(), http.MethodGet, "/users/nobody", ""); status != http.StatusNotFound {
		t.Error(status)
	}
}
