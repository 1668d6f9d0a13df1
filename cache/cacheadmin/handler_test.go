// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cacheadmin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/cache/cachetest"
	"github.com/cachewright/cachewright/registry"
)

const prefix = "/admin/cache"

// shop returns a cache with entries of two modules and two users, and its endpoints below a prefix.
func shop(t *testing.T, opts ...Option) (*cachetest.Fake, http.Handler) {
	t.Helper()
	fake := cachetest.New()
	fake.SetPolicy("users", registry.Policy{
		DefaultTTL: new(time.Minute),
		Operations: []registry.OperationPolicy{{Name: "getById", TTL: 10 * time.Minute}, {Name: "list", TTL: time.Hour}},
	})
	fake.SetPolicy("auth", registry.Policy{Operations: []registry.OperationPolicy{{Name: "profile", TTL: time.Minute}}})
	for _, key := range entries() {
		if err := fake.Set(t.Context(), key, "x"); err != nil {
			t.Fatal(err)
		}
	}
	return fake, mount(t, fake, opts...)
}

func entries() []cache.Key {
	return []cache.Key{
		{Module: "users", Operation: "getById", Params: 1},
		{Module: "users", Operation: "getById", Params: 2, User: "jane@example.com"},
		{Module: "users", Operation: "list", User: "joe/../%2F"},
		{Module: "auth", Operation: "profile", User: "jane@example.com"},
		{Module: "auth", Operation: "profile", User: "joe/../%2F"},
	}
}

func mount(t *testing.T, c Cache, opts ...Option) http.Handler {
	t.Helper()
	h, err := New(c, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return http.StripPrefix(prefix, h)
}

// left are the entries that can still be read, by their index.
func left(t *testing.T, c cache.Cache) (found []int) {
	t.Helper()
	for i, key := range entries() {
		var value string
		ok, err := c.Get(t.Context(), key, &value)
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			found = append(found, i)
		}
	}
	return found
}

// call sends a request. A body is that of a form.
func call(t *testing.T, h http.Handler, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), method, "http://shop.example"+prefix+path, strings.NewReader(body))
	if method == http.MethodPost {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	recorder := httptest.NewRecorder()
	h.ServeHTTP(recorder, request)
	return recorder
}

func TestAPurgeCoversWhatItsPathNames(t *testing.T) {
	for _, c := range []struct {
		method, path, body string
		left               string
	}{
		{"DELETE", "/module/users", "", "[3 4]"},
		{"POST", "/module/users", "", "[3 4]"},
		{"DELETE", "/module/users/operation/list", "", "[0 1 3 4]"},
		{"POST", "/module/users/operation/list", "soft=false", "[0 1 3 4]"},
		{"DELETE", "/module/users/user/jane@example.com", "", "[0 2 3 4]"},
		{"DELETE", "/user/jane%40example.com", "", "[0 2 4]"},
		{"DELETE", "/user/" + url.PathEscape("joe/../%2F"), "", "[0 1 3]"},
		{"POST", "/user", "user=joe/..%2F%252F", "[0 1 3]"},
		{"POST", "/user", "user=joe/..%2F%252F&module=auth", "[0 1 2 3]"},
	} {
		t.Run(c.method+" "+c.path+" "+c.body, func(t *testing.T) {
			fake, h := shop(t)
			answer := call(t, h, c.method, c.path, c.body)
			if answer.Code != http.StatusOK || !strings.Contains(answer.Body.String(), `"status":"purged"`) {
				t.Error(answer.Code, answer.Body)
			}
			if got := fmt.Sprint(left(t, fake)); got != c.left {
				t.Errorf("left are %s, want %s", got, c.left)
			}
		})
	}
}

// A soft purge reaches the cache as one, and is not hard.
func TestASoftPurgeMakesStale(t *testing.T) {
	for _, c := range []struct {
		method, path, body string
		want               cache.Scope
	}{
		{"DELETE", "/module/users?soft=true", "", cache.Scope{Module: "users"}},
		{"POST", "/module/users/operation/list", "soft=true", cache.Scope{Module: "users", Operation: "list"}},
		{"DELETE", "/module/users/user/jane?soft=true", "", cache.Scope{Module: "users", User: "jane"}},
		{"POST", "/user", "user=jane&soft=true", cache.Scope{User: "jane"}},
	} {
		fake, h := shop(t)
		before := len(fake.Calls())
		answer := call(t, h, c.method, c.path, c.body)
		if answer.Code != http.StatusOK || !strings.Contains(answer.Body.String(), `"status":"stale"`) {
			t.Error(c.path, answer.Code, answer.Body)
		}
		got := fake.Calls()[before]
		if got.Method != "InvalidateSoftly" || (cache.Scope{Module: got.Module, Operation: got.Operation, User: got.User}) != c.want {
			t.Errorf("%s: the cache got %+v", c.path, got)
		}
	}
}

func TestStatisticsAndTTLs(t *testing.T) {
	_, h := shop(t)
	var all statistics
	decode(t, call(t, h, http.MethodGet, "/stats", ""), &all)
	if len(all.Modules) != 2 || all.Modules[1].Module != "users" || all.Modules[1].Keys != 3 || len(all.Modules[1].Operations) != 2 {
		t.Errorf("%+v", all)
	}
	if list := all.Modules[1].Operations[1]; list.Operation != "list" || list.TTLSeconds != 3600 || list.Keys != 1 {
		t.Errorf("%+v", list)
	}
	var some statistics
	decode(t, call(t, h, http.MethodGet, "/stats?module=auth", ""), &some)
	if len(some.Modules) != 1 || some.Modules[0].Module != "auth" {
		t.Errorf("%+v", some)
	}
	var one moduleStats
	decode(t, call(t, h, http.MethodGet, "/module/auth", ""), &one)
	if one.Keys != 2 {
		t.Errorf("%+v", one)
	}
	for operation, seconds := range map[string]float64{"getById": 600, "other": 60} {
		var ttl ttlAnswer
		decode(t, call(t, h, http.MethodGet, "/module/users/operation/"+operation, ""), &ttl)
		if ttl != (ttlAnswer{"users", operation, seconds}) {
			t.Errorf("%+v", ttl)
		}
	}
}

func decode(t *testing.T, answer *httptest.ResponseRecorder, into any) {
	t.Helper()
	if answer.Code != http.StatusOK || answer.Header().Get("Content-Type") != "application/json" {
		t.Fatal(answer.Code, answer.Header(), answer.Body)
	}
	if err := json.Unmarshal(answer.Body.Bytes(), into); err != nil {
		t.Fatal(err)
	}
}

// Nothing reaches the cache, and the answer repeats nothing of the request.
func TestBadRequestsReachNothing(t *testing.T) {
	const foreign = "FOREIGN"
	long := foreign + strings.Repeat("x", 300)
	for _, c := range []struct {
		method, path, body string
		status             int
	}{
		{"GET", "/FOREIGN", "", 404},
		{"GET", "/module/", "", 404},
		{"GET", "//stats", "", 404},
		{"GET", "/stats/", "", 404},
		{"GET", "/x/../stats", "", 404},
		{"DELETE", "/module/users/operation/", "", 404},
		{"DELETE", "/module/users/operation/list/user/jane", "", 404},
		{"DELETE", "/stats", "", 405},
		{"PUT", "/module/users", "", 405},
		{"GET", "/user/FOREIGN", "", 405},
		{"POST", "/user/FOREIGN", "", 405},
		{"FOREIGN", "/user", "", 405},
		{"DELETE", "/module/FOREIGN%20", "", 400},
		{"DELETE", "/module/%2E%2E%2FFOREIGN", "", 400},
		{"DELETE", "/module/" + long, "", 400},
		{"GET", "/module/" + long, "", 400},
		{"GET", "/module/users/operation/" + long, "", 400},
		{"DELETE", "/module/users/operation/" + long, "", 400},
		{"DELETE", "/module/users/user/" + long, "", 400},
		{"DELETE", "/user/" + long, "", 400},
		{"DELETE", "/module/users?sofft=true", "", 400},
		{"DELETE", "/module/users?soft=FOREIGN", "", 400},
		{"DELETE", "/module/users?soft=true&soft=true", "", 400},
		{"DELETE", "/module/users?user=FOREIGN", "", 400},
		{"DELETE", "/module/users?soft=%FOREIGN", "", 400},
		{"POST", "/module/users?soft=true", "", 400},
		{"POST", "/module/users", "module=FOREIGN", 400},
		{"POST", "/user", "user=", 400},
		{"POST", "/user", "module=users", 400},
		{"POST", "/user", "user=" + long, 400},
		{"POST", "/user", "user=FOREIGN&module=%20", 400},
		{"POST", "/user", "user=%FOREIGN", 400},
		{"POST", "/user", "user=" + strings.Repeat("x", 5000), 413},
		{"GET", "/stats?module=%20FOREIGN", "", 400},
		{"GET", "/stats?modul=FOREIGN", "", 400},
		{"GET", "/stats?" + strings.Repeat("module=FOREIGN&", 101), "", 400},
		{"GET", "/stats?module=%FOREIGN", "", 400},
	} {
		t.Run(c.method+" "+c.path, func(t *testing.T) {
			fake, h := shop(t)
			before := len(fake.Calls())
			answer := call(t, h, c.method, c.path, c.body)
			if answer.Code != c.status {
				t.Errorf("%d, want %d: %s", answer.Code, c.status, answer.Body)
			}
			var failed errorAnswer
			if err := json.Unmarshal(answer.Body.Bytes(), &failed); err != nil || len(failed.Error) < 20 {
				t.Errorf("the answer does not help: %s", answer.Body)
			}
			if strings.Contains(fmt.Sprint(answer.Header(), answer.Body), foreign) {
				t.Errorf("the answer repeats the request: %v %s", answer.Header(), answer.Body)
			}
			if calls := fake.Calls()[before:]; len(calls) > 0 {
				t.Errorf("the cache was called: %v", calls)
			}
		})
	}
	_, h := shop(t)
	if answer := call(t, h, http.MethodPost, "/user", `{"user":"x"}`, "Content-Type", "application/json"); answer.Code != http.StatusUnsupportedMediaType {
		t.Error(answer.Code, answer.Body)
	}
	if answer := call(t, h, http.MethodPut, "/module/users", ""); answer.Header().Get("Allow") != "DELETE, GET, POST" {
		t.Error(answer.Header())
	}
}

// Pages of other sites cannot make a browser purge. Programs that are no browsers send none of the
// headers.
func TestOtherSitesCannotPurge(t *testing.T) {
	for _, c := range []struct {
		headers []string
		status  int
	}{
		{nil, 200},
		{[]string{"Sec-Fetch-Site", "same-origin", "Origin", "http://shop.example"}, 200},
		{[]string{"Origin", "http://shop.example"}, 200},
		{[]string{"Sec-Fetch-Site", "cross-site", "Origin", "http://evil.example"}, 403},
		{[]string{"Sec-Fetch-Site", "same-site", "Origin", "http://other.shop.example"}, 403},
		{[]string{"Origin", "http://evil.example"}, 403},
		{[]string{"Origin", "null"}, 403},
		{[]string{"Sec-Fetch-Site", "cross-site", "Origin", "https://admin.example"}, 200},
	} {
		for method, path := range map[string]string{"DELETE": "/module/users", "POST": "/module/users"} {
			fake, h := shop(t, WithTrustedOrigin("https://admin.example"))
			answer := call(t, h, method, path, "", c.headers...)
			if answer.Code != c.status {
				t.Errorf("%s %v: %d, want %d", method, c.headers, answer.Code, c.status)
			}
			if purged := len(left(t, fake)) != len(entries()); purged != (c.status == 200) {
				t.Errorf("%s %v: purged: %v", method, c.headers, purged)
			}
		}
	}
	if _, err := New(cachetest.New(), WithTrustedOrigin("admin.example")); err == nil {
		t.Error("what is no origin is accepted")
	}
	if _, err := New(nil); err == nil {
		t.Error("a handler without a cache")
	}
}

// failing answers every call with an error.
type failing struct {
	Cache

	err error
}

func (f failing) InvalidateModule(context.Context, string) error { return f.err }

func (f failing) Stats(context.Context, ...string) ([]cache.ModuleStats, error) { return nil, f.err }

func (f failing) TTL(context.Context, string, string) (time.Duration, error) { return 0, f.err }

// What failed is said in words of our own, and never in those of the error.
func TestErrorsOfTheCacheAreExplained(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		text   string
	}{
		{registry.ErrUnreachable, 503, "does not answer"},
		{context.DeadlineExceeded, 503, "does not answer"},
		{registry.ErrModulesUnknown, 503, "Name the module"},
		{registry.ErrUnauthorized, 502, "ACL"},
		{registry.ErrForbidden, 502, "ACL"},
		{registry.ErrRejected, 502, "log"},
		{errors.New("x"), 502, "log"},
	} {
		h := mount(t, failing{err: fmt.Errorf("FOREIGN <script>: %w", c.err)})
		for method, path := range map[string]string{
			"GET": "/stats", "DELETE": "/module/users", "HEAD": "/module/users/operation/list",
		} {
			answer := call(t, h, method, path, "")
			if answer.Code != c.status || !strings.Contains(answer.Body.String(), c.text) || strings.Contains(answer.Body.String(), "FOREIGN") {
				t.Errorf("%v: %s %s: %d %s", c.err, method, path, answer.Code, answer.Body)
			}
		}
		page := call(t, h, http.MethodGet, "/", "")
		if page.Code != c.status || !strings.Contains(page.Body.String(), `role="alert"`) || strings.Contains(page.Body.String(), "FOREIGN") {
			t.Errorf("%v: %d %s", c.err, page.Code, page.Body)
		}
	}
}

func TestAPurgeThatWaitsForRedisSaysSo(t *testing.T) {
	fake, h := shop(t)
	fake.Fail(registry.ErrUnreachable)
	if answer := call(t, h, http.MethodDelete, "/module/users", ""); answer.Code != http.StatusAccepted || !strings.Contains(answer.Body.String(), `"status":"queued"`) {
		t.Error(answer.Code, answer.Body)
	}
	answer := call(t, h, http.MethodPost, "/module/users/operation/list", "", "Accept", "text/html,*/*")
	if answer.Code != http.StatusSeeOther || answer.Header().Get("Location") != "./../../../?done=queued" {
		t.Error(answer.Code, answer.Header())
	}
}

// A name with a typo purges nothing, and is not silent.
func TestAPurgeOfAnUnknownNameSaysSo(t *testing.T) {
	fake, h := shop(t)
	fake.SetPolicy("tags", registry.Policy{DefaultTTL: new(time.Minute)}) // and nothing was read yet
	for path, status := range map[string]string{
		"/module/user":                     "unlisted",
		"/module/auth/operation/profiles":  "unlisted",
		"/module/users/operation/whatever": "purged", // has the default TTL
		"/module/auth":                     "purged",
		"/module/tags":                     "purged",
		"/module/user/user/jane":           "purged", // says nothing about who has entries
	} {
		if answer := call(t, h, http.MethodDelete, path, ""); !strings.Contains(answer.Body.String(), `"status":"`+status+`"`) {
			t.Errorf("%s: %s, want %s", path, answer.Body, status)
		}
	}
}

// A purge goes on if its caller leaves, and does not go on without a limit.
func TestAPurgeOutlivesItsCaller(t *testing.T) {
	fake, _ := shop(t)
	h := mount(t, observed{fake, func(ctx context.Context) {
		if _, bounded := ctx.Deadline(); ctx.Err() != nil || !bounded {
			t.Errorf("the purge would end with its caller (%v), or never", ctx.Err())
		}
	}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodDelete, prefix+"/module/users", http.NoBody))
	if got := fmt.Sprint(left(t, fake)); got != "[3 4]" {
		t.Error(got)
	}
}

type observed struct {
	Cache

	see func(context.Context)
}

func (o observed) InvalidateModule(ctx context.Context, module string) error {
	o.see(ctx)
	return o.Cache.InvalidateModule(ctx, module)
}

// The endpoints work below any prefix, and without one.
func TestThePrefixAloneLeadsToThePage(t *testing.T) {
	h, err := New(cachetest.New())
	if err != nil {
		t.Fatal(err)
	}
	for _, prefix := range []string{"/admin/cache", "/a", "/x/javascript:z"} {
		server := httptest.NewServer(http.StripPrefix(prefix, h))
		for _, path := range []string{prefix, prefix + "?x=1", prefix + "/"} {
			response, err := server.Client().Get(server.URL + path)
			if err != nil {
				t.Fatal(err)
			}
			_ = response.Body.Close()
			if response.StatusCode != http.StatusOK || response.Request.URL.EscapedPath() != prefix+"/" {
				t.Errorf("%s: %d at %s", path, response.StatusCode, response.Request.URL)
			}
		}
		server.Close()
	}
	recorder := httptest.NewRecorder()
	h.ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody))
	if recorder.Code != http.StatusOK {
		t.Error(recorder.Code)
	}
}

// All answers keep out of caches, frames and other sites.
func TestAllAnswersAreProtected(t *testing.T) {
	_, h := shop(t)
	for _, path := range []string{"/", "/stats", "/style.css", "/nothing", ""} {
		answer := call(t, h, http.MethodGet, path, "")
		for name, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
			"X-Content-Type-Options":  "nosniff", "X-Frame-Options": "DENY", "Cache-Control": "no-store",
			"Referrer-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin",
		} {
			if got := answer.Header().Get(name); got != want {
				t.Errorf("%s: %s is %q", path, name, got)
			}
		}
	}
	for path, kind := range map[string]string{"/": "text/html; charset=utf-8", "/style.css": "text/css; charset=utf-8"} {
		if got := call(t, h, http.MethodGet, path, "").Header().Get("Content-Type"); got != kind {
			t.Errorf("%s is %s", path, got)
		}
	}
}
