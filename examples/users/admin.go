// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/cache/cacheadmin"
)

// adminPrefix is where the endpoints of package cacheadmin are.
const adminPrefix = "/admin/cache"

// adminRoutes are the endpoints, behind a password. A real service has its own authentication here.
func adminRoutes(users cache.Cache, password string) (http.Handler, error) {
	admin, err := cacheadmin.New(users)
	if err != nil {
		return nil, err
	}
	return authenticated(password, http.StripPrefix(adminPrefix, admin)), nil
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
