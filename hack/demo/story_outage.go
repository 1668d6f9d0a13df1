// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/cachewright/cachewright/registry"
)

func (s *stage) killRedis(ctx context.Context) error {
	s.redis.Kill()
	say("  $ kill -9 <redis-server>")
	var slowest time.Duration
	err := s.wantQueries(ctx, 10, "10 users, from the source", func() error {
		for i := range 10 {
			began := time.Now()
			if err := s.readUser(ctx, fmt.Sprintf("user-%d", i)); err != nil {
				return err
			}
			slowest = max(slowest, time.Since(began))
		}
		return nil
	})
	if err != nil {
		return err
	}
	say("  ✓ no request failed; the slowest took %s; the source takes 20ms",
		slowest.Round(time.Millisecond))
	return s.kubectl(ctx, "wait", "-n", namespace, "--for=condition=Ready=false", "cachepolicy/users",
		"--timeout=60s")
}

func (s *stage) restartRedis(ctx context.Context) error {
	s.redis.Restart()
	say("  $ redis-server")
	began := time.Now()
	for _, module := range []string{"users", "auth", "posts", largeModule} {
		if err := s.policyInForce(ctx, registry.Slot{Namespace: namespace, Module: module}); err != nil {
			return err
		}
	}
	say("  ✓ all policies are back %s after Redis", time.Since(began).Round(100*time.Millisecond))
	if err := s.kubectl(ctx, "wait", "-n", namespace, "--for=condition=Ready", "cachepolicy", "--all",
		"--timeout=60s"); err != nil {
		return err
	}
	err := eventually(ctx, "the application to use the cache again", func() error {
		queries, err := s.queriesOf(ctx, func() error { return s.readUser(ctx, "user-42") })
		if err == nil && queries > 0 {
			err = errNotYet
		}
		return err
	})
	if err != nil {
		return err
	}
	say("  ✓ the application caches again")
	return nil
}
