// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/registry"
)

func TestNewRefusesWhatCannotWork(t *testing.T) {
	good := redis.NewClient(&redis.Options{ContextTimeoutEnabled: true})
	defer good.Close()
	deaf := redis.NewClient(&redis.Options{})
	defer deaf.Close()
	deafCluster := redis.NewClusterClient(&redis.ClusterOptions{})
	defer deafCluster.Close()
	for _, test := range []struct {
		name      string
		client    redis.UniversalClient
		namespace string
		options   []Option
		want      string
	}{
		{name: "a client that ignores deadlines", client: deaf, namespace: "shop", want: "ContextTimeoutEnabled"},
		{name: "a cluster client that ignores deadlines", client: deafCluster, namespace: "shop", want: "ContextTimeoutEnabled"},
		{name: "no namespace", client: good, want: "namespace"},
		{name: "a namespace with a brace", client: good, namespace: "shop}", want: "namespace"},
		{name: "no timeout", client: good, namespace: "shop", options: []Option{WithTimeout(0)}, want: "WithTimeout"},
		{name: "no timeout", client: good, namespace: "shop", options: []Option{WithInvalidationTimeout(-1)}, want: "WithInvalidationTimeout"},
		{name: "no interval", client: good, namespace: "shop", options: []Option{WithReportInterval(0)}, want: "WithReportInterval"},
		{name: "no time to refresh", client: good, namespace: "shop", options: []Option{WithRefreshTimeout(0)}, want: "WithRefreshTimeout"},
		{name: "too much time to refresh", client: good, namespace: "shop", options: []Option{WithRefreshTimeout(time.Hour)}, want: "WithRefreshTimeout"},
		{name: "a negative wait", client: good, namespace: "shop", options: []Option{WithLoadWait(-1)}, want: "WithLoadWait"},
		{name: "an empty schema", client: good, namespace: "shop", options: []Option{WithSchema("")}, want: "WithSchema"},
		{name: "a schema with a space", client: good, namespace: "shop", options: []Option{WithSchema("v2"), WithSchema("v 3")}, want: "WithSchema"},
		{name: "a schema that is too long", client: good, namespace: "shop", options: []Option{WithSchema(strings.Repeat("v", 65))}, want: "64"},
		{
			name: "a schema of no module", client: good, namespace: "shop",
			options: []Option{WithSchema("v2", Operation{Name: "get"})}, want: "no module",
		},
		{name: "no codec", client: good, namespace: "shop", options: []Option{WithCodec(nil)}, want: "WithCodec"},
		{name: "no logger", client: good, namespace: "shop", options: []Option{WithLogger(nil)}, want: "WithLogger"},
	} {
		c, err := New(test.client, test.namespace, test.options...)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want an error about %s", test.name, err, test.want)
		}
		if c != nil {
			t.Errorf("%s: got a client beside the error", test.name)
		}
	}
}

func TestInvalidateUserCoversModulesOfPoliciesAndOfThisProcess(t *testing.T) {
	store := &stubStore{OnModules: func() ([]string, error) { return []string{"posts", "users"}, nil }}
	withClient(t, store, func(t *testing.T, c *Client) {
		mustFetch(t.Context(), t, c, usersGet)
		mustFetch(t.Context(), t, c, Key{Module: "drafts", Operation: "get"})
		if err := c.InvalidateUser(t.Context(), "ada"); err != nil {
			t.Error(err)
		}
		for _, module := range []string{"posts", "users", "drafts"} {
			if got := store.Called("invalidate " + module); got != 1 {
				t.Errorf("%s was invalidated %d times, want once", module, got)
			}
		}
	})
}

// Names that no policy has may be anything, and are not kept.
func TestModulesWithoutAPolicyAreNotRemembered(t *testing.T) {
	store := &stubStore{
		OnLease:   func(context.Context, registry.Key) (registry.Lookup, error) { return registry.Lookup{Token: "0"}, nil },
		OnModules: func() ([]string, error) { return nil, nil },
	}
	withClient(t, store, func(t *testing.T, c *Client) {
		for i := range 100 {
			mustFetch(t.Context(), t, c, Key{Module: fmt.Sprint("m", i), Operation: "get"})
		}
		if err := c.InvalidateUser(t.Context(), "ada"); err != nil {
			t.Error(err)
		}
		for i := range 100 {
			if module := fmt.Sprint("m", i); store.Called("invalidate "+module) > 0 {
				t.Errorf("%s is", module)
			}
		}
	})
}

func TestInvalidateUserDoesWhatItCan(t *testing.T) {
	store := &stubStore{
		OnModules: func() ([]string, error) { return nil, fmt.Errorf("shop: %w", registry.ErrModulesUnknown) },
		OnInvalidate: func(_ context.Context, slot registry.Slot, _ registry.Scope) error {
			if slot.Module == "posts" {
				return errDown
			}
			return nil
		},
	}
	withClient(t, store, func(t *testing.T, c *Client) {
		if err := c.InvalidateUser(t.Context(), "ada"); !errors.Is(err, registry.ErrModulesUnknown) {
			t.Errorf("got %v, want ErrModulesUnknown", err)
		}
		mustFetch(t.Context(), t, c, usersGet)
		if err := c.InvalidateUser(t.Context(), "ada"); !errors.Is(err, registry.ErrModulesUnknown) {
			t.Errorf("got %v, want ErrModulesUnknown", err)
		}
		if got := store.Called("invalidate users"); got != 1 {
			t.Errorf("the module that is known was invalidated %d times, want once", got)
		}
		if err := c.InvalidateUser(t.Context(), "ada", "posts", "users"); !errors.Is(err, registry.ErrUnreachable) {
			t.Errorf("got %v, want ErrUnreachable", err)
		}
		if got := store.Called("invalidate users"); got != 2 {
			t.Errorf("a module was not invalidated because another failed")
		}
	})
}

func TestTTLIsRememberedForASecond(t *testing.T) {
	ttl := time.Minute
	store := &stubStore{OnPolicy: func() (registry.Policy, error) { return registry.Policy{DefaultTTL: new(ttl)}, nil }}
	withClient(t, store, func(t *testing.T, c *Client) {
		want := func(want time.Duration, wantCalls int) {
			t.Helper()
			for range 10 {
				if got, err := c.TTL(t.Context(), "users", "get"); got != want || err != nil {
					t.Errorf("got %s, %v, want %s", got, err, want)
				}
			}
			if got := store.Called("policy"); got != wantCalls {
				t.Errorf("Redis was asked %d times, want %d", got, wantCalls)
			}
		}
		want(time.Minute, 1)
		ttl = time.Hour
		want(time.Minute, 1)
		time.Sleep(policyMaxAge)
		want(time.Hour, 2)
	})
}

func TestTTLErrorIsNotRemembered(t *testing.T) {
	store := &stubStore{OnPolicy: func() (registry.Policy, error) { return registry.Policy{}, errDown }}
	withClient(t, store, func(t *testing.T, c *Client) {
		for range 2 {
			if _, err := c.TTL(t.Context(), "users", "get"); !errors.Is(err, registry.ErrUnreachable) {
				t.Errorf("got %v, want ErrUnreachable", err)
			}
		}
		if got := store.Called("policy"); got != 2 {
			t.Errorf("Redis was asked %d times, want 2", got)
		}
	})
}

// What the application keeps in the cache must not turn up in its logs.
func TestFailuresAreReportedWithoutSecrets(t *testing.T) {
	const secret = "4111-1111-1111-1111"
	var log bytes.Buffer
	var mu sync.Mutex
	var failures []Failure
	reported := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(failures)
	}
	store := &stubStore{
		OnRead: func(_ context.Context, key registry.Key) (registry.Lookup, error) {
			if key.User != "" {
				return registry.Lookup{}, errDown
			}
			return registry.Lookup{Hit: true, Payload: []byte(`"` + secret + `"`)}, nil
		},
		OnLease: func(context.Context, registry.Key) (registry.Lookup, error) {
			return registry.Lookup{Token: "t", Cacheable: true}, nil
		},
		OnSet: func(context.Context, registry.Key) (registry.Filled, error) {
			return registry.Filled{Outcome: registry.Refused}, nil
		},
		OnInvalidate: func(context.Context, registry.Slot, registry.Scope) error { return errDown },
	}
	withClient(t, store, func(t *testing.T, c *Client) {
		load := func(context.Context) (int, error) { return 1, nil }
		act := func(what string, do func()) {
			t.Helper()
			before := reported()
			do()
			time.Sleep(logInterval) // so that each is logged
			if reported() == before {
				t.Errorf("%s: no failure was reported", what)
			}
		}
		act("a payload of another type", func() { _, _ = Fetch(t.Context(), c, usersGet, load) })
		act("a user", func() {
			_, _ = Fetch(t.Context(), c, Key{Module: "users", Operation: "get", User: secret, Params: secret}, load)
		})
		act("params that JSON refuses", func() {
			_, _ = Fetch(t.Context(), c, Key{Module: "users", Operation: "get", Params: map[string]any{secret: make(chan int)}}, load)
		})
		act("params with a failing method", func() {
			_, _ = Fetch(t.Context(), c, Key{Module: "users", Operation: "get", Params: failing(secret)}, load)
		})
		act("a value with a failing method", func() { _ = c.Set(t.Context(), usersGet, failing(secret)) })
		act("a refused value", func() { _ = c.Set(t.Context(), usersGet, secret) })
		act("an invalidation", func() { _ = c.InvalidateUser(t.Context(), secret, "users") })
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		for _, f := range failures {
			if strings.Contains(fmt.Sprint(f), secret) || f.Module != "users" {
				t.Errorf("reported %+v", f)
			}
		}
		if strings.Contains(log.String(), secret) || strings.Count(log.String(), "\n") < 7 {
			t.Errorf("the log is:\n%s", log.String())
		}
	}, WithLogger(slog.New(slog.NewTextHandler(&log, nil))), WithFailureHook(func(f Failure) {
		mu.Lock()
		defer mu.Unlock()
		failures = append(failures, f)
	}))
}

type failing string

func (f failing) MarshalJSON() ([]byte, error) { return nil, errors.New("cannot marshal " + string(f)) }

func TestLogIsNotFlooded(t *testing.T) {
	var log bytes.Buffer
	store := &stubStore{OnLease: func(context.Context, registry.Key) (registry.Lookup, error) {
		return registry.Lookup{}, registry.ErrUnauthorized
	}}
	withClient(t, store, func(t *testing.T, c *Client) {
		for range 1000 {
			mustFetch(t.Context(), t, c, usersGet)
		}
		if lines := strings.Count(log.String(), "\n"); lines != 1 {
			t.Errorf("%d lines were logged, want 1", lines)
		}
	}, WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
}

// It is told once, and not with each value, which would be with each read.
func TestThatValuesDoNotSurviveIsToldOnce(t *testing.T) {
	type account struct {
		Name string
		pin  string
	}
	var log strings.Builder
	var told []Failure
	var counted atomic.Int64
	store := &stubStore{OnReport: func(_ context.Context, _ registry.Slot, _ string, counters registry.Counters) error {
		counted.Add(counters.Errors)
		return nil
	}}
	withClient(t, store, func(t *testing.T, c *Client) {
		for i := range 5 {
			for _, operation := range []string{"get", "list"} {
				key := Key{Module: "users", Operation: operation, Params: i}
				got, err := Fetch(t.Context(), c, key, func(context.Context) (account, error) { return account{"ada", "1234"}, nil })
				if got.pin != "1234" || err != nil {
					t.Errorf("got %+v, %v", got, err)
				}
			}
			time.Sleep(2 * logInterval)
		}
		if store.Called("set") != 0 {
			t.Errorf("%d fills", store.Called("set"))
		}
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if len(told) != 2 || strings.Count(log.String(), "\n") > 2 || counted.Load() != 10 {
			t.Errorf("%d failures are told and %d counted, and the log is %q", len(told), counted.Load(), log.String())
		}
		for _, failure := range told {
			text := failure.Err.Error()
			if !errors.Is(failure.Err, ErrCodec) || !strings.Contains(text, "cache.account.pin") || strings.Contains(text, "1234") {
				t.Errorf("told %q", text)
			}
		}
	}, WithFailureHook(func(f Failure) { told = append(told, f) }), WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
}

func TestErrorsAreCounted(t *testing.T) {
	var got registry.Counters
	store := &stubStore{
		OnLease: func(context.Context, registry.Key) (registry.Lookup, error) {
			return registry.Lookup{}, registry.ErrRejected
		},
		OnReport: func(_ context.Context, _ registry.Slot, _ string, counters registry.Counters) error {
			got = counters
			return nil
		},
	}
	withClient(t, store, func(t *testing.T, c *Client) {
		for range 3 {
			mustFetch(t.Context(), t, c, usersGet)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, _ = Fetch(ctx, c, usersGet, func(context.Context) (string, error) { return "", nil })
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if want := (registry.Counters{Errors: 3}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
}

// unnoticed is the context of a caller that is late to notice that it ended.
type unnoticed struct{ context.Context }

func (unnoticed) Done() <-chan struct{} { return nil }

// A loader that uses its request's context, as closures do, may fail of it before its caller has
// noticed.
func TestCallersAreNotFailedByAnotherCallersContext(t *testing.T) {
	withClient(t, &stubStore{}, func(t *testing.T, c *Client) {
		ctx, cancel := context.WithCancel(t.Context())
		first := make(chan error, 1)
		go func() {
			_, err := Fetch(unnoticed{ctx}, c, usersGet, func(context.Context) (string, error) {
				<-ctx.Done()
				return "", ctx.Err()
			})
			first <- err
		}()
		synctest.Wait()
		joined := make(chan time.Duration, 1)
		go func() { joined <- mustFetch(t.Context(), t, c, usersGet) }()
		synctest.Wait()
		cancel()
		if err := <-first; !errors.Is(err, context.Canceled) {
			t.Errorf("the caller whose context ended got %v", err)
		}
		<-joined
	})
}

func TestPanicOfAnAbandonedLoadIsReported(t *testing.T) {
	reported := make(chan Failure, 1)
	withClient(t, &stubStore{}, func(t *testing.T, c *Client) {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := Fetch(ctx, c, usersGet, func(ctx context.Context) (string, error) {
			cancel()
			<-ctx.Done()
			panic("no user ada@example.com")
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		expectPanicReported(t, <-reported, "string", "TestPanicOfAnAbandonedLoadIsReported")
	}, WithFailureHook(func(f Failure) { reported <- f }))
}

// expectPanicReported checks that a Failure names the type of a panic's value and its place. The
// value itself often holds data of the application.
func expectPanicReported(t *testing.T, f Failure, kind, where string) {
	t.Helper()
	if f.Module != usersGet.Module || f.Operation != usersGet.Operation {
		t.Errorf("reported a panic in %s.%s", f.Module, f.Operation)
	}
	text := f.Err.Error()
	if strings.Contains(text, "ada@example.com") {
		t.Errorf("the value of a panic is reported: %s", text)
	}
	if !strings.Contains(text, "panicked") || !strings.Contains(text, kind) || !strings.Contains(text, where) {
		t.Errorf("reported %q, without the value's type, %s, or the stack", text, kind)
	}
}
