// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cachetest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/registry"
)

// remembering caches operation get, also that there is nothing, for so long.
func remembering(negative time.Duration) registry.Policy {
	return registry.Policy{Operations: []registry.OperationPolicy{{Name: "get", TTL: time.Hour, NegativeTTL: negative}}}
}

func notFound(calls *counter) func(context.Context) (string, error) {
	return func(context.Context) (string, error) {
		calls.add()
		return "", fmt.Errorf("no such user: %w", cache.ErrNotFound)
	}
}

func TestNotFoundIsRemembered(t *testing.T) {
	forEachCache(t, func(t *testing.T, s subject) {
		s.setPolicy("users", remembering(time.Hour))
		key, loads := cache.Key{Module: "users", Operation: "get", Params: 7}, &counter{}
		for _, c := range []cache.Cache{s.Cache, s.Cache, s.other} {
			if value, err := cache.Fetch(t.Context(), c, key, notFound(loads)); value != "" || !errors.Is(err, cache.ErrNotFound) {
				t.Errorf("got %q, %v, want ErrNotFound", value, err)
			}
		}
		if loads.count() != 1 {
			t.Errorf("%d loads, want 1", loads.count())
		}
		var value string
		if found, err := s.Get(t.Context(), key, &value); found || !errors.Is(err, cache.ErrNotFound) {
			t.Errorf("Get: %v, %v, want ErrNotFound", found, err)
		}
		must(t, s.Set(t.Context(), key, "Ada"))
		if got := stored(t, s.Cache, key); got != "Ada" {
			t.Errorf("after a Set: got %q", got)
		}
	})
}

func TestNotFoundIsForgotten(t *testing.T) {
	key := cache.Key{Module: "users", Operation: "get", Params: 7, User: "ada"}
	forEachCache(t, func(t *testing.T, s subject) {
		for name, invalidate := range invalidations {
			if name == "revision" {
				continue // needs a policy of its own
			}
			s.setPolicy("users", remembering(time.Hour))
			_, _ = cache.Fetch(t.Context(), s.Cache, key, notFound(&counter{}))
			must(t, invalidate(t.Context(), s, key))
			loader, _ := load("Ada")
			NewWithT(t).Eventually(func() string { // at once, except after soft invalidations
				value, _ := cache.Fetch(t.Context(), s.Cache, key, loader)
				return value
			}).WithTimeout(waitTimeout).Should(Equal("Ada"), name)
			must(t, s.Delete(t.Context(), key))
		}
		s.setPolicy("users", remembering(50*time.Millisecond))
		_, _ = cache.Fetch(t.Context(), s.Cache, key, notFound(&counter{}))
		s.elapse(50 * time.Millisecond)
		loader, _ := load("Ada")
		NewWithT(t).Eventually(func() error {
			_, err := cache.Fetch(t.Context(), s.Cache, key, loader)
			return err
		}).WithTimeout(waitTimeout).Should(Succeed(), "after its TTL")
	})
}

func TestNotFoundIsNotRememberedWithoutANegativeTTL(t *testing.T) {
	forEachCache(t, func(t *testing.T, s subject) {
		s.setPolicy("users", everything(time.Hour))
		key, loads := cache.Key{Module: "users", Operation: "get"}, &counter{}
		for range 2 {
			if _, err := cache.Fetch(t.Context(), s.Cache, key, notFound(loads)); !errors.Is(err, cache.ErrNotFound) {
				t.Errorf("got %v", err)
			}
		}
		if loads.count() != 2 {
			t.Errorf("%d loads, want 2", loads.count())
		}
	})
}

// What the source has no more is not served on for being stale.
func TestStaleEntryGoesWhenTheSourceHasItNoMore(t *testing.T) {
	forEachCache(t, func(t *testing.T, s subject) {
		s.setPolicy("users", everything(time.Hour))
		s.setPolicy("posts", remembering(time.Hour))
		for _, module := range []string{"users", "posts"} {
			key := cache.Key{Module: module, Operation: "get"}
			must(t, s.Set(t.Context(), key, "old"))
			must(t, s.InvalidateSoftly(t.Context(), cache.Scope{Module: module}))
			NewWithT(t).Eventually(func() error {
				_, err := cache.Fetch(t.Context(), s.Cache, key, notFound(&counter{}))
				return err
			}).WithTimeout(waitTimeout).Should(MatchError(cache.ErrNotFound))
		}
	})
}

func TestNotFoundOfAnInvalidatedLoadIsNotRemembered(t *testing.T) {
	forEachCache(t, func(t *testing.T, s subject) {
		s.setPolicy("users", remembering(time.Hour))
		key := cache.Key{Module: "users", Operation: "get"}
		_, err := cache.Fetch(t.Context(), s.Cache, key, func(ctx context.Context) (string, error) {
			must(t, s.other.InvalidateModule(ctx, "users"))
			return "", cache.ErrNotFound
		})
		if !errors.Is(err, cache.ErrNotFound) {
			t.Errorf("got %v", err)
		}
		loader, _ := load("Ada")
		if got := fetch(t, s.Cache, key, loader); got != "Ada" {
			t.Errorf("got %q", got)
		}
	})
}
