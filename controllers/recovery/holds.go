// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"context"
	"time"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/convert"
	"github.com/cachewright/cachewright/controllers/internal/resource"
	"github.com/cachewright/cachewright/registry"
)

// HoldStore is what putting holds back needs of a store.
type HoldStore interface {
	Hold(ctx context.Context, slot registry.Slot, id registry.HoldID, ttl time.Duration,
		targets ...registry.HoldTarget) (registry.Held, error)
}

// RestoreHolds puts back the marks of all invalidations that hold in a module, which its store may
// have lost. It has to be done before the module is cached again, so before its policy is put back.
func RestoreHolds(
	ctx context.Context, referrers resource.Referrers, store HoldStore, slot registry.Slot,
	now time.Time,
) error {
	holding, err := resource.HoldingIn(ctx, referrers.Reader, slot.Namespace, referrers.Store)
	if err != nil {
		return err
	}
	return putBack(ctx, holding, store, slot, now)
}

// putBack puts back the marks that these invalidations have in a module.
func putBack(
	ctx context.Context, holding []v1.CacheInvalidation, store HoldStore, slot registry.Slot,
	now time.Time,
) error {
	for i := range holding {
		targets := convert.HoldTargets(slot.Module, holding[i].Spec.Targets)
		remaining := min(resource.HoldRemaining(&holding[i], now), registry.MaxHold)
		if len(targets) == 0 || remaining <= 0 {
			continue
		}
		id := resource.HoldID(&holding[i])
		if _, err := store.Hold(ctx, slot, id, remaining, targets...); err != nil {
			return err
		}
	}
	return nil
}
