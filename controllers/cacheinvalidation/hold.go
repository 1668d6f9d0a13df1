// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cacheinvalidation

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/cacheinvalidation/targets"
	"github.com/cachewright/cachewright/controllers/internal/convert"
	"github.com/cachewright/cachewright/controllers/internal/resource"
	"github.com/cachewright/cachewright/controllers/internal/status"
	"github.com/cachewright/cachewright/controllers/stores"
	"github.com/cachewright/cachewright/controllers/stores/calls"
	"github.com/cachewright/cachewright/registry"
)

const (
	// renewAfter is the time between two renewals of a hold: half of how long its marks stand.
	renewAfter = registry.MaxHold / 2
	// confirmAfter is the time until the first renewal. A loss of data that came before the cache
	// showed the hold is repaired by it.
	confirmAfter = 2 * time.Second
	// endsInterval is the time between two writes of how long a hold lasts.
	endsInterval = time.Minute
	// releaseTimeout bounds how long a deleted invalidation waits for a store that cannot be used.
	// Redis ends the marks itself, within registry.MaxHold.
	releaseTimeout = time.Minute
)

// renewals remembers the marks of holds that this process put, and when they are due. A process
// that begins knows none, so it renews each hold at once; nil: nothing is remembered.
type renewals struct {
	mu    sync.Mutex
	known map[types.UID]renewal
}

// renewal is what is known of the marks of one hold.
type renewal struct {
	due   time.Time
	slots map[registry.Slot]bool
}

func newRenewals() *renewals { return &renewals{known: map[types.UID]renewal{}} }

// of returns what is known of a hold; the zero value: nothing, so it is due.
func (r *renewals) of(invalidation *v1.CacheInvalidation) renewal {
	if r == nil {
		return renewal{}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.known[invalidation.UID]
}

func (r *renewals) set(invalidation *v1.CacheInvalidation, next renewal) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known[invalidation.UID] = next
}

func (r *renewals) forget(invalidation *v1.CacheInvalidation) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.known, invalidation.UID)
}

// beginHold puts the marks of an invalidation whose targets all took effect. The finalizer comes
// first: a resource that is deleted meanwhile has to take its marks out again.
func (r *Reconciler) beginHold(
	ctx context.Context, patch *resource.Patcher, invalidation *v1.CacheInvalidation,
	store *stores.Session, view targets.View, found *findings,
) error {
	if err := patch.Finalizer(ctx, invalidation, v1.CacheInvalidationFinalizer, true); err != nil {
		return err
	}
	// Times in a status have whole seconds.
	until := r.Clock.Now().Add(invalidation.Spec.HoldFor.Duration + time.Second).Truncate(time.Second)
	if err := r.mark(ctx, invalidation, store, view, until, found); err != nil {
		return err
	}
	found.holdUntil = until
	return nil
}

// keepHold renews the marks where that is due, and ends a hold that is over.
func (r *Reconciler) keepHold(
	ctx context.Context, patch *resource.Patcher, invalidation *v1.CacheInvalidation,
	store *stores.Session, found *findings,
) error {
	if invalidation.Status.HoldEndTime == nil {
		return nil
	}
	now, until := r.Clock.Now(), invalidation.Status.HoldEndTime.Time
	if !now.Before(until) {
		// Redis has ended the marks: none has a later deadline than the hold.
		r.renewals.forget(invalidation)
		return patch.Finalizer(ctx, invalidation, v1.CacheInvalidationFinalizer, false)
	}
	if now.Before(r.renewals.of(invalidation).due) {
		return nil
	}
	if err := store.Err(); err != nil {
		return err
	}
	view := targets.ViewOf(ctx, r.Client, store, invalidation)
	return r.mark(ctx, invalidation, store, view, until, found)
}

// mark puts the marks of a hold, or moves their deadline to its end. One call moves it no further
// than Redis allows. It covers modules that appeared meanwhile, too.
func (r *Reconciler) mark(
	ctx context.Context, invalidation *v1.CacheInvalidation, store calls.InvalidationStore,
	view targets.View, until time.Time, found *findings,
) error {
	slots, err := view.Slots(invalidation.Namespace, invalidation.Spec.Targets...)
	if err != nil {
		return err
	}
	now, former := r.Clock.Now(), r.renewals.of(invalidation)
	next := renewal{due: now.Add(renewAfter), slots: map[registry.Slot]bool{}}
	if former.slots == nil {
		next.due = now.Add(confirmAfter)
	}
	id, ttl := resource.HoldID(invalidation), min(until.Sub(now), registry.MaxHold)
	for _, slot := range slots {
		covered := convert.HoldTargets(slot.Module, invalidation.Spec.Targets)
		held, err := store.Hold(ctx, slot, id, ttl, covered...)
		if err != nil {
			return err
		}
		if former.slots[slot] {
			found.holdsLost += int64(len(covered)) - held.Stood
		}
		next.slots[slot] = true
	}
	r.renewals.set(invalidation, next)
	return nil
}

// untilHoldIsDue is the time until a hold is renewed, ends, or its status is written again.
func (r *Reconciler) untilHoldIsDue(
	invalidation *v1.CacheInvalidation, now time.Time,
) time.Duration {
	remaining := invalidation.Status.HoldEndTime.Sub(now)
	tick := remaining % endsInterval
	if tick == 0 {
		tick = endsInterval
	}
	return max(min(tick, r.renewals.of(invalidation).due.Sub(now)), status.Immediately)
}

// release takes the marks of a deleted invalidation out of Redis, and lets it go. It gives up after
// some time: Redis ends the marks itself.
func (r *Reconciler) release(
	ctx context.Context, invalidation *v1.CacheInvalidation,
) (result reconcile.Result, err error) {
	if !controllerutil.ContainsFinalizer(invalidation, v1.CacheInvalidationFinalizer) {
		return reconcile.Result{}, nil
	}
	store := r.Stores.Open(ctx, resource.StoreIDOf(invalidation.Namespace, invalidation.Spec.StoreRef))
	met := status.Classify(r.unmark(ctx, invalidation, store), store.Location())
	store.Close(met)
	waited := r.Clock.Since(invalidation.DeletionTimestamp.Time)
	if met != nil && waited < releaseTimeout {
		store.WakeAfterProbe(invalidation, met)
		return status.InBackground(min(releaseTimeout-waited, status.MinWait)), nil
	}
	r.renewals.forget(invalidation)
	patch := resource.NewPatcher(r.Client, invalidation)
	return reconcile.Result{},
		patch.Finalizer(ctx, invalidation, v1.CacheInvalidationFinalizer, false)
}

func (r *Reconciler) unmark(
	ctx context.Context, invalidation *v1.CacheInvalidation, store *stores.Session,
) error {
	if err := store.Err(); err != nil {
		return err
	}
	view := targets.ViewOf(ctx, r.Client, store, invalidation)
	slots, err := view.Slots(invalidation.Namespace, invalidation.Spec.Targets...)
	if err != nil {
		return err
	}
	id := resource.HoldID(invalidation)
	for _, slot := range slots {
		covered := convert.HoldTargets(slot.Module, invalidation.Spec.Targets)
		if _, err := store.Release(ctx, slot, id, covered...); err != nil {
			return err
		}
	}
	return nil
}
