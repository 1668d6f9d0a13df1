// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachewright/cachewright/cache/internal/background"
	"github.com/cachewright/cachewright/cache/internal/storetest"
	"github.com/cachewright/cachewright/registry"
)

const (
	timeout             = 100 * time.Millisecond
	invalidationTimeout = 2 * time.Second
)

var usersGet = registry.Key{Slot: registry.Slot{Namespace: "shop", Module: "users"}, Operation: "get", ID: "1"}

// hooked records what the hooks were called with.
type hooked struct {
	mu    sync.Mutex
	calls []string
}

func (h *hooked) add(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls = append(h.calls, fmt.Sprintf(format, args...))
}

// take returns the calls since it was last called.
func (h *hooked) take() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	calls := h.calls
	h.calls = nil
	return calls
}

func (h *hooked) hooks() Hooks {
	return Hooks{
		Failed: func(module, operation string, _ error) { h.add("failed %s.%s", module, operation) },
		Filled: func(_ context.Context, key registry.Key, outcome registry.Outcome, err error) {
			h.add("filled %s.%s: %d, %v", key.Module, key.Operation, outcome, err)
		},
		Recovered: func() { h.add("recovered") },
		Leased:    func(module string) { h.add("leased %s", module) },
		Bypassed:  func(module, operation string) { h.add("bypassed %s.%s", module, operation) },
		Changed: func(slot registry.Slot, operation, user string) {
			h.add("changed %s %s %s", slot.Module, operation, user)
		},
		Deleted: func(key registry.Key) { h.add("deleted %s %s %s", key.Module, key.Operation, key.ID) },
	}
}

// withHooks runs a test with a Gateway, in a bubble with a clock of its own.
func withHooks(t *testing.T, store Store, test func(t *testing.T, g *Gateway, h *hooked)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := &hooked{}
		runner := background.New(func(value any) { t.Error(value) })
		test(t, New(Config{
			Store: store, Namespace: "shop", Timeout: timeout, InvalidationTimeout: invalidationTimeout,
			Background: runner, Hooks: h.hooks(),
		}), h)
		_ = runner.Close(context.Background())
	})
}

func withGateway(t *testing.T, store Store, test func(t *testing.T, g *Gateway)) {
	t.Helper()
	withHooks(t, store, func(t *testing.T, g *Gateway, _ *hooked) { test(t, g) })
}

func TestHooksSeeWhatHappened(t *testing.T) {
	store := &storetest.Store{}
	withHooks(t, store, func(t *testing.T, g *Gateway, h *hooked) {
		ctx := t.Context()
		for _, step := range []struct {
			name string
			call func() error
			want []string
		}{
			{"read", func() error { _, err := g.Read(ctx, usersGet); return err }, nil},
			{"lease", func() error { _, err := g.Lease(ctx, timeout, usersGet, 0); return err }, []string{"leased users"}},
			{
				"fill", func() error {
					_, err := g.Fill(ctx, timeout, usersGet, nil, "token", registry.FillOptions{})
					return err
				},
				[]string{fmt.Sprintf("filled users.get: %d, <nil>", registry.Stored)},
			},
			{
				"put", func() error { _, err := g.Put(ctx, timeout, usersGet, nil); return err },
				[]string{"deleted users get " + usersGet.ID, fmt.Sprintf("filled users.get: %d, <nil>", registry.Stored), "leased users"},
			},
			{"remove", func() error { return g.Remove(ctx, timeout, usersGet) }, []string{"deleted users get " + usersGet.ID}},
			{"remove, unguarded", func() error { return g.RemoveUnguarded(ctx, usersGet) }, []string{"deleted users get " + usersGet.ID}},
			{
				"invalidate", func() error { return g.Invalidate(ctx, "users", registry.Scope{User: "ada"}, registry.ModeHard) },
				[]string{"changed users  ada"},
			},
		} {
			if err := step.call(); err != nil {
				t.Errorf("%s: %v", step.name, err)
			}
			if got := h.take(); !slices.Equal(got, step.want) {
				t.Errorf("%s: the hooks were called with %q, want %q", step.name, got, step.want)
			}
		}
	})
}

func TestFailuresAreReportedUnlessTheCallerLeft(t *testing.T) {
	store := &storetest.Store{OnRead: func(ctx context.Context, _ registry.Key) (registry.Lookup, error) {
		return registry.Lookup{}, storetest.Hang(ctx)
	}}
	withHooks(t, store, func(t *testing.T, g *Gateway, h *hooked) {
		began := time.Now()
		if _, err := g.Read(t.Context(), usersGet); !errors.Is(err, registry.ErrUnreachable) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took != timeout {
			t.Errorf("it took %s, want the timeout", took)
		}
		if got := h.take(); !slices.Equal(got, []string{"failed users.get"}) {
			t.Errorf("got %q", got)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(timeout/2, cancel)
		_, _ = g.Read(ctx, usersGet)
		if got := h.take(); len(got) != 0 {
			t.Errorf("a caller left: %q", got)
		}
	})
}

func TestACallLeavesItsCallerHalfOfTheTime(t *testing.T) {
	store := &storetest.Store{OnRead: func(ctx context.Context, _ registry.Key) (registry.Lookup, error) {
		return registry.Lookup{}, storetest.Hang(ctx)
	}}
	withGateway(t, store, func(t *testing.T, g *Gateway) {
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		defer cancel()
		began := time.Now()
		_, _ = g.Read(ctx, usersGet)
		if took := time.Since(began); took != timeout/2 {
			t.Errorf("it took %s, want %s", took, timeout/2)
		}
	})
}

func TestABreakerOpensAfterFailuresInARowAndClosesAfterATrial(t *testing.T) {
	down := true
	store := &storetest.Store{OnRead: func(context.Context, registry.Key) (registry.Lookup, error) {
		if down {
			return registry.Lookup{}, storetest.ErrDown
		}
		return registry.Lookup{}, nil
	}}
	withHooks(t, store, func(t *testing.T, g *Gateway, h *hooked) {
		for range maxFailures {
			if _, err := g.Read(t.Context(), usersGet); errors.Is(err, ErrPaused) {
				t.Error("open too early")
			}
		}
		if _, err := g.Read(t.Context(), usersGet); !errors.Is(err, ErrPaused) || !errors.Is(err, registry.ErrUnreachable) {
			t.Errorf("got %v, want ErrPaused", err)
		}
		if got, want := g.Breakers(), []BreakerState{{Module: "users", Access: Reading, Open: true}}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		time.Sleep(pause + 1)
		h.take()
		_, _ = g.Read(t.Context(), usersGet) // it starts the trial
		synctest.Wait()
		if got := h.take(); !slices.Contains(got, "failed users.") || slices.Contains(got, "recovered") {
			t.Errorf("a trial that failed is reported as %q", got)
		}
		down = false
		time.Sleep(pause + 1)
		_, _ = g.Read(t.Context(), usersGet)
		synctest.Wait()
		if got := h.take(); !slices.Contains(got, "recovered") {
			t.Errorf("a trial that succeeded is reported as %q", got)
		}
		if _, err := g.Read(t.Context(), usersGet); err != nil {
			t.Errorf("after a trial that succeeded: %v", err)
		}
	})
}

func TestInvalidationsPassAnOpenBreaker(t *testing.T) {
	store := &storetest.Store{OnInvalidate: func(ctx context.Context, _ registry.Slot, _ registry.Scope) error {
		return storetest.Hang(ctx)
	}}
	withGateway(t, store, func(t *testing.T, g *Gateway) {
		for range 2 * maxFailures {
			began := time.Now()
			err := g.Invalidate(t.Context(), "users", registry.Scope{}, registry.ModeHard)
			if errors.Is(err, ErrPaused) || time.Since(began) != invalidationTimeout {
				t.Errorf("%v after %s", err, time.Since(began))
			}
		}
	})
}

func TestNothingIsLeasedWhileRedisTakesNoFills(t *testing.T) {
	store := &storetest.Store{OnSet: func(context.Context, registry.Key) (registry.Filled, error) {
		return registry.Filled{}, registry.ErrOutOfMemory
	}}
	withGateway(t, store, func(t *testing.T, g *Gateway) {
		for range maxFailures {
			_, _ = g.Fill(t.Context(), timeout, usersGet, nil, "token", registry.FillOptions{})
		}
		if _, err := g.Lease(t.Context(), timeout, usersGet, 0); !errors.Is(err, ErrPaused) || store.Called("lease") != 0 {
			t.Errorf("got %v after %d leases", err, store.Called("lease"))
		}
		if _, err := g.Read(t.Context(), usersGet); err != nil {
			t.Errorf("a read: %v", err)
		}
	})
}

func TestAPanicOverAnAnswerIsAnError(t *testing.T) {
	store := &storetest.Store{
		OnRead:       func(context.Context, registry.Key) (registry.Lookup, error) { panic("read") },
		OnInvalidate: func(context.Context, registry.Slot, registry.Scope) error { panic("invalidate") },
		OnModules:    func() ([]string, error) { panic("modules") },
	}
	withGateway(t, store, func(t *testing.T, g *Gateway) {
		_, readErr := g.Read(t.Context(), usersGet)
		_, modulesErr := g.Modules(t.Context())
		invalidateErr := g.Invalidate(t.Context(), "users", registry.Scope{}, registry.ModeHard)
		for what, err := range map[string]error{"read": readErr, "modules": modulesErr, "invalidate": invalidateErr} {
			if !errors.Is(err, registry.ErrMisbehaves) {
				t.Errorf("%s: %v, want ErrMisbehaves", what, err)
			}
		}
	})
}

// An application that makes module names up, for example from what its users send, does not make
// breakers without end.
func TestBreakersAreBounded(t *testing.T) {
	var b breakers
	first := b.of(use{"users", Reading})
	for i := range 2 * maxBreakers {
		b.of(use{fmt.Sprint(i), Reading})
	}
	kept := 0
	b.byUse.Range(func(any, any) bool { kept++; return true })
	if kept > maxBreakers+1 {
		t.Errorf("%d breakers are kept", kept)
	}
	if b.of(use{"users", Reading}) != first || b.of(use{"another", Reading}) == first {
		t.Error("modules that were there first lose their breaker")
	}
}
