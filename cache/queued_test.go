// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cachewright/cachewright/registry"
)

// outage is a Redis that can be switched off. It records which invalidations reached it.
type outage struct {
	mu      sync.Mutex
	down    bool
	reached []string
}

func (o *outage) reach(what string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.down {
		return errDown
	}
	o.reached = append(o.reached, what)
	return nil
}

func (o *outage) set(down bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.down = down
}

func (o *outage) store() *stubStore {
	return &stubStore{
		OnRead: func(context.Context, registry.Key) (registry.Lookup, error) {
			return registry.Lookup{Hit: true, Payload: []byte(`"cached"`)}, nil
		},
		OnDelete: func(key registry.Key) error { return o.reach("delete " + key.Module + " " + key.Operation) },
		OnInvalidate: func(_ context.Context, slot registry.Slot, scope registry.Scope) error {
			return o.reach(strings.TrimSpace(slot.Module + " " + scope.Operation + " " + scope.User))
		},
		OnModules: func() ([]string, error) { return []string{"posts", "users"}, o.reach("modules") },
	}
}

func fetched(t *testing.T, c *Client, key Key) string {
	t.Helper()
	got, err := Fetch(t.Context(), c, key, func(context.Context) (string, error) { return "loaded", nil })
	if err != nil {
		t.Error(err)
	}
	return got
}

func TestScopeOfAQueuedInvalidationIsBypassed(t *testing.T) {
	covered := Key{Module: "users", Operation: "get", User: "ada", Params: 1}
	for name, test := range map[string]struct {
		invalidate func(context.Context, *Client) error
		others     []Key
		reaches    string
	}{
		"module": {
			func(ctx context.Context, c *Client) error { return c.InvalidateModule(ctx, "users") },
			[]Key{{Module: "posts", Operation: "get"}},
			"users",
		},
		"operation": {
			func(ctx context.Context, c *Client) error { return c.InvalidateOperation(ctx, "users", "get") },
			[]Key{{Module: "users", Operation: "list"}},
			"users get",
		},
		"user": {
			func(ctx context.Context, c *Client) error { return c.InvalidateUser(ctx, "ada", "users") },
			[]Key{{Module: "users", Operation: "get"}, {Module: "users", Operation: "get", User: "bob"}, {Module: "posts", Operation: "get", User: "ada"}},
			"users  ada",
		},
		"user everywhere": {
			func(ctx context.Context, c *Client) error { return c.InvalidateUser(ctx, "ada") },
			[]Key{{Module: "posts", Operation: "get", User: "bob"}},
			"users  ada",
		},
		"operation of a user, softly": {
			func(ctx context.Context, c *Client) error {
				return c.InvalidateSoftly(ctx, Scope{Module: "users", Operation: "get", User: "ada"})
			},
			[]Key{{Module: "users", Operation: "get"}, {Module: "users", Operation: "list", User: "ada"}},
			"users get ada",
		},
		"one entry": {
			func(ctx context.Context, c *Client) error { return c.Delete(ctx, covered) },
			[]Key{{Module: "users", Operation: "get", User: "ada", Params: 2}},
			"delete users get",
		},
	} {
		t.Run(name, func(t *testing.T) {
			redis := &outage{down: true}
			store := redis.store()
			withClient(t, store, func(t *testing.T, c *Client) {
				if err := test.invalidate(t.Context(), c); !errors.Is(err, ErrQueued) || !errors.Is(err, registry.ErrUnreachable) {
					t.Errorf("got %v, want ErrQueued and ErrUnreachable", err)
				}
				if got := fetched(t, c, covered); got != "loaded" || store.Called("read") != 0 || store.Called("set") != 0 {
					t.Errorf("got %q with %d reads and %d fills, want a bypass", got, store.Called("read"), store.Called("set"))
				}
				var value string
				if found, err := c.Get(t.Context(), covered, &value); found || !errors.Is(err, ErrQueued) {
					t.Errorf("Get: %v, %v, want ErrQueued", found, err)
				}
				for _, key := range test.others {
					if got := fetched(t, c, key); got != "cached" {
						t.Errorf("%+v is bypassed too", key)
					}
				}
				redis.set(false)
				time.Sleep(10 * time.Second)
				synctest.Wait()
				if got := fetched(t, c, covered); got != "cached" {
					t.Error("still bypassed")
				}
				if !strings.Contains(strings.Join(redis.reached, "\n"), test.reaches) {
					t.Errorf("what reached Redis is %q, want %q among it", redis.reached, test.reaches)
				}
				if err := c.Close(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A value that was loaded before an invalidation is not stored, even if Redis does not have the
// invalidation yet.
func TestLoadUnderWayIsNotStoredAfterAQueuedInvalidation(t *testing.T) {
	redis := &outage{down: true}
	store := redis.store()
	store.OnRead = nil // a miss
	withClient(t, store, func(t *testing.T, c *Client) {
		_, err := Fetch(t.Context(), c, usersGet, func(ctx context.Context) (string, error) {
			return "old", errors.Join(c.InvalidateModule(ctx, "users"), nil)
		})
		if !errors.Is(err, ErrQueued) {
			t.Fatal(err)
		}
		_, _ = Fetch(t.Context(), c, Key{Module: "posts", Operation: "get"}, func(ctx context.Context) (string, error) {
			_ = c.InvalidateModule(ctx, "posts")
			return "old", nil
		})
		_, _ = Fetch(t.Context(), c, Key{Module: "drafts", Operation: "get"}, func(ctx context.Context) (string, error) {
			_ = c.InvalidateModule(ctx, "drafts")
			return "", ErrNotFound
		})
		if store.Called("set") != 0 || store.Called("setNegative") != 0 {
			t.Error("stored")
		}
	})
}

func TestRejectedInvalidationIsNotQueued(t *testing.T) {
	store := &stubStore{OnInvalidate: func(context.Context, registry.Slot, registry.Scope) error { return registry.ErrRejected }}
	withClient(t, store, func(t *testing.T, c *Client) {
		if err := c.InvalidateModule(t.Context(), "users"); errors.Is(err, ErrQueued) || !errors.Is(err, registry.ErrRejected) {
			t.Errorf("got %v, want ErrRejected alone", err)
		}
	})
}

// A Redis that hangs costs the first caller a timeout, but not later ones that invalidate the same,
// or less.
// A long outage makes the pauses long. The first read that Redis answers ends the one under way.
func TestWhatWaitsIsDeliveredAsSoonAsRedisAnswersReads(t *testing.T) {
	redis := &outage{down: true}
	store := redis.store()
	read := store.OnRead
	store.OnRead = func(ctx context.Context, key registry.Key) (registry.Lookup, error) {
		if err := redis.reach("read"); err != nil {
			return registry.Lookup{}, err
		}
		return read(ctx, key)
	}
	withClient(t, store, func(t *testing.T, c *Client) {
		other := Key{Module: "users", Operation: "list", Params: 1}
		if err := c.InvalidateOperation(t.Context(), "users", "get"); !errors.Is(err, ErrQueued) {
			t.Errorf("got %v, want ErrQueued", err)
		}
		for range 100 { // a minute, so that pauses are as long as they get
			fetched(t, c, other)
			time.Sleep(600 * time.Millisecond)
		}
		redis.set(false)
		const answered = 2 * (breakerPause + time.Millisecond) // by a trial
		for range 2 {
			time.Sleep(answered / 2)
			fetched(t, c, other)
			synctest.Wait()
		}
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		if c.outbox.Waiting() {
			t.Error("the invalidation still waits although Redis answers reads")
		}
	})
}

func TestInvalidationThatIsCoveredByOneThatWaitsIsQueuedAtOnce(t *testing.T) {
	redis := &outage{}
	store := redis.store()
	var hanging atomic.Bool
	hanging.Store(true)
	store.OnInvalidate = func(ctx context.Context, slot registry.Slot, scope registry.Scope) error {
		if hanging.Load() {
			return hang(ctx)
		}
		return redis.reach(strings.TrimSpace(slot.Module + " " + scope.Operation + " " + scope.User))
	}
	modules := store.OnModules
	store.OnModules = func() ([]string, error) {
		if hanging.Load() {
			return nil, errDown
		}
		return modules()
	}
	withClient(t, store, func(t *testing.T, c *Client) {
		ctx := t.Context()
		for name, calls := range map[string][]func() error{
			"operation": {
				func() error { return c.InvalidateOperation(ctx, "posts", "get") },
				func() error { return c.InvalidateOperation(ctx, "posts", "get") },
				func() error { return c.InvalidateSoftly(ctx, Scope{Module: "posts", Operation: "get", User: "ada"}) },
				func() error { return c.Delete(ctx, Key{Module: "posts", Operation: "get", Params: 1}) },
			},
			"module": {
				func() error { return c.InvalidateModule(ctx, "users") },
				func() error { return c.InvalidateOperation(ctx, "users", "get") },
				func() error { return c.InvalidateUser(ctx, "ada", "users") },
			},
			"user": {
				func() error { return c.InvalidateUser(ctx, "ada") },
				func() error { return c.InvalidateUser(ctx, "ada") },
			},
		} {
			for i, call := range calls {
				began := time.Now()
				err := call()
				if took := time.Since(began); !errors.Is(err, ErrQueued) || i > 0 && took > 0 {
					t.Errorf("%s, call %d: %v after %s", name, i, err, took)
				}
			}
		}
		hanging.Store(false)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if c.outbox.Waiting() || !slices.Contains(redis.reached, "posts get") || !slices.Contains(redis.reached, "users") {
			t.Errorf("what reached Redis is %q", redis.reached)
		}
	})
}

func TestCloseDeliversOrSaysWhatIsLost(t *testing.T) {
	redis := &outage{down: true}
	withClient(t, redis.store(), func(t *testing.T, c *Client) {
		_ = c.InvalidateOperation(t.Context(), "users", "get")
		_ = c.InvalidateUser(t.Context(), "ada-4111")
		err := c.Close(t.Context())
		if err == nil || !strings.Contains(err.Error(), "users") || strings.Contains(err.Error(), "4111") {
			t.Errorf("got %v, want an error that names the modules and no user", err)
		}
		redis.set(false)
		if err := c.Close(t.Context()); err != nil {
			t.Errorf("closing again, with Redis back: %v", err)
		}
	})
}
