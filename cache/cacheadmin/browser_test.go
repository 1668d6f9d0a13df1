// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cacheadmin

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/cache/cachetest"
	"github.com/cachewright/cachewright/internal/browsertest"
	"github.com/cachewright/cachewright/registry"
)

// hostile are names of operations that a tenant may write, and that no policy could have.
var hostile = []string{
	`<script>document.title='evil'</script>`, `"><img src=x onerror=alert(1)>`, "a/b?c#d%2F;e", "\u202egnp.exe", "\xff\x00\r\n", `{{.Root}}`,
}

// In a browser: the page shows the modules, its buttons purge, and foreign names stay text.
func TestInABrowser(t *testing.T) {
	fake, h := shop(t)
	for range 7 {
		left(t, fake) // reads
	}
	server := httptest.NewServer(h)
	defer server.Close()
	page := browsertest.Open(t)
	page.Visit(server.URL + prefix)

	if text := page.Text(); !strings.Contains(text, "users") || !strings.Contains(text, "3 keys") {
		t.Error("the page shows no modules:", text)
	}
	checkStyleAndTitle(t, page)
	savePicture(t, page)

	writeForeignNames(t, fake)
	page.Visit(server.URL + prefix)
	if text := page.Text(); !strings.Contains(text, hostile[0]) {
		t.Error("the page lacks a foreign name:", text)
	}
	checkStyleAndTitle(t, page)

	purge(page, `details:has(form[action="module/users/operation/list"])`)
	if got := fmt.Sprint(left(t, fake)); got != "[0 1 3 4]" {
		t.Error("after a purge of an operation are left:", got)
	}
	if text := page.Text(); !strings.Contains(text, purged.Message) {
		t.Error("the page does not say that it purged:", text)
	}
	purge(page, `details:has(form[action="module/users"])`)
	if got := fmt.Sprint(left(t, fake)); got != "[3 4]" {
		t.Error("after a purge of a module are left:", got)
	}
	page.Click("input[name=user]")
	page.Type("jane@example.com")
	press(page, "#user button")
	if got := fmt.Sprint(left(t, fake)); got != "[4]" {
		t.Error("after a purge of a user are left:", got)
	}
	var address string
	page.Evaluate("location.href", &address)
	if strings.Contains(address, "jane") {
		t.Error("the user is in the address:", address)
	}
	for range hostile { // one that has no entries any more is not shown
		purge(page, `section:nth-of-type(3) tbody tr:first-child details`)
	}
	if found, err := fake.Stats(t.Context(), "foreign"); err != nil || found[0].Keys != 0 {
		t.Error("the buttons of foreign names do not purge:", found, err)
	}
	checkStyleAndTitle(t, page)
}

// writeForeignNames stores entries of operations with hostile names.
func writeForeignNames(t *testing.T, fake *cachetest.Fake) {
	t.Helper()
	fake.SetPolicy("foreign", registry.Policy{DefaultTTL: new(time.Hour)})
	for _, name := range hostile {
		if err := fake.Set(t.Context(), cache.Key{Module: "foreign", Operation: name}, "x"); err != nil {
			t.Fatal(err)
		}
	}
}

// savePicture writes the picture that docs/applications.md shows, to the file PICTURE if that is set.
func savePicture(t *testing.T, page *browsertest.Page) {
	t.Helper()
	if path := os.Getenv("PICTURE"); path != "" {
		if err := os.WriteFile(path, page.Picture(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// checkStyleAndTitle fails if the page has no style, or a script of a foreign name ran.
func checkStyleAndTitle(t *testing.T, page *browsertest.Page) {
	t.Helper()
	var title, border string
	page.Evaluate("document.title", &title)
	page.Evaluate("getComputedStyle(document.querySelector('section')).borderRadius", &border)
	if title != "Cache" || border != "8px" {
		t.Errorf("the title is %q, and the corners are %q", title, border)
	}
	var foreign int
	page.Evaluate("document.querySelectorAll('script, img').length", &foreign)
	if foreign != 0 {
		t.Error("a foreign name became an element")
	}
}

// purge opens details and presses the first button in them.
func purge(page *browsertest.Page, details string) {
	page.Click(details + " summary")
	page.Wait(fmt.Sprintf("document.querySelector(%q).checkVisibility()", details+" button"))
	press(page, details+" button")
}

// press presses a button, and waits for the page that follows.
func press(page *browsertest.Page, button string) {
	var ignored bool
	page.Evaluate("window.before = true", &ignored)
	page.Click(button)
	page.Wait("!window.before && document.readyState === 'complete' && document.querySelector('#notice')")
}

// A page of another site sends a form, as attackers do. The browser's own headers give it away.
func TestAnotherSiteInABrowser(t *testing.T) {
	fake, h := shop(t)
	server := httptest.NewServer(h)
	defer server.Close()
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprintf(w, `<form method="post" action="%s"><button>You won</button></form>`, server.URL+prefix+"/module/users")
	}))
	defer other.Close()
	page := browsertest.Open(t)
	page.Visit(strings.Replace(other.URL, "127.0.0.1", "localhost", 1))
	press(page, "button")
	if text := page.Text(); !strings.Contains(text, "another site") {
		t.Error(text)
	}
	if got := len(left(t, fake)); got != len(entries()) {
		t.Errorf("another site purged: %d entries are left", got)
	}
}
