// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
)

// purgeByRevision changes the revision of a policy, as GitOps does.
func (s *stage) purgeByRevision(ctx context.Context) error {
	if err := s.wantCached(ctx, true, "a post is cached"); err != nil {
		return err
	}
	const patch = `{"spec":{"revision":"release-2"}}`
	say("  $ kubectl patch -n %s cachepolicy/posts --type=merge -p '%s'", namespace, patch)
	output, err := s.quietly(ctx, "", "patch", "-n", namespace, "cachepolicy/posts", "--type=merge",
		"-p", patch)
	if err != nil {
		return fmt.Errorf("%w: %s", err, output)
	}
	err = eventually(ctx, "the revision in Redis", func() error {
		policy, _, err := s.registry.Policy(ctx, posts)
		if err == nil && policy.Revision != "release-2" {
			err = errNotYet
		}
		return err
	})
	if err != nil {
		return err
	}
	return s.wantCached(ctx, false, "the module was purged once: the next reader loads the post")
}

// dryRun counts what a purge would cover, and leaves it.
func (s *stage) dryRun(ctx context.Context) error {
	name, err := s.purge(ctx, `
apiVersion: cachewright.io/v1
kind: CacheInvalidation
metadata: {generateName: counted-}
spec:
  dryRun: true
  targets:
  - {module: posts}
`)
	if err != nil {
		return err
	}
	keys, err := s.field(ctx, name, ".status.keysInvalidated")
	if err != nil || keys != "1" {
		return fmt.Errorf("keysInvalidated is %q, want 1 (%w)", keys, err)
	}
	return s.wantCached(ctx, true, "it would take 1 key, and took none: the post is cached still")
}

// hold keeps a module out of the cache for a while.
func (s *stage) hold(ctx context.Context) error {
	const manifest = `
apiVersion: cachewright.io/v1
kind: CacheInvalidation
metadata: {name: import}
spec:
  holdFor: 5s
  reason: an import is under way
  targets:
  - {module: posts}
`
	if err := s.kubectlWith(ctx, manifest, "create", "-n", namespace, "-f", "-"); err != nil {
		return err
	}
	if err := s.kubectl(ctx, "wait", "-n", namespace, "--for=jsonpath={.status.state}=Holding",
		"cacheinvalidation/import", "--timeout=60s"); err != nil {
		return err
	}
	if err := s.wantCached(ctx, false, "a reader loads the post, and nothing is stored"); err != nil {
		return err
	}
	if err := s.kubectl(ctx, "wait", "-n", namespace, "--for=condition=Complete",
		"cacheinvalidation/import", "--timeout=60s"); err != nil {
		return err
	}
	if _, err := s.isCached(ctx, posts.Module, "getById"); err != nil { // loads it once
		return err
	}
	return s.wantCached(ctx, true, "the hold has ended by itself, and the post is cached again")
}
