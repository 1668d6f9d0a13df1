// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachewright/cachewright/cache/internal/entries"
	"github.com/cachewright/cachewright/registry"
)

// diary is an Observer that writes down its calls.
type diary struct {
	mu      sync.Mutex
	lines   []string
	figures func() Figures
	stopped bool
}

func (d *diary) write(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, fmt.Sprintf(format, args...))
}

// read returns what was written since it was last read.
func (d *diary) read() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	lines := d.lines
	d.lines = nil
	return lines
}

func (d *diary) Watch(_ string, figures func() Figures) func() {
	d.figures = figures
	return func() { d.stopped = true }
}

type seen struct{}

func (d *diary) StartRequest(ctx context.Context, r Request) (context.Context, func(Outcome, error)) {
	return context.WithValue(ctx, seen{}, true), func(outcome Outcome, err error) {
		d.write("%s %s.%s: %s, %v", r.Verb, r.Module, r.Operation, outcome, err)
	}
}

func (d *diary) StartLoad(ctx context.Context, module, operation string) (context.Context, func(error)) {
	return ctx, func(err error) {
		d.write("load %s.%s, of a request: %v, %v", module, operation, ctx.Value(seen{}) != nil, err)
	}
}

func (d *diary) StartInvalidation(ctx context.Context, i Invalidation) (context.Context, func(error)) {
	return ctx, func(err error) {
		d.write("invalidate %s %s.%s, soft: %v, queued: %v", i.Extent, i.Module, i.Operation, i.Soft, errors.Is(err, ErrQueued))
	}
}

func (d *diary) Filled(_ context.Context, module, operation string, fill Fill) {
	d.write("fill %s.%s: %s", module, operation, fill)
}

func (d *diary) Audited(_ context.Context, module, operation string, result AuditResult) {
	d.write("audit %s.%s: %s", module, operation, result)
}

func fresh(context.Context, registry.Key) (registry.Lookup, error) {
	return registry.Lookup{Hit: true, Payload: []byte(`"cached"`), Remaining: time.Minute}, nil
}

// Each row has the answer of Redis, and what the observer sees of the request.
func TestObserverSeesWhereAnswersComeFrom(t *testing.T) {
	const loaded = "load users.get, of a request: true, <nil>"
	answer := func(lookup registry.Lookup) func(context.Context, registry.Key) (registry.Lookup, error) {
		return func(context.Context, registry.Key) (registry.Lookup, error) { return lookup, nil }
	}
	fails := func(context.Context, registry.Key) (registry.Lookup, error) { return registry.Lookup{}, errDown }
	for name, test := range map[string]struct {
		store *stubStore
		key   Key
		get   string
		fetch []string
	}{
		"fresh": {
			store: &stubStore{OnRead: fresh},
			get:   "get users.get: hit, <nil>",
			fetch: []string{"fetch users.get: hit, <nil>"},
		},
		"negative": {
			store: &stubStore{OnRead: answer(registry.Lookup{Hit: true, Negative: true, Remaining: time.Minute})},
			get:   "get users.get: hit, not found",
			fetch: []string{"fetch users.get: hit, not found"},
		},
		"miss": {
			get:   "get users.get: miss, <nil>",
			fetch: []string{loaded, "fill users.get: stored", "fetch users.get: miss, <nil>"},
		},
		"fenced": {
			store: &stubStore{OnSet: func(context.Context, registry.Key) (registry.Filled, error) {
				return registry.Filled{Outcome: registry.Fenced}, nil
			}},
			get:   "get users.get: miss, <nil>",
			fetch: []string{loaded, "fill users.get: fenced", "fetch users.get: miss, <nil>"},
		},
		"refused": {
			store: &stubStore{OnSet: func(context.Context, registry.Key) (registry.Filled, error) {
				return registry.Filled{Outcome: registry.Refused}, nil
			}},
			get:   "get users.get: miss, <nil>",
			fetch: []string{loaded, "fill users.get: refused", "fetch users.get: miss, <nil>"},
		},
		"fill fails": {
			store: &stubStore{OnSet: func(context.Context, registry.Key) (registry.Filled, error) { return registry.Filled{}, errDown }},
			get:   "get users.get: miss, <nil>",
			fetch: []string{loaded, "fill users.get: error", "fetch users.get: miss, <nil>"},
		},
		"not cached": {
			store: &stubStore{OnLease: answer(registry.Lookup{Token: "0"})},
			get:   "get users.get: miss, <nil>",
			fetch: []string{loaded, "fetch users.get: bypass, <nil>"},
		},
		"Redis fails": {
			store: &stubStore{OnRead: fails},
			get:   "get users.get: error, " + errDown.Error(),
			fetch: []string{loaded, "fetch users.get: error, <nil>"},
		},
		"no lease": {
			store: &stubStore{OnLease: fails},
			get:   "get users.get: miss, <nil>",
			fetch: []string{loaded, "fetch users.get: error, <nil>"},
		},
		"no such params": {
			key:   Key{Module: "users", Operation: "get", Params: "\xff"},
			get:   "get users.get: error, ",
			fetch: []string{loaded, "fetch users.get: error, <nil>"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			reported, store := &diary{}, test.store
			if store == nil {
				store = &stubStore{}
			}
			withClient(t, store, func(t *testing.T, c *Client) {
				key := test.key
				if key.Module == "" {
					key = usersGet
				}
				_, _ = Fetch(t.Context(), c, key, func(context.Context) (string, error) { return "loaded", nil })
				if got := reported.read(); !slices.Equal(got, test.fetch) {
					t.Errorf("Fetch reported\n%q, want\n%q", got, test.fetch)
				}
				var out string
				_, _ = c.Get(t.Context(), key, &out)
				if got := reported.read(); len(got) != 1 || !strings.HasPrefix(got[0], test.get) {
					t.Errorf("Get reported %q, want %q", got, test.get)
				}
			}, WithObserver(reported), WithLoadWait(0))
		})
	}
}

func TestObserverSeesStaleHitsAndTheirRefresh(t *testing.T) {
	reported := &diary{}
	store := &stubStore{
		OnRead: func(context.Context, registry.Key) (registry.Lookup, error) {
			return registry.Lookup{Hit: true, Stale: true, Payload: []byte(`"cached"`)}, nil
		},
		OnLease: func(context.Context, registry.Key) (registry.Lookup, error) {
			return registry.Lookup{Hit: true, Stale: true, Payload: []byte(`"cached"`), Token: "1token", Cacheable: true}, nil
		},
	}
	withClient(t, store, func(t *testing.T, c *Client) {
		_, _ = Fetch(t.Context(), c, usersGet, func(context.Context) (string, error) { return "loaded", nil })
		synctest.Wait() // the refresh may come before the end of the request, or after
		got := reported.read()
		slices.Sort(got)
		want := []string{"fetch users.get: stale, <nil>", "fill users.get: stored", "load users.get, of a request: true, <nil>"}
		if !slices.Equal(got, want) {
			t.Errorf("reported %q, want %q", got, want)
		}
	}, WithObserver(reported))
}

func TestObserverSeesALoaderThatPanics(t *testing.T) {
	reported := &diary{}
	withClient(t, &stubStore{}, func(t *testing.T, c *Client) {
		func() {
			defer func() { _ = recover() }()
			_, _ = Fetch(t.Context(), c, usersGet, func(context.Context) (string, error) { panic("boom") })
		}()
		want := []string{
			"load users.get, of a request: true, " + errNoReturn.Error(),
			"fetch users.get: miss, " + errNoReturn.Error(),
		}
		if got := reported.read(); !slices.Equal(got, want) {
			t.Errorf("reported %q", got)
		}
	}, WithObserver(reported))
}

func TestObserverSeesInvalidations(t *testing.T) {
	reported := &diary{}
	store := &stubStore{OnModules: func() ([]string, error) { return []string{"users"}, nil }}
	withClient(t, store, func(t *testing.T, c *Client) {
		ctx := t.Context()
		_ = c.InvalidateModule(ctx, "users")
		_ = c.InvalidateOperation(ctx, "users", "get")
		_ = c.InvalidateUser(ctx, "ada")
		_ = c.InvalidateSoftly(ctx, Scope{Module: "users", Operation: "get", User: "ada"})
		_ = c.Delete(ctx, usersGet)
		store.OnInvalidate = func(context.Context, registry.Slot, registry.Scope) error { return errDown }
		_ = c.InvalidateModule(ctx, "users")
		want := []string{
			"invalidate module users., soft: false, queued: false",
			"invalidate operation users.get, soft: false, queued: false",
			"invalidate user users., soft: false, queued: false",
			"invalidate user users.get, soft: true, queued: false",
			"invalidate entry users.get, soft: false, queued: false",
			"invalidate module users., soft: false, queued: true",
		}
		if got := reported.read(); !slices.Equal(got, want) {
			t.Errorf("reported\n%q, want\n%q", got, want)
		}
		if figures := c.figures(); figures.QueuedInvalidations != 1 {
			t.Errorf("%+v", figures)
		}
		reported.read()
		_, _ = Fetch(ctx, c, usersGet, func(context.Context) (string, error) { return "loaded", nil })
		if got := reported.read(); len(got) != 2 || got[1] != "fetch users.get: bypass, <nil>" {
			t.Errorf("with an invalidation that waits: reported %q", got)
		}
	}, WithObserver(reported))
}

func TestFiguresShowOpenBreakers(t *testing.T) {
	store := &stubStore{OnRead: func(context.Context, registry.Key) (registry.Lookup, error) { return registry.Lookup{}, errDown }}
	withClient(t, store, func(t *testing.T, c *Client) {
		open := func() []BreakerFigure {
			return slices.DeleteFunc(c.figures().Breakers, func(b BreakerFigure) bool { return !b.Open })
		}
		for range breakerFailures {
			if got := open(); len(got) != 0 {
				t.Fatalf("open too early: %v", got)
			}
			mustFetch(t.Context(), t, c, usersGet)
		}
		if got, want := open(), []BreakerFigure{{Module: "users", Open: true}}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		time.Sleep(breakerPause + 1)
		if got := open(); len(got) != 0 {
			t.Errorf("open for too long: %v", got)
		}
	})
}

// Without an observer or an audit, a Fetch allocates no more than without these features.
func TestWhatIsSwitchedOffIsFree(t *testing.T) {
	c, err := newStubClient(&stubStore{OnRead: fresh}, "shop")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	ctx := t.Context()
	load := func(context.Context) (any, error) { return "loaded", nil }
	var out string
	const runs = 1000
	bare := testing.AllocsPerRun(runs, func() { _, _ = c.entries.Fetch(ctx, entries.Key(usersGet), &out, load) })
	off := testing.AllocsPerRun(runs, func() { _ = c.Fetch(ctx, usersGet, &out, load) })
	c.observer = &diary{}
	on := testing.AllocsPerRun(runs, func() { _ = c.Fetch(ctx, usersGet, &out, load) })
	if off != bare {
		t.Errorf("a Fetch without an observer allocates %v times, without the hook %v", off, bare)
	}
	if on <= off {
		t.Errorf("a Fetch with an observer allocates %v times, without %v: the test does not see the difference", on, off)
	}
}

// Applications that do not use OpenTelemetry do not depend on it.
func TestThePackageDoesNotImportOpenTelemetry(t *testing.T) {
	deps, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(deps), "github.com/redis/go-redis/v9\n") {
		t.Fatalf("these are no dependencies:\n%s", deps)
	}
	for _, dep := range strings.Fields(string(deps)) {
		if strings.HasPrefix(dep, "go.opentelemetry.io/") {
			t.Errorf("it imports %s", dep)
		}
	}
}
