// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cachewright/cachewright/registry"
)

func (s *stage) purgeLargeModule(ctx context.Context) error {
	manifest := fmt.Sprintf(`
apiVersion: cachewright.io/v1
kind: CachePolicy
metadata: {name: %[1]s}
spec: {module: %[1]s, defaultTTL: 1h}
`, largeModule)
	if err := s.kubectlWith(ctx, manifest, "apply", "-n", namespace, "-f", "-"); err != nil {
		return err
	}
	slot := registry.Slot{Namespace: namespace, Module: largeModule}
	if err := s.policyInForce(ctx, slot); err != nil {
		return err
	}
	began := time.Now()
	if err := s.fillLargeModule(ctx, slot); err != nil {
		return err
	}
	say("  … %d keys filled in %s", largeKeys, time.Since(began).Round(100*time.Millisecond))
	name, err := s.purge(ctx, fmt.Sprintf(`
apiVersion: cachewright.io/v1
kind: CacheInvalidation
metadata: {generateName: catalog-}
spec:
  targets:
  - {module: %s}
`, largeModule))
	if err != nil {
		return err
	}
	if err := s.kubectl(ctx, "get", "-n", namespace, name, "-o", "wide"); err != nil {
		return err
	}
	for field, want := range map[string]string{
		".status.keysInvalidated": strconv.Itoa(largeKeys),
		".status.keysReclaimed":   strconv.Itoa(largeKeys),
	} {
		if got, err := s.field(ctx, name, field); err != nil || got != want {
			return fmt.Errorf("%s is %q, want %s (%w)", field, got, want, err)
		}
	}
	spent, err := s.field(ctx, name, ".status.duration")
	if err != nil {
		return err
	}
	say("  ✓ in effect within %s; the memory of %d keys was freed after that", spent, largeKeys)
	return nil
}

func (s *stage) fillLargeModule(ctx context.Context, slot registry.Slot) error {
	const workers = 32
	var next atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for range workers {
		group.Go(func() error {
			for i := next.Add(1); i <= largeKeys; i = next.Add(1) {
				key := registry.Key{Slot: slot, Operation: "item", ID: strconv.FormatInt(i, 10)}
				lookup, err := s.registry.Lease(ctx, key)
				if err != nil {
					return err
				}
				filled, err := s.registry.Set(ctx, key, []byte("an item of the catalog"), lookup.Token)
				if err != nil || filled.Outcome != registry.Stored {
					return fmt.Errorf("a fill was %s (%w)", filled.Outcome, err)
				}
			}
			return nil
		})
	}
	return group.Wait()
}
