// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/cache"
)

// A post before and after it was changed in the source.
const (
	oldTitle, newTitle = "Draft", "Final"
	racedPost          = "42"
)

// race loads slowly, while the source changes and the cache is purged. Plain Redis keeps what the
// slow loader brings.
func (s *stage) race(ctx context.Context) error {
	if err := s.racePlain(ctx); err != nil {
		return err
	}
	return s.raceOurs(ctx)
}

// slowly is a loader that reads the source, and needs time for something else before it returns.
func slowly(source *string, meanwhile func() error) (string, error) {
	loaded := *source
	*source = newTitle
	return loaded, meanwhile()
}

func (s *stage) racePlain(ctx context.Context) error {
	const key = "plain:posts:" + racedPost
	client, source := s.redis.Client(), oldTitle
	defer func() { _ = client.Close() }()
	loaded, err := slowly(&source, func() error { return client.Del(ctx, key).Err() })
	if err != nil {
		return err
	}
	if err := client.Set(ctx, key, loaded, time.Hour).Err(); err != nil {
		return err
	}
	got, err := client.Get(ctx, key).Result()
	if err != nil {
		return err
	}
	if got != oldTitle {
		return fmt.Errorf("plain Redis has %q: nothing went wrong there", got)
	}
	say("  ✗ plain Redis: the source has %q, it was purged, and readers get %q for an hour", source,
		got)
	return nil
}

func (s *stage) raceOurs(ctx context.Context) error {
	source := oldTitle
	loaded, err := s.fetch(ctx, posts.Module, "getById", func() (string, error) {
		return slowly(&source, func() error {
			_, err := s.purge(ctx, `
apiVersion: cachewright.io/v1
kind: CacheInvalidation
metadata: {generateName: raced-}
spec:
  targets:
  - {module: posts}
`)
			return err
		})
	})
	if err != nil {
		return err
	}
	got, err := s.fetch(ctx, posts.Module, "getById", func() (string, error) { return source, nil })
	if err != nil {
		return err
	}
	if loaded != oldTitle || got != newTitle {
		return fmt.Errorf("the slow loader got %q, and the next reader %q", loaded, got)
	}
	say("  ✓ Cachewright: what the slow loader brought was refused, and readers get %q", got)
	return nil
}

// fetch reads a post through the cache, as a process of its own.
func (s *stage) fetch(
	ctx context.Context, module, operation string, load func() (string, error),
) (string, error) {
	client := redis.NewClient(&redis.Options{Addr: s.redis.Addr(), ContextTimeoutEnabled: true})
	defer func() { _ = client.Close() }()
	c, err := cache.New(client, namespace, cache.WithTimeout(10*time.Second))
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close(context.WithoutCancel(ctx)) }()
	key := cache.Key{Module: module, Operation: operation, Params: racedPost}
	return cache.Fetch(ctx, c, key, func(context.Context) (string, error) { return load() })
}

// isCached says whether a post is answered without a load.
func (s *stage) isCached(ctx context.Context, module, operation string) (bool, error) {
	cached := true
	_, err := s.fetch(ctx, module, operation, func() (string, error) {
		cached = false
		return newTitle, nil
	})
	return cached, err
}

// wantCached fails unless a post is cached, or is not.
func (s *stage) wantCached(ctx context.Context, want bool, what string) error {
	cached, err := s.isCached(ctx, posts.Module, "getById")
	if err == nil && cached != want {
		err = fmt.Errorf("%s: the post is cached: %t, want %t", what, cached, want)
	}
	if err == nil {
		say("  ✓ %s", what)
	}
	return err
}
