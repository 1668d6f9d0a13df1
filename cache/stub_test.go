// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachewright/cachewright/cache/internal/failure"
	"github.com/cachewright/cachewright/cache/internal/storetest"
)

type stubStore = storetest.Store

var errDown = storetest.ErrDown

// What the internal packages document.
const (
	breakerFailures = 3 // of package gateway
	breakerPause    = 500 * time.Millisecond
	maxRefreshes    = 32 // of package refresh
	refreshBackoff  = time.Second
	maxAudits       = 4                    // of package audit
	policyMaxAge    = time.Second          // of package policies
	firstWait       = 4 * time.Millisecond // of package loads
	maxWait         = 64 * time.Millisecond
	logInterval     = 10 * time.Second // of package failure
)

func hang(ctx context.Context) error { return storetest.Hang(ctx) }

// newStubClient returns a Client over a stub.
func newStubClient(store *stubStore, namespace string, opts ...Option) (*Client, error) {
	o, err := newOptions(namespace, opts)
	if err != nil {
		return nil, err
	}
	return newClient(store, o, failure.New(o.logger, o.hook()), nil)
}

// withClient runs a test in a bubble with a clock of its own. The bubble does not end before the
// goroutines of the client have, so each such test is a test for leaks as well.
func withClient(t *testing.T, store *stubStore, test func(t *testing.T, c *Client), opts ...Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		opts = append([]Option{WithLogger(slog.New(slog.DiscardHandler))}, opts...)
		c, err := newStubClient(store, "shop", opts...)
		if err != nil {
			t.Fatal(err)
		}
		test(t, c)
		_ = c.Close(context.Background())
	})
}

var usersGet = Key{Module: "users", Operation: "get"}

// mustFetch fetches and returns how long that took.
func mustFetch(ctx context.Context, t *testing.T, c Cache, key Key) time.Duration {
	t.Helper()
	start := time.Now()
	got, err := Fetch(ctx, c, key, func(ctx context.Context) (string, error) { return "loaded", ctx.Err() })
	if got != "loaded" || err != nil {
		t.Errorf("Fetch: got %q, %v", got, err)
	}
	return time.Since(start)
}
