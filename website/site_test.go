// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package website looks at the site that "make docs" built, in a real browser.
package website

import (
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/cachewright/cachewright/internal/browsertest"
)

// TestTheSiteIsReadAndSearched reads a page, sees a picture drawn, and finds a page by a search.
func TestTheSiteIsReadAndSearched(t *testing.T) {
	site := os.Getenv("SITE")
	if site == "" {
		t.Skip("SITE names no site: make test-docs builds one")
	}
	server := httptest.NewServer(http.FileServer(http.Dir(site)))
	defer server.Close()
	page := browsertest.Open(t)
	page.Visit(server.URL + "/docs/architecture.html")
	page.Wait("document.querySelectorAll('pre.mermaid svg').length >= 3")
	page.Click(".VPNavBarSearchButton, #local-search button")
	page.Wait("document.activeElement && document.activeElement.id === 'localsearch-input'")
	page.Type("maxmemory")
	page.Wait("[...document.querySelectorAll('.VPLocalSearchBox a.result')].some(a => a.href.includes('/docs/how-to/redis'))")
	if path := os.Getenv("PICTURE"); path != "" {
		page.Visit(server.URL + "/")
		page.Wait("document.querySelectorAll('pre.mermaid svg').length > 0")
		if err := os.WriteFile(path, page.Picture(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
