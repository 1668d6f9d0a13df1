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

// Holds puts marks of holds back into a store.
type Holds struct {
	Store HoldStore
	Now   time.Time
	// Lost notes the marks that were not there.
	Lost *LostMarks
}

// Restore puts back the marks of all invalidations that hold in a module, which its store may
// have lost. It has to be done before the module is cached again, so before its policy is put back.
func (h Holds) Restore(
	ctx context.Context, referrers resource.Referrers, slot registry.Slot,
) error {
	holding, err := resource.HoldingIn(ctx, referrers.Reader, slot.Namespace, referrers.Store)
	if err != nil {
		return err
	}
	return h.putBack(ctx, holding, slot)
}

// putBack puts back the marks that these invalidations have in a module.
func (h Holds) putBack(
	ctx context.Context, holding []v1.CacheInvalidation, slot registry.Slot,
) error {
	for i := range holding {
		targets := convert.HoldTargets(slot.Module, holding[i].Spec.Targets)
		remaining := min(resource.HoldRemaining(&holding[i], h.Now), registry.MaxHold)
		if len(targets) == 0 || remaining <= 0 {
			continue
		}
		id := resource.HoldID(&holding[i])
		held, err := h.Store.Hold(ctx, slot, id, remaining, targets...)
		if err != nil {
			return err
		}
		h.Lost.add(ctx, &holding[i], slot, int64(len(targets))-held.Stood)
	}
	return nil
}
