// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"time"

	"k8s.io/utils/clock"

	"github.com/cachewright/cachewright/internal/contain"
	"github.com/cachewright/cachewright/registry"
)

const (
	// callTimeout bounds a call of a reconcile to a store. A worker that waits for a store is missed by the resources of
	// all others, so it waits no longer than a new connection to a distant one takes; the monitor, for which nobody waits,
	// finds out what is the matter.
	callTimeout = 2 * time.Second
	// slowCallTimeout bounds a call to a store that is known to answer slowly. Those who wait for one have places of their own,
	// and a new connection takes two answers before the one that is asked for.
	slowCallTimeout = 6 * time.Second
)

// impatientStore is a store whose answers reconciles wait for no longer than a limit each, and over whose answers none of
// them panics.
type impatientStore struct {
	Store

	// limit of one call: callTimeout or slowCallTimeout.
	limit time.Duration
	// took is told how long a call took.
	took  func(time.Duration)
	clock clock.PassiveClock
}

// call makes one call to the store.
func (s impatientStore) call(ctx context.Context, do func(context.Context) error) (err error) {
	return s.callFor(ctx, s.limit, do)
}

func (s impatientStore) callFor(ctx context.Context, limit time.Duration, do func(context.Context) error) (err error) {
	defer contain.Panic(&err, registry.ErrMisbehaves)
	began := s.clock.Now()
	defer func() { s.took(s.clock.Since(began)) }()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return do(ctx)
}

// PolicyHashes implements Store.
func (s impatientStore) PolicyHashes(ctx context.Context, slots []registry.Slot) (hashes []string, err error) {
	err = s.call(ctx, func(ctx context.Context) (err error) {
		hashes, err = s.Store.PolicyHashes(ctx, slots)
		return err
	})
	return hashes, err
}

// ApplyPolicyFor implements Store.
func (s impatientStore) ApplyPolicyFor(
	ctx context.Context, claim registry.Claim, policy registry.Policy,
) (applied registry.Applied, err error) {
	err = s.call(ctx, func(ctx context.Context) (err error) {
		applied, err = s.Store.ApplyPolicyFor(ctx, claim, policy)
		return err
	})
	return applied, err
}

// DeletePolicyFor implements Store.
func (s impatientStore) DeletePolicyFor(ctx context.Context, claim registry.Claim) (deleted bool, err error) {
	err = s.call(ctx, func(ctx context.Context) (err error) {
		deleted, err = s.Store.DeletePolicyFor(ctx, claim)
		return err
	})
	return deleted, err
}

// OwnPolicies implements Store.
func (s impatientStore) OwnPolicies(ctx context.Context, claims []registry.Claim) error {
	return s.call(ctx, func(ctx context.Context) error { return s.Store.OwnPolicies(ctx, claims) })
}

// JoinModules implements Store.
func (s impatientStore) JoinModules(ctx context.Context, slot registry.Slot) (joined bool, err error) {
	err = s.call(ctx, func(ctx context.Context) (err error) {
		joined, err = s.Store.JoinModules(ctx, slot)
		return err
	})
	return joined, err
}

// AddModules implements Store.
func (s impatientStore) AddModules(ctx context.Context, namespace string, modules ...string) error {
	return s.call(ctx, func(ctx context.Context) error { return s.Store.AddModules(ctx, namespace, modules...) })
}

// Stats implements Store.
func (s impatientStore) Stats(ctx context.Context, slot registry.Slot) (stats registry.Stats, err error) {
	err = s.call(ctx, func(ctx context.Context) (err error) {
		stats, err = s.Store.Stats(ctx, slot)
		return err
	})
	return stats, err
}

// InvalidateMany implements Store. It is asked for purgeBatch calls at the most, which take two round trips.
func (s impatientStore) InvalidateMany(
	ctx context.Context, calls []registry.Invalidation,
) (results []registry.InvalidationResult) {
	err := s.callFor(ctx, 2*s.limit, func(ctx context.Context) error {
		results = s.Store.InvalidateMany(ctx, calls)
		return nil
	})
	if err == nil {
		return results
	}
	results = make([]registry.InvalidationResult, len(calls))
	for i := range results {
		results[i].Err = err
	}
	return results
}

// Modules implements Store.
func (s impatientStore) Modules(ctx context.Context, namespace string) (modules []string, err error) {
	err = s.call(ctx, func(ctx context.Context) (err error) {
		modules, err = s.Store.Modules(ctx, namespace)
		return err
	})
	return modules, err
}

// Reclaim implements Store.
func (s impatientStore) Reclaim(
	ctx context.Context, slot registry.Slot, limit int,
) (reclaimed registry.Reclaimed, err error) {
	err = s.call(ctx, func(ctx context.Context) (err error) {
		reclaimed, err = s.Store.Reclaim(ctx, slot, limit)
		return err
	})
	return reclaimed, err
}
