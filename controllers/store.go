// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"

	"github.com/cachewright/cachewright/registry"
)

// Store is what the operator needs of a Redis; *registry.Registry is one. Errors are those of
// package registry.
type Store interface {
	PolicyStore
	InvalidationStore
	MonitorStore
	FenceStore
}

// PolicyStore is what CachePolicyReconciler needs of a store.
type PolicyStore interface {
	reclaimer
	PolicyHashes(ctx context.Context, slots []registry.Slot) ([]string, error)
	ApplyPolicyFor(ctx context.Context, claim registry.Claim, policy registry.Policy) (registry.Applied, error)
	DeletePolicyFor(ctx context.Context, claim registry.Claim) (bool, error)
	OwnPolicies(ctx context.Context, claims []registry.Claim) error
	JoinModules(ctx context.Context, slot registry.Slot) (joined bool, err error)
	AddModules(ctx context.Context, namespace string, modules ...string) error
	Stats(ctx context.Context, slot registry.Slot) (registry.Stats, error)
}

// InvalidationStore is what CacheInvalidationReconciler needs of a store.
type InvalidationStore interface {
	reclaimer
	InvalidateMany(ctx context.Context, calls []registry.Invalidation) []registry.InvalidationResult
	Modules(ctx context.Context, namespace string) ([]string, error)
}

// MonitorStore is what Monitor needs of a store.
type MonitorStore interface {
	Check(ctx context.Context) (registry.Health, error)
	Install(ctx context.Context) (loaded int, err error)
	Writable(ctx context.Context) error
	PolicyHashes(ctx context.Context, slots []registry.Slot) ([]string, error)
	OwnPolicies(ctx context.Context, claims []registry.Claim) error
	AddAllModules(ctx context.Context, modules map[string][]string) error
	StatsOf(ctx context.Context, slots []registry.Slot) ([]registry.Stats, error)
}

type reclaimer interface {
	Reclaim(ctx context.Context, slot registry.Slot, limit int) (registry.Reclaimed, error)
}
