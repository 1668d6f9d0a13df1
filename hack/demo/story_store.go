// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

// ownStore lets a team bring a Redis of its own.
func (s *stage) ownStore(ctx context.Context) error {
	server, err := redistest.Run(ctx, filepath.Join(s.dir, "redis-of-the-team"), 0)
	if err != nil {
		return err
	}
	s.ofTeam = server
	manifest := fmt.Sprintf(`
apiVersion: cachewright.io/v1
kind: CacheStore
metadata: {name: team}
spec: {addresses: ["%s"]}
---
apiVersion: cachewright.io/v1
kind: CachePolicy
metadata: {name: orders}
spec: {module: orders, defaultTTL: 1m, storeRef: {name: team}}
`, server.Addr())
	if err := s.kubectlWith(ctx, manifest, "apply", "-n", namespace, "-f", "-"); err != nil {
		return err
	}
	if err := s.kubectl(ctx, "wait", "-n", namespace, "--for=condition=Ready", "cachestore/team",
		"cachepolicy/orders", "--timeout=60s"); err != nil {
		return err
	}
	client := server.Client()
	defer func() { _ = client.Close() }()
	orders := registry.Slot{Namespace: namespace, Module: "orders"}
	_, there, errThere := registry.New(client).Policy(ctx, orders)
	_, here, errHere := s.registry.Policy(ctx, orders)
	if err := errors.Join(errThere, errHere); err != nil {
		return err
	}
	if !there || here {
		return fmt.Errorf("the policy is in the team's Redis: %t, in the operator's: %t", there, here)
	}
	say("  ✓ the policy is in the Redis of the team, and in no other")
	return nil
}
