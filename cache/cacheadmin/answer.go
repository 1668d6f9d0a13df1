// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cacheadmin

import (
	"errors"
	"net/http"
	"strings"
)

// errorAnswer is every answer that is an error.
type errorAnswer struct {
	Error string `json:"error"`
}

// fail answers with what an error means: the page to a form of the page, and JSON otherwise.
func fail(w http.ResponseWriter, r *http.Request, err error) {
	if err == nil {
		err = errors.New("the cache answered with other modules than were asked for")
	}
	p := problemOf(err)
	if isFromPage(r) {
		renderPage(w, r, p.status, view{Notice: p.text, Failed: true})
		return
	}
	writeJSON(w, p.status, errorAnswer{p.text})
}

// done answers with the outcome of a purge. A form of the page leads back to it, so that loading it
// again purges nothing.
func done(w http.ResponseWriter, r *http.Request, o outcome) {
	if isFromPage(r) {
		w.Header().Set("Location", root(r)+"?done="+o.Status)
		w.WriteHeader(http.StatusSeeOther)
		return
	}
	writeJSON(w, o.code(), o)
}

// isFromPage says whether a browser sent a form.
func isFromPage(r *http.Request) bool {
	return r.Method == http.MethodPost && strings.Contains(r.Header.Get("Accept"), "text/html")
}
