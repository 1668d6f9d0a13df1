// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package calls

import (
	"context"
	"time"

	"k8s.io/utils/clock"

	"github.com/cachewright/cachewright/internal/contain"
	"github.com/cachewright/cachewright/registry"
)

const (
	// CallTimeout bounds a call of a reconcile to a store. While a worker waits for a store, it serves
	// no other. So it waits no longer than a new connection to a distant store takes. The monitor, for
	// which nobody waits, finds out what is wrong.
	CallTimeout = 2 * time.Second
	// SlowCallTimeout bounds a call to a store that is known to answer slowly. Those who wait for it
	// have workers of their own. A new connection takes two answers before that of the call.
	SlowCallTimeout = 6 * time.Second
)

// TimeoutStore bounds the time of each call of a reconcile, and turns a panic over an answer into
// an error of the store.
type TimeoutStore struct {
	Store SessionStore
	// Limit of one call: CallTimeout or SlowCallTimeout.
	Limit time.Duration
	// Took is called with the time that a call took.
	Took  func(time.Duration)
	Clock clock.PassiveClock
}

// call makes one call to the store.
func (s TimeoutStore) call(ctx context.Context, do func(context.Context) error) (err error) {
	return s.callFor(ctx, s.Limit, do)
}

func (s TimeoutStore) callFor(
	ctx context.Context, limit time.Duration, do func(context.Context) error,
) (err error) {
	defer contain.Panic(&err, registry.ErrMisbehaves)
	began := s.Clock.Now()
	defer func() { s.Took(s.Clock.Since(began)) }()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return do(ctx)
}

// PolicyHashes implements SessionStore.
func (s TimeoutStore) PolicyHashes(
	ctx context.Context, slots []registry.Slot,
) (hashes []string, err error) {
	err = s.call(ctx, func(ctx context.Context) (err error) {
		hashes, err = s.Store.PolicyHashes(ctx, slots)
		return err
	})
	return hashes, err
}

// ApplyPolicyFor implements SessionStore.
func (s TimeoutStore) ApplyPolicyFor(
	ctx context.Context, claim registry.Claim, policy registry.Policy,
) (applied registry.Applied, err error) {
	err = s.call(ctx, func(ctx context.Context) (err error) {
		applied, err = s.Store.ApplyPolicyFor(ctx, claim, policy)
		return err
	})
	return applied, err
}

// DeletePolicyFor implements SessionStore.
func (s TimeoutStore) DeletePolicyFor(
	ctx context.Context, claim registry.Claim,
) (deleted bool, err error) {
	err = s.call(ctx, func(ctx context.Context) (err error) {
		deleted, err = s.Store.DeletePolicyFor(ctx, claim)
		return err
	})
	return deleted, err
}

// OwnPolicies implements SessionStore.
func (s TimeoutStore) OwnPolicies(ctx context.Context, claims []registry.Claim) error {
	return s.call(ctx, func(ctx context.Context) error { return s.Store.OwnPolicies(ctx, claims) })
}

// EnsureListed implements SessionStore. It takes at most two answers.
func (s TimeoutStore) EnsureListed(
	ctx context.Context, slot registry.Slot, all func() ([]string, error),
) error {
	return s.callFor(ctx, 2*s.Limit, func(ctx context.Context) error {
		return s.Store.EnsureListed(ctx, slot, all)
	})
}

// Stats implements SessionStore.
func (s TimeoutStore) Stats(
	ctx context.Context, slot registry.Slot,
) (stats registry.Stats, err error) {
	err = s.call(ctx, func(ctx context.Context) (err error) {
		stats, err = s.Store.Stats(ctx, slot)
		return err
	})
	return stats, err
}

// InvalidateMany implements SessionStore. It gets at most as many calls as take two round trips.
func (s TimeoutStore) InvalidateMany(
	ctx context.Context, calls []registry.Invalidation,
) (results []registry.InvalidationResult) {
	err := s.callFor(ctx, 2*s.Limit, func(ctx context.Context) error {
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

// Modules implements SessionStore.
func (s TimeoutStore) Modules(ctx context.Context, namespace string) (modules []string, err error) {
	err = s.call(ctx, func(ctx context.Context) (err error) {
		modules, err = s.Store.Modules(ctx, namespace)
		return err
	})
	return modules, err
}

// Reclaim implements SessionStore.
func (s TimeoutStore) Reclaim(
	ctx context.Context, slot registry.Slot, limit int,
) (reclaimed registry.Reclaimed, err error) {
	err = s.call(ctx, func(ctx context.Context) (err error) {
		reclaimed, err = s.Store.Reclaim(ctx, slot, limit)
		return err
	})
	return reclaimed, err
}
