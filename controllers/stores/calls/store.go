// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package calls

import (
	"context"

	"github.com/cachewright/cachewright/controllers/internal/drift"
	"github.com/cachewright/cachewright/controllers/internal/stats"
	"github.com/cachewright/cachewright/controllers/recovery"
	"github.com/cachewright/cachewright/registry"
)

// Store is what the operator needs of a Redis; *registry.Registry is one. Errors are those of
// package registry.
type Store interface {
	SessionStore
	MonitorStore
	recovery.Store
}

// SessionStore is what reconcilers need of a store.
type SessionStore interface {
	PolicyStore
	InvalidationStore
}

// PolicyStore is what the reconciler of policies needs of a store.
type PolicyStore interface {
	Reclaimer
	recovery.HoldStore
	PolicyHashes(ctx context.Context, slots []registry.Slot) ([]string, error)
	ApplyPolicyFor(ctx context.Context, claim registry.Claim,
		policy registry.Policy) (registry.Applied, error)
	DeletePolicyFor(ctx context.Context, claim registry.Claim) (bool, error)
	OwnPolicies(ctx context.Context, claims []registry.Claim) error
	EnsureListed(ctx context.Context, slot registry.Slot, all func() ([]string, error)) error
	Stats(ctx context.Context, slot registry.Slot) (registry.Stats, error)
}

// InvalidationStore is what the reconciler of invalidations needs of a store.
type InvalidationStore interface {
	Reclaimer
	recovery.HoldStore
	Release(ctx context.Context, slot registry.Slot, id registry.HoldID,
		targets ...registry.HoldTarget) (lifted int64, err error)
	InvalidateMany(ctx context.Context, calls []registry.Invalidation) []registry.InvalidationResult
	Modules(ctx context.Context, namespace string) ([]string, error)
}

// MonitorStore is what a Monitor needs of a store, beside what its steps need.
type MonitorStore interface {
	drift.Store
	stats.Reader
	stats.UnclaimedReader
	Check(ctx context.Context) (registry.Health, error)
	Install(ctx context.Context) (loaded int, err error)
	Writable(ctx context.Context) error
}

// Reclaimer frees the memory of entries.
type Reclaimer interface {
	Reclaim(ctx context.Context, slot registry.Slot, limit int) (registry.Reclaimed, error)
}
