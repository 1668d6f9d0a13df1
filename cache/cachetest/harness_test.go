// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cachetest_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/cache/cachetest"
	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

const waitTimeout = 20 * time.Second

// subject is a Cache under test and what a test must do to its surroundings.
type subject struct {
	cache.Cache

	// other is the same cache as another process sees it.
	other cache.Cache
	// newer is the same cache as another version of the application sees it.
	newer     cache.Cache
	setPolicy func(module string, policy registry.Policy)
	// elapse lets time pass, if it does not pass anyway.
	elapse func(d time.Duration)
}

// forEachCache runs a test against the fake and against the client on a real Redis, so that the
// fake can be trusted.
func forEachCache(t *testing.T, test func(t *testing.T, s subject)) {
	t.Helper()
	t.Run("fake", func(t *testing.T) { test(t, fakeSubject()) })
	t.Run("redis", func(t *testing.T) { test(t, redisSubject(t)) })
	t.Run("redis, pipelined", func(t *testing.T) { test(t, redisSubject(t, cache.WithAutoPipelining(registry.HalfDuplex))) })
}

func fakeSubject() subject {
	var mu sync.Mutex
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	fake := cachetest.New(cachetest.WithClock(func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}))
	return subject{
		Cache:     fake,
		other:     fake,
		newer:     fake.WithSchema("v2"),
		setPolicy: fake.SetPolicy,
		elapse: func(d time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			now = now.Add(d)
		},
	}
}

// shared runs one server for all tests, when the first one needs it.
var shared = struct {
	start  sync.Once
	dir    string
	server *redistest.Server
	err    error
	tests  atomic.Int64
}{}

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.server != nil {
		shared.server.Kill()
	}
	_ = os.RemoveAll(shared.dir)
	os.Exit(code)
}

func redisSubject(t *testing.T, opts ...cache.Option) subject {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a redis-server, which -short leaves out")
	}
	shared.start.Do(func() {
		if shared.dir, shared.err = os.MkdirTemp("", "cachetest"); shared.err == nil { //nolint:usetesting // it outlives the test
			shared.server, shared.err = redistest.Run(context.Background(), shared.dir, 0)
		}
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	namespace := fmt.Sprint("shop", shared.tests.Add(1)) // of this test alone
	admin := shared.server.Client()
	t.Cleanup(func() { _ = admin.Close() })
	return subject{
		Cache: newClient(t, shared.server, namespace, opts...),
		other: newClient(t, shared.server, namespace, opts...),
		newer: newClient(t, shared.server, namespace, append(opts, cache.WithSchema("v2"))...),
		setPolicy: func(module string, policy registry.Policy) {
			slot := registry.Slot{Namespace: namespace, Module: module}
			if _, err := registry.New(admin).ApplyPolicy(t.Context(), slot, policy); err != nil {
				t.Fatal(err)
			}
		},
		elapse: func(time.Duration) {},
	}
}

func newClient(t *testing.T, server *redistest.Server, namespace string, opts ...cache.Option) *cache.Client {
	t.Helper()
	client := redis.NewClient(&redis.Options{
		Addr: server.Addr(), ContextTimeoutEnabled: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}, // they race with Conn
	})
	// The machine may be slow; none of these tests is about that.
	opts = append([]cache.Option{
		cache.WithTimeout(waitTimeout), cache.WithLoadWait(50 * time.Millisecond), cache.WithLogger(slog.New(slog.DiscardHandler)),
	}, opts...)
	c, err := cache.New(client, namespace, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(context.Background()); err != nil {
			t.Errorf("closing: %v", err)
		}
		_ = client.Close()
	})
	return c
}

// everything caches all operations of a module.
func everything(ttl time.Duration) registry.Policy { return registry.Policy{DefaultTTL: &ttl} }

// load returns a loader of a value and the number of its calls.
func load[T any](value T) (func(context.Context) (T, error), *counter) {
	calls := &counter{}
	return func(context.Context) (T, error) {
		calls.add()
		return value, nil
	}, calls
}

type counter struct {
	mu sync.Mutex
	n  int
}

func (c *counter) add() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
}

func (c *counter) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

// fetch is cache.Fetch where no error is expected.
func fetch[T any](t *testing.T, c cache.Cache, key cache.Key, load func(context.Context) (T, error)) T {
	t.Helper()
	value, err := cache.Fetch(t.Context(), c, key, load)
	if err != nil {
		t.Errorf("Fetch of %+v: %v", key, err)
	}
	return value
}

// cached says whether an entry can be read.
func cached(t *testing.T, c cache.Cache, key cache.Key) bool {
	t.Helper()
	var value any
	found, err := c.Get(t.Context(), key, &value)
	if err != nil {
		t.Fatalf("Get of %+v: %v", key, err)
	}
	return found
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// waitForCallers returns when so many goroutines wait for a load to end.
func waitForCallers(t *testing.T, n int) {
	t.Helper()
	NewWithT(t).Eventually(func() int {
		stacks := make([]byte, 8<<20)
		return strings.Count(string(stacks[:runtime.Stack(stacks, true)]), "internal/flight.(*Group[...]).DoMany(")
	}).WithTimeout(waitTimeout).Should(Equal(n))
}

// heldLoad is a load that has begun, and ends when it is released.
type heldLoad struct {
	release chan struct{}
	result  chan string
}

// begin starts a Fetch of a string and returns when its load has begun.
func begin(t *testing.T, c cache.Cache, key cache.Key, value string) heldLoad {
	t.Helper()
	begun, h := make(chan struct{}), heldLoad{release: make(chan struct{}), result: make(chan string, 1)}
	go func() {
		loaded, err := cache.Fetch(context.Background(), c, key, func(context.Context) (string, error) {
			close(begun)
			<-h.release
			return value, nil
		})
		if err != nil {
			t.Errorf("Fetch of %+v: %v", key, err)
		}
		h.result <- loaded
	}()
	select {
	case <-begun:
	case <-time.After(waitTimeout):
		t.Fatal("the load did not begin")
	}
	return h
}

// end lets the load end and returns what its caller got.
func (h heldLoad) end() string {
	close(h.release)
	return <-h.result
}
