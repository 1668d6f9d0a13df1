// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/registry"
)

func (s *stage) changeTTL(ctx context.Context) error {
	manifest, err := os.ReadFile(filepath.Join(s.root, usersManifest))
	if err != nil {
		return err
	}
	changed := strings.Replace(string(manifest), "ttl: 300s", "ttl: 60s", 1)
	if changed == string(manifest) {
		return fmt.Errorf("%s has no ttl of 300s to change", usersManifest)
	}
	if before, err := s.remaining(ctx, "user-1"); err != nil || before <= time.Minute {
		return fmt.Errorf("an entry filled with a TTL of 300s has %s left (%w)", before, err)
	}
	say("  $ sed 's/ttl: 300s/ttl: 60s/' %s | kubectl apply -n %s -f -", usersManifest, namespace)
	if output, err := s.quietly(ctx, changed, "apply", "-n", namespace, "-f", "-"); err != nil {
		return fmt.Errorf("%w: %s", err, output)
	}
	began := time.Now()
	err = eventually(ctx, "the new TTL in Redis", func() error {
		policy, _, err := s.registry.Policy(ctx, users)
		if err == nil && policy.TTL("getById") != time.Minute {
			err = errNotYet
		}
		return err
	})
	if err != nil {
		return err
	}
	say("  ✓ in force in Redis %s after kubectl returned", time.Since(began).Round(time.Millisecond))
	if err := s.readUser(ctx, "user-500"); err != nil {
		return err
	}
	for _, id := range []string{"user-500", "user-1"} {
		left, err := s.remaining(ctx, id)
		if err != nil || left <= 0 || left > time.Minute {
			return fmt.Errorf("the entry of %s has %s left, want at most 60s (%w)", id, left, err)
		}
	}
	say("  ✓ a new entry has a TTL of 60s, and entries filled before were shortened to it")
	return nil
}

// remaining returns the remaining TTL of a user's entry in Redis.
func (s *stage) remaining(ctx context.Context, id string) (time.Duration, error) {
	params, err := cache.ID(id)
	if err != nil {
		return 0, err
	}
	lookup, err := s.registry.Lease(ctx, registry.Key{Slot: users, Operation: "getById", ID: params})
	return lookup.Remaining, err
}

func (s *stage) purgeUser(ctx context.Context) error {
	for _, id := range []string{"user-1", "user-2", "user-3"} {
		if err := s.readProfile(ctx, id); err != nil {
			return err
		}
	}
	before, err := s.keys(ctx)
	if err != nil {
		return err
	}
	name, err := s.purge(ctx, `
apiVersion: cachewright.io/v1
kind: CacheInvalidation
metadata: {generateName: user-2-}
spec:
  targets:
  - {userID: user-2}
`)
	if err != nil {
		return err
	}
	keys, err := s.field(ctx, name, ".status.keysInvalidated")
	if err != nil || keys != "1" {
		return fmt.Errorf("keysInvalidated is %q, want 1 (%w)", keys, err)
	}
	after, err := s.keys(ctx)
	if err != nil {
		return err
	}
	if after != before-1 {
		return fmt.Errorf("%d keys of the namespace before, %d after", before, after)
	}
	say("  ✓ 1 key of user-2 went, %d keys of the namespace stayed", after)
	if err := s.wantQueries(ctx, 1, "user-2 looks at the profile",
		func() error { return s.readProfile(ctx, "user-2") }); err != nil {
		return err
	}
	return s.wantQueries(ctx, 0, "user-1 and user-3 look at theirs", func() error {
		if err := s.readProfile(ctx, "user-1"); err != nil {
			return err
		}
		return s.readProfile(ctx, "user-3")
	})
}

// keys counts the entries of the application.
func (s *stage) keys(ctx context.Context) (int64, error) {
	total := int64(0)
	for _, slot := range []registry.Slot{users, auth} {
		stats, err := s.registry.Stats(ctx, slot)
		if err != nil {
			return 0, err
		}
		total += stats.Keys
	}
	return total, nil
}

// purge creates a CacheInvalidation, waits until it is complete, and returns its name.
func (s *stage) purge(ctx context.Context, manifest string) (string, error) {
	say("  $ kubectl create -n %s -f - %s", namespace, heredoc(manifest))
	output, err := s.quietly(ctx, manifest, "create", "-n", namespace, "-o", "name", "-f", "-")
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, output)
	}
	name := strings.TrimSpace(output)
	return name, s.kubectl(ctx, "wait", "-n", namespace, "--for=condition=Complete", name,
		"--timeout=60s")
}
