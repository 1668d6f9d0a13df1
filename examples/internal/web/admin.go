// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package web has what the web services of the examples share.
package web

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"

	"github.com/cachewright/cachewright/cache/cacheadmin"
)

// adminPrefix is where the endpoints of package cacheadmin are.
const adminPrefix = "/admin/cache"

// Serving returns routes whose answers show the outcomes of a HeaderObserver. With a password, the
// endpoints of package cacheadmin are beside them. A real service has its own authentication there.
func Serving(routes http.Handler, c cacheadmin.Cache, password string) (http.Handler, error) {
	mux := http.NewServeMux()
	mux.Handle("/", showingCache(routes))
	if password == "" {
		return mux, nil
	}
	admin, err := cacheadmin.New(c)
	if err != nil {
		return nil, err
	}
	mux.Handle(adminPrefix+"/", authenticated(password, http.StripPrefix(adminPrefix, admin)))
	return mux, nil
}

// authenticated lets nobody pass who does not know the password of the user admin.
func authenticated(password string, next http.Handler) http.Handler {
	want := sha256.Sum256([]byte(password))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, given, _ := r.BasicAuth()
		got := sha256.Sum256([]byte(given))
		if user != "admin" || subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			w.Header().Set("WWW-Authenticate", `Basic realm="cache"`)
			http.Error(w, "log in as admin", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}
