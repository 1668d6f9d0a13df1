// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachewright/cachewright/cache/internal/audit"
	"github.com/cachewright/cachewright/registry"
)

// cachedAs returns a store in which each entry has this payload.
func cachedAs(payload string) *stubStore {
	return &stubStore{OnRead: func(context.Context, registry.Key) (registry.Lookup, error) {
		return registry.Lookup{Hit: true, Payload: []byte(payload), Remaining: time.Hour}, nil
	}}
}

func totals(c *Client) (sum AuditStats) {
	for _, stats := range c.Audits() {
		sum.Consistent += stats.Consistent
		sum.Inconsistent += stats.Inconsistent
		sum.Inconclusive += stats.Inconclusive
	}
	return sum
}

// Audits compare values, not their encodings.
func TestAuditComparesValues(t *testing.T) {
	type user struct {
		Name string          `json:"name"`
		Tags []string        `json:"tags,omitempty"`
		Raw  json.RawMessage `json:"raw,omitempty"`
		At   time.Time       `json:"at,omitzero"`
		memo int
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, test := range map[string]struct {
		cached string
		loaded user
		equal  func(cached, loaded any) bool
		want   bool
	}{
		"the same bytes":             {cached: `{"name":"ada"}`, loaded: user{Name: "ada"}, want: true},
		"another program's encoding": {cached: `{ "tags": [], "name": "ad\u0061", "more": 1 }`, loaded: user{Name: "ada"}, want: true},
		"raw bytes spaced otherwise": {cached: `{"raw":{"a": 1},"name":"ada"}`, loaded: user{Name: "ada", Raw: json.RawMessage(`{"a":1}`)}, want: true},
		"what is not encoded":        {cached: `{"name":"ada"}`, loaded: user{Name: "ada", memo: 7}, want: true},
		"a time in another zone":     {cached: `{"at":"2026-01-02T03:04:05Z"}`, loaded: user{At: at.In(time.FixedZone("", 3600))}, want: false},
		"another value":              {cached: `{"name":"ada"}`, loaded: user{Name: "bob"}, want: false},
		"Equal says they are the same": {
			cached: `{"name":"ada","at":"2026-01-02T03:04:05Z"}`, loaded: user{Name: "ada", At: at.Add(time.Hour)}, want: true,
			equal: func(cached, loaded any) bool { return cached.(user).Name == loaded.(user).Name },
		},
		"Equal says they differ": {
			cached: `{"name":"ada"}`, loaded: user{Name: "ada"}, want: false,
			equal: func(any, any) bool { return false },
		},
	} {
		t.Run(name, func(t *testing.T) {
			withClient(t, cachedAs(test.cached), func(t *testing.T, c *Client) {
				if _, err := Fetch(t.Context(), c, usersGet, func(context.Context) (user, error) { return test.loaded, nil }); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * audit.Rule{}.WithDefaults().Grace)
				synctest.Wait()
				got := totals(c)
				if want := (AuditStats{Consistent: 1}); test.want && got != want {
					t.Errorf("got %+v, want them to be equal", got)
				}
				if want := (AuditStats{Inconsistent: 1}); !test.want && got != want {
					t.Errorf("got %+v, want them to differ", got)
				}
			}, WithAudit(Audit{Share: 1, Equal: test.equal}))
		})
	}
}

// Audits load in the background, and only a few entries at a time.
func TestAuditsNeitherHoldUpCallersNorFloodTheSource(t *testing.T) {
	withClient(t, cachedAs(`"cached"`), func(t *testing.T, c *Client) {
		var now, most atomic.Int64
		start := time.Now()
		const reads = 100
		for range reads {
			got, err := Fetch(t.Context(), c, usersGet, func(ctx context.Context) (string, error) {
				most.Store(max(most.Load(), now.Add(1)))
				defer now.Add(-1)
				<-ctx.Done() // a source that hangs
				return "", ctx.Err()
			})
			if got != "cached" || err != nil {
				t.Fatalf("got %q, %v", got, err)
			}
		}
		if waited := time.Since(start); waited != 0 {
			t.Errorf("callers were held up for %s", waited)
		}
		time.Sleep(defaultRefreshTimeout)
		synctest.Wait()
		if got := most.Load(); got == 0 || got > maxAudits {
			t.Errorf("%d loads at once, want 1 to %d", got, maxAudits)
		}
		if got, want := totals(c), (AuditStats{Inconclusive: maxAudits}); got != want {
			t.Errorf("got %+v, want %+v: a source that hangs is given up", got, want)
		}
	}, WithAudit(Audit{Share: 1}))
}

func TestAuditOfAnEntryThatRedisCannotShowIsInconclusive(t *testing.T) {
	var failures atomic.Int64
	store := cachedAs(`"cached"`)
	withClient(t, store, func(t *testing.T, c *Client) {
		_, err := Fetch(t.Context(), c, usersGet, func(context.Context) (string, error) {
			store.OnRead = func(context.Context, registry.Key) (registry.Lookup, error) { return registry.Lookup{}, errDown }
			return "new", nil
		})
		synctest.Wait()
		if got := totals(c); err != nil || got != (AuditStats{Inconclusive: 1}) {
			t.Errorf("got %+v, %v", got, err)
		}
		if failures.Load() > 0 {
			t.Error("a failure was reported that no caller met")
		}
	}, WithAudit(Audit{Share: 1}), WithFailureHook(func(Failure) { failures.Add(1) }))
}

// The end of the process does not wait for a grace, and proves nothing.
func TestCloseEndsAudits(t *testing.T) {
	withClient(t, cachedAs(`"cached"`), func(t *testing.T, c *Client) {
		_, _ = Fetch(t.Context(), c, usersGet, func(ctx context.Context) (string, error) { return "new", ctx.Err() })
		synctest.Wait()
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if got := totals(c); got != (AuditStats{Inconclusive: 1}) {
			t.Errorf("got %+v", got)
		}
		_, _ = Fetch(t.Context(), c, usersGet, func(context.Context) (string, error) { return "new", errors.New("not to be called") })
		if got := totals(c); got != (AuditStats{Inconclusive: 1}) {
			t.Errorf("after Close: got %+v", got)
		}
	}, WithAudit(Audit{Share: 1}))
}

func TestPanicInAnAuditIsReported(t *testing.T) {
	reported := make(chan Failure, 1)
	withClient(t, cachedAs(`"cached"`), func(t *testing.T, c *Client) {
		_, _ = Fetch(t.Context(), c, usersGet, func(context.Context) (string, error) { panic("no user ada@example.com") })
		expectPanicReported(t, <-reported, "string", "TestPanicInAnAuditIsReported")
	}, WithAudit(Audit{Share: 1}), WithFailureHook(func(f Failure) { reported <- f }))
}

func TestStaleEntriesAreNotAudited(t *testing.T) {
	store := &stubStore{OnRead: func(context.Context, registry.Key) (registry.Lookup, error) {
		return registry.Lookup{Hit: true, Stale: true, Payload: []byte(`"cached"`)}, nil
	}}
	withClient(t, store, func(t *testing.T, c *Client) {
		_, _ = Fetch(t.Context(), c, usersGet, func(context.Context) (string, error) { return "new", nil })
		synctest.Wait()
		if got := totals(c); got != (AuditStats{}) {
			t.Errorf("got %+v", got)
		}
	}, WithAudit(Audit{Share: 1}))
}

func TestAuditRefusesWhatCannotWork(t *testing.T) {
	for _, rule := range []Audit{
		{},
		{Share: -1},
		{Share: 1.1},
		{Share: 1, Grace: -1},
		{Share: 1, Operations: []Operation{{Name: "get"}}},
	} {
		if _, err := newOptions("shop", []Option{WithAudit(rule)}); err == nil || !strings.Contains(err.Error(), "WithAudit") {
			t.Errorf("%+v: %v", rule, err)
		}
	}
}

func TestObserverSeesAudits(t *testing.T) {
	reported := &diary{}
	withClient(t, cachedAs(`"cached"`), func(t *testing.T, c *Client) {
		_, _ = Fetch(t.Context(), c, usersGet, func(context.Context) (string, error) { return "cached", nil })
		synctest.Wait()
		if got := reported.read(); !slices.Contains(got, "audit users.get: consistent") {
			t.Errorf("reported %q", got)
		}
	}, WithAudit(Audit{Share: 1}), WithObserver(reported))
}

func TestInconsistencyIsAShareOfWhatCouldBeJudged(t *testing.T) {
	if got := (AuditStats{Inconsistent: 1, Consistent: 1, Inconclusive: 2}).Inconsistency(); got != 0.5 {
		t.Errorf("inconsistency %v, want 0.5", got)
	}
	if got := (AuditStats{Inconclusive: 1}).Inconsistency(); got != 0 {
		t.Errorf("inconsistency %v, want 0", got)
	}
}
