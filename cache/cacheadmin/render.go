// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cacheadmin

import (
	"bytes"
	"embed"
	"encoding/json"
	"html/template"
	"net/http"
	"strings"
)

//go:embed page.html style.css
var files embed.FS

var pageTemplate = template.Must(template.ParseFS(files, "page.html"))

// view is what the page shows.
type view struct {
	Root    string // leads to the page
	Notice  string
	Failed  bool // the notice is an error
	Modules []moduleView
	Omitted int // operations that are not shown
}

func renderPage(w http.ResponseWriter, r *http.Request, status int, shown view) {
	shown.Root = root(r)
	var page bytes.Buffer
	if err := pageTemplate.Execute(&page, shown); err != nil {
		writeJSON(w, http.StatusInternalServerError, errorAnswer{"The page cannot be shown: use /stats."})
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = page.WriteTo(w) // fails only if the caller has left
}

// root leads from a request to the page, below whatever prefix.
func root(r *http.Request) string {
	return "./" + strings.Repeat("../", max(0, strings.Count(r.URL.EscapedPath(), "/")-1))
}

func writeJSON(w http.ResponseWriter, status int, answer any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer) // fails only if the caller has left
}
