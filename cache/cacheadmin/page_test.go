// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cacheadmin

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cachewright/cachewright/cache"
)

// stub answers with given statistics.
type stub struct {
	Cache

	stats []cache.ModuleStats
}

func (s stub) Stats(context.Context, ...string) ([]cache.ModuleStats, error) { return s.stats, nil }

// A tenant that writes garbage cannot make the page larger than a browser takes.
func TestThePageHasABoundedNumberOfRows(t *testing.T) {
	var modules []cache.ModuleStats
	for i := range 3 {
		module := cache.ModuleStats{Module: fmt.Sprint("m", i)}
		for j := range 600 {
			module.Operations = append(module.Operations, cache.OperationStats{Operation: fmt.Sprint("o", j)})
		}
		modules = append(modules, module)
	}
	page := call(t, mount(t, stub{stats: modules}), http.MethodGet, "/", "").Body.String()
	if rows := strings.Count(page, `<th scope="row">`); rows != maxRows || !strings.Contains(page, "800 operations are not shown") || !strings.Contains(page, "<h2>m2</h2>") {
		t.Errorf("%d rows", rows)
	}
}

func TestThePageShowsFigures(t *testing.T) {
	fake, h := shop(t)
	if _, err := fake.Hold(t.Context(), 90*time.Second, cache.Scope{Module: "users", Operation: "list"}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		left(t, fake)
	}
	page := call(t, h, http.MethodGet, "/", "").Body.String()
	for _, want := range []string{
		"<h2>auth</h2>", "<h2>users</h2>", `<th scope="row">getById<td>10m<td>2<td>100.0 %`,
		`action="module/users/operation/getById"`, `action="module/users"`, "Purge 2 keys", "1m30s",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s:\n%s", want, page)
		}
	}
	if strings.Contains(page, "jane") || strings.Contains(page, "joe") {
		t.Error("the page shows a user")
	}
}

// The message of a purge is chosen by a word, so that a link cannot put another one on the page.
func TestThePageShowsWhatAPurgeDid(t *testing.T) {
	_, h := shop(t)
	for query, want := range map[string]string{
		"": "", "?done=purged": purged.Message, "?done=queued": queued.Message, "?done=evil": "", "?done=%zz": "",
	} {
		page := call(t, h, http.MethodGet, "/"+query, "").Body.String()
		if got := strings.Contains(page, `id="notice"`); got != (want != "") || !strings.Contains(page, want) || strings.Contains(page, "evil") {
			t.Errorf("%s: %s", query, page)
		}
	}
}

func TestAFormThatFailsLeadsBack(t *testing.T) {
	_, h := shop(t)
	answer := call(t, h, http.MethodPost, "/module/users/operation/list", "soft=x", "Accept", "text/html")
	page := answer.Body.String()
	if answer.Code != http.StatusBadRequest || !strings.Contains(page, badSoft.text) || !strings.Contains(page, `href="./../../../"`) {
		t.Error(answer.Code, page)
	}
}

func TestDurationsAreShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "–", time.Hour: "1h", 10 * time.Minute: "10m", 90 * time.Minute: "1h30m", 90 * time.Second: "1m30s",
		250 * time.Millisecond: "250ms", 1499 * time.Millisecond: "1s", 720 * time.Hour: "720h", time.Hour + time.Second: "1h0m1s",
	} {
		if got := short(d); got != want {
			t.Errorf("%d is %s, want %s", d, got, want)
		}
	}
}
