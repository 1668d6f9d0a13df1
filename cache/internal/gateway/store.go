// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"time"

	"github.com/cachewright/cachewright/registry"
)

// Store is what a Gateway needs of registry.Registry.
type Store interface {
	Reader

	Unlock(ctx context.Context, key registry.Key) error
	Fill(
		ctx context.Context, key registry.Key, payload []byte, token registry.Token,
		options registry.FillOptions,
	) (registry.Filled, error)
	Put(
		ctx context.Context, key registry.Key, payload []byte, options registry.FillOptions,
	) (registry.Filled, error)
	Delete(ctx context.Context, key registry.Key) (bool, error)
	SetMany(ctx context.Context, fills []registry.Fill) []registry.FillResult
	DeleteMany(ctx context.Context, keys []registry.Key) []error
	UnlockMany(ctx context.Context, keys []registry.Key) []error
	Invalidate(
		ctx context.Context, slot registry.Slot, scope registry.Scope, mode registry.Mode,
		requestID string,
	) (registry.Invalidated, error)
	Hold(
		ctx context.Context, slot registry.Slot, id registry.HoldID, ttl time.Duration,
		targets ...registry.HoldTarget,
	) (registry.Held, error)
	Release(
		ctx context.Context, slot registry.Slot, id registry.HoldID, targets ...registry.HoldTarget,
	) (lifted int64, err error)
	Reclaim(ctx context.Context, slot registry.Slot, limit int) (registry.Reclaimed, error)
	Modules(ctx context.Context, namespace string) ([]string, error)
	Policy(ctx context.Context, slot registry.Slot) (registry.Policy, bool, error)
	Report(ctx context.Context, slot registry.Slot, operation string, counters registry.Counters) error
	Stats(ctx context.Context, slot registry.Slot) (registry.Stats, error)
	ReportUnclaimed(ctx context.Context, namespace string, names []registry.Unclaimed) error
}

// Reader is the part of a Store that may return entries.
type Reader interface {
	Read(ctx context.Context, key registry.Key) (registry.Lookup, error)
	ReadLocked(ctx context.Context, key registry.Key) (lookup registry.Lookup, locked bool, err error)
	Inspect(ctx context.Context, key registry.Key) (registry.Lookup, registry.Version, error)
	Lease(ctx context.Context, key registry.Key) (registry.Lookup, error)
	LeaseLocked(ctx context.Context, key registry.Key, lock time.Duration) (registry.Lookup, error)
	// The keys of a call are of one slot.
	ReadMany(ctx context.Context, keys []registry.Key) ([]registry.Lookup, error)
	ReadManyLocked(
		ctx context.Context, keys []registry.Key,
	) (lookups []registry.Lookup, locked []bool, err error)
	LeaseMany(ctx context.Context, keys []registry.Key, lock time.Duration) []registry.Leased
}
