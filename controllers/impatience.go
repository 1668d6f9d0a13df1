// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"time"

	"github.com/cachewright/cachewright/registry"
)

// callTimeout bounds a call of a reconcile to a store. A worker that waits for a store is missed by the resources of
// all others, so it waits no longer than a new connection to a distant one takes; the monitor, for which nobody waits,
// finds out what is the matter.
const callTimeout = 2 * time.Second

// impatientStore is a store whose answers reconciles wait for no longer than callTimeout each.
type impatientStore struct {
	Store
}

// PolicyHashes implements Store.
func (s impatientStore) PolicyHashes(ctx context.Context, slots []registry.Slot) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return s.Store.PolicyHashes(ctx, slots)
}

// ApplyPolicy implements Store.
func (s impatientStore) ApplyPolicy(ctx context.Context, slot registry.Slot, policy registry.Policy) (registry.Applied, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return s.Store.ApplyPolicy(ctx, slot, policy)
}

// DeletePolicy implements Store.
func (s impatientStore) DeletePolicy(ctx context.Context, slot registry.Slot) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return s.Store.DeletePolicy(ctx, slot)
}

// JoinModules implements Store.
func (s impatientStore) JoinModules(ctx context.Context, slot registry.Slot) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return s.Store.JoinModules(ctx, slot)
}

// AddModules implements Store.
func (s impatientStore) AddModules(ctx context.Context, namespace string, modules ...string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return s.Store.AddModules(ctx, namespace, modules...)
}

// Stats implements Store.
func (s impatientStore) Stats(ctx context.Context, slot registry.Slot) (registry.Stats, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return s.Store.Stats(ctx, slot)
}

// InvalidateMany implements Store. It is asked for as much as Redis does in a moment.
func (s impatientStore) InvalidateMany(ctx context.Context, calls []registry.Invalidation) []registry.InvalidationResult {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return s.Store.InvalidateMany(ctx, calls)
}

// Modules implements Store.
func (s impatientStore) Modules(ctx context.Context, namespace string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return s.Store.Modules(ctx, namespace)
}

// Reclaim implements Store.
func (s impatientStore) Reclaim(ctx context.Context, slot registry.Slot, limit int) (registry.Reclaimed, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return s.Store.Reclaim(ctx, slot, limit)
}
