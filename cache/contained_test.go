// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachewright/cachewright/cache/internal/redact"
	"github.com/cachewright/cachewright/registry"
)

// panicking returns a Redis whose answers cause panics, as an unforeseen reply may.
func panicking() *stubStore {
	return &stubStore{
		OnRead:       func(context.Context, registry.Key) (registry.Lookup, error) { panic("read") },
		OnLease:      func(context.Context, registry.Key) (registry.Lookup, error) { panic("lease") },
		OnSet:        func(context.Context, registry.Key) (registry.Filled, error) { panic("set") },
		OnDelete:     func(registry.Key) error { panic("delete") },
		OnInvalidate: func(context.Context, registry.Slot, registry.Scope) error { panic("invalidate") },
		OnReclaim:    func(context.Context, registry.Slot) (registry.Reclaimed, error) { panic("reclaim") },
		OnModules:    func() ([]string, error) { panic("modules") },
		OnPolicy:     func() (registry.Policy, error) { panic("policy") },
		OnReport:     func(context.Context, registry.Slot, string, registry.Counters) error { panic("report") },
	}
}

func TestAPanicOverAnAnswerOfRedisIsAnErrorForCallersAndEndsNothingInTheBackground(t *testing.T) {
	store := panicking()
	withClient(t, store, func(t *testing.T, c *Client) {
		for range 10 {
			mustFetch(t.Context(), t, c, usersGet)
		}
		var value string
		_, getErr := c.Get(t.Context(), Key{Module: "other", Operation: "get"}, &value)
		_, ttlErr := c.TTL(t.Context(), "users", "get")
		for what, err := range map[string]error{
			"Get": getErr, "TTL": ttlErr,
			"Set":              c.Set(t.Context(), Key{Module: "third", Operation: "get"}, "v"),
			"InvalidateModule": c.InvalidateModule(t.Context(), "users"),
			"InvalidateUser":   c.InvalidateUser(t.Context(), "ada"),
		} {
			if !errors.Is(err, registry.ErrMisbehaves) && !errors.Is(err, registry.ErrUnreachable) {
				t.Errorf("%s: %v, want ErrMisbehaves, or that a breaker is open", what, err)
			}
		}
		time.Sleep(time.Minute) // reports, deliveries, trials
		synctest.Wait()
		if store.Called("report") == 0 || store.Called("invalidate users") < 2 {
			t.Error("nothing goes on in the background")
		}
	})
}

// The outbox goes on after a delivery that panicked.
func TestAnInvalidationIsDeliveredThoughADeliveryPanicked(t *testing.T) {
	calls := 0
	store := &stubStore{OnInvalidate: func(context.Context, registry.Slot, registry.Scope) error {
		calls++
		if calls < 3 {
			panic("an answer that nobody thought of")
		}
		return nil
	}}
	withClient(t, store, func(t *testing.T, c *Client) {
		if err := c.InvalidateModule(t.Context(), "users"); !errors.Is(err, ErrQueued) {
			t.Errorf("got %v, want ErrQueued", err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if c.outbox.Waiting() {
			t.Error("it waits still")
		}
	})
}

// panickingObserver panics wherever the Client calls it, except in requests.
type panickingObserver struct{ diary }

func (*panickingObserver) Audited(context.Context, string, string, AuditResult) { panic("audited") }
func (*panickingObserver) StartInvalidation(context.Context, Invalidation) (context.Context, func(error)) {
	panic("invalidation")
}

func TestPanicsOfFunctionsOfTheApplicationInTheBackgroundDoNotEndTheProcess(t *testing.T) {
	store := &stubStore{
		OnRead:    fresh,
		OnModules: func() ([]string, error) { return []string{"users"}, nil },
		OnReport:  func(context.Context, registry.Slot, string, registry.Counters) error { return errDown },
	}
	var reported atomic.Int64
	hook := func(Failure) {
		reported.Add(1)
		panic("the hook, too")
	}
	audit := Audit{Share: 1, Grace: time.Second, Equal: func(_, _ any) bool { panic("equal") }, Inconsistent: func(Operation) { panic("inconsistent") }}
	withClient(t, store, func(t *testing.T, c *Client) {
		for range 3 {
			_, _ = Fetch(t.Context(), c, usersGet, func(context.Context) (string, error) { return "another", nil })
		}
		func() {
			defer func() { _ = recover() }() // in a caller, where the hook may panic
			if err := c.InvalidateUser(t.Context(), "ada"); !errors.Is(err, redact.ErrPanic) {
				t.Errorf("got %v, want that something panicked", err)
			}
		}()
		time.Sleep(time.Minute)
		synctest.Wait()
		if reported.Load() == 0 {
			t.Error("the hook was not called: the test shows nothing")
		}
	}, WithFailureHook(hook), WithObserver(&panickingObserver{}), WithAudit(audit))
}

func TestALoaderThatPanicsAfterItsCallerLeftEndsNothingThoughTheFailureHookPanicsToo(t *testing.T) {
	withClient(t, &stubStore{}, func(t *testing.T, c *Client) {
		ctx, cancel := context.WithCancel(t.Context())
		release := make(chan struct{})
		go func() {
			_, _ = Fetch(ctx, c, usersGet, func(context.Context) (string, error) {
				<-release
				panic("late")
			})
		}()
		synctest.Wait()
		cancel()
		synctest.Wait()
		close(release)
		synctest.Wait()
	}, WithFailureHook(func(Failure) { panic("the hook, too") }))
}
