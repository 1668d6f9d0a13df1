// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package node_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

func entry(operation, id, user string) registry.Key {
	return registry.Key{Slot: users, Operation: operation, ID: id, User: user}
}

// binary is a payload that would not survive a conversion to text.
func binary(key registry.Key) []byte { return []byte("\x00\xff\xfe\r\n" + key.ID + key.User) }

func pathOf(key registry.Key) string {
	return "/" + key.Module + "/" + key.Operation + "/" + strings.ReplaceAll(url.QueryEscape(key.ID), "+", "%20")
}

// world is a Redis with the library, a source that the test controls, and the Node program between
// them.
type world struct {
	server   *redistest.Server // nil: a cluster
	client   redis.UniversalClient
	registry *registry.Registry
	source   *source
	url      string
}

func newWorld(t *testing.T, environment ...string) *world {
	t.Helper()
	prepareNode(t)
	server := redistest.Start(t)
	w := newWorldOn(t, server.Client(), []string{server.Addr()}, environment...)
	w.server = server
	return w
}

// newWorldOn returns a world without a server of its own.
func newWorldOn(t *testing.T, client redis.UniversalClient, addrs []string, environment ...string) *world {
	t.Helper()
	w := &world{client: client, registry: registry.New(client), source: &source{}}
	if _, err := w.registry.Install(t.Context()); err != nil {
		t.Fatal(err)
	}
	upstream := httptest.NewServer(w.source)
	t.Cleanup(upstream.Close)
	w.url = startNode(t, append(environment,
		"SOURCE="+upstream.URL, "REDIS_URL=redis://"+strings.Join(addrs, ",redis://"), "NAMESPACE="+users.Namespace,
		"PORT=0", "TIMEOUT_MS=10000")...)
	w.restore(t)
	w.get(t, entry("list", "", "")) // fences the module, which invalidates what was stored before
	return w
}

// reset empties Redis, except for the library, and resets the source.
func (w *world) reset(t *testing.T) {
	t.Helper()
	if err := w.client.FlushDB(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	w.restore(t)
}

// restore applies the policy, and resets the source.
func (w *world) restore(t *testing.T) {
	t.Helper()
	w.source.reset()
	list := registry.OperationPolicy{Name: "list", TTL: time.Minute, StaleFor: time.Minute, NegativeTTL: time.Minute}
	w.apply(t, registry.Policy{DefaultTTL: new(time.Minute), Operations: []registry.OperationPolicy{list}})
}

func (w *world) apply(t *testing.T, policy registry.Policy) {
	t.Helper()
	if _, err := w.registry.ApplyPolicy(t.Context(), users, policy); err != nil {
		t.Fatal(err)
	}
}

func (w *world) lease(t *testing.T, key registry.Key) registry.Token {
	t.Helper()
	lookup, err := w.registry.Lease(t.Context(), key)
	if err != nil || lookup.Hit {
		t.Fatalf("a lease of %q: hit %v (%v)", key, lookup.Hit, err)
	}
	return lookup.Token
}

func (w *world) set(t *testing.T, key registry.Key, payload []byte, token registry.Token) registry.Outcome {
	t.Helper()
	filled, err := w.registry.Set(t.Context(), key, payload, token)
	if err != nil {
		t.Fatal(err)
	}
	return filled.Outcome
}

// fill makes sure that the entry is there.
func (w *world) fill(t *testing.T, key registry.Key, payload []byte) {
	t.Helper()
	if w.isHit(t, key) {
		return
	}
	if outcome := w.set(t, key, payload, w.lease(t, key)); outcome != registry.Stored {
		t.Fatalf("filling %q: %s", key, outcome)
	}
}

func (w *world) isHit(t *testing.T, key registry.Key) bool {
	t.Helper()
	lookup, err := w.registry.Read(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return lookup.Hit
}

func (w *world) wantHit(t *testing.T, key registry.Key) registry.Lookup {
	t.Helper()
	lookup, err := w.registry.Get(t.Context(), key)
	if err != nil || !lookup.Hit {
		t.Fatalf("Go does not find %q (%v)", key, err)
	}
	return lookup
}

func (w *world) invalidate(t *testing.T, scope registry.Scope, mode registry.Mode) {
	t.Helper()
	if _, err := w.registry.Invalidate(t.Context(), users, scope, mode, ""); err != nil {
		t.Fatal(err)
	}
}

type reply struct {
	status int
	from   string
	body   []byte
}

func (w *world) get(t *testing.T, key registry.Key) reply {
	return w.request(t, http.MethodGet, pathOf(key), key.User)
}

// beginLoad has Node read an entry that it must load, and returns when the source was asked. finish
// lets the source answer and returns the answer of Node.
func (w *world) beginLoad(t *testing.T, key registry.Key) (finish func() reply) {
	t.Helper()
	loading, goOn := w.source.hold()
	answered := make(chan reply, 1)
	go func() { answered <- w.get(t, key) }()
	select {
	case <-loading:
	case got := <-answered:
		t.Fatalf("GET %s of user %q: %d from %q without a load", pathOf(key), key.User, got.status, got.from)
	}
	return func() reply {
		goOn()
		return <-answered
	}
}

// wantFrom reads an entry through Node, and checks where Node says that it came from.
func (w *world) wantFrom(t *testing.T, from string, key registry.Key) []byte {
	t.Helper()
	got := w.get(t, key)
	if got.from != from {
		t.Fatalf("GET %s of user %q: %d from %q, want %q: %s", pathOf(key), key.User, got.status, got.from, from, got.body)
	}
	return got.body
}

func (w *world) request(t *testing.T, method, path, user string) reply {
	request, err := http.NewRequestWithContext(t.Context(), method, w.url+path, http.NoBody)
	if err != nil {
		t.Error(err)
		return reply{}
	}
	if user != "" {
		request.Header.Set("X-User", user)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Error(err)
		return reply{}
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Error(err)
	}
	return reply{status: response.StatusCode, from: response.Header.Get("X-Cache"), body: body}
}
