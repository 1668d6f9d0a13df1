// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cacheinvalidation

import (
	"cmp"
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/convert"
	"github.com/cachewright/cachewright/controllers/internal/resource"
	"github.com/cachewright/cachewright/controllers/internal/status"
	"github.com/cachewright/cachewright/internal/contain"
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
func (a *attempt) beginHold(ctx context.Context) error {
	err := a.patch.Finalizer(ctx, a.invalidation, v1.CacheInvalidationFinalizer, true)
	if err != nil {
		return err
	}
	// Times in a status have whole seconds.
	until := a.Clock.Now().Add(a.invalidation.Spec.HoldFor.Duration + time.Second).
		Truncate(time.Second)
	if err := a.mark(ctx, until); err != nil {
		return err
	}
	a.found.holdUntil = until
	return nil
}

// keepHold renews the marks where that is due, and ends a hold that is over.
func (a *attempt) keepHold(ctx context.Context) error {
	if a.invalidation.Status.HoldEndTime == nil {
		return nil
	}
	now, until := a.Clock.Now(), a.invalidation.Status.HoldEndTime.Time
	if !now.Before(until) {
		// Redis has ended the marks: none has a later deadline than the hold.
		a.renewals.forget(a.invalidation)
		return a.patch.Finalizer(ctx, a.invalidation, v1.CacheInvalidationFinalizer, false)
	}
	known := a.renewals.of(a.invalidation)
	for slot, marks := range a.LostMarks.Take(a.invalidation.UID) {
		if known.slots[slot] { // else it had none there
			a.found.holdsLost += marks
		}
	}
	if a.store.Err() == nil && a.store.CanHold() != nil {
		// An older library ignores marks. The first turn under a newer one renews them.
		known.due = time.Time{}
		a.renewals.set(a.invalidation, known)
	}
	if now.Before(known.due) {
		return nil
	}
	return a.mark(ctx, until)
}

// mark puts the marks of a hold, or moves their deadline to its end. One call moves it no further
// than Redis allows. It covers modules that appeared meanwhile, too.
func (a *attempt) mark(ctx context.Context, until time.Time) error {
	now, former := a.Clock.Now(), a.renewals.of(a.invalidation)
	next := renewal{due: now.Add(renewAfter), slots: map[registry.Slot]bool{}}
	if former.slots == nil {
		next.due = now.Add(confirmAfter)
	}
	id, ttl := resource.HoldID(a.invalidation), min(until.Sub(now), registry.MaxHold)
	err := a.eachHeld(func(slot registry.Slot, covered []registry.HoldTarget) error {
		held, err := a.store.Hold(ctx, slot, id, ttl, covered...)
		if err != nil {
			return err
		}
		if former.slots[slot] {
			a.found.holdsLost += int64(len(covered)) - held.Stood
		}
		next.slots[slot] = true
		return nil
	})
	if err == nil {
		a.renewals.set(a.invalidation, next)
	}
	return err
}

// liftMarks takes the marks of a hold out of Redis.
func (a *attempt) liftMarks(ctx context.Context) (err error) {
	defer contain.Panic(&err, status.ErrPanicked)
	id := resource.HoldID(a.invalidation)
	return a.eachHeld(func(slot registry.Slot, covered []registry.HoldTarget) error {
		_, err := a.store.Release(ctx, slot, id, covered...)
		return err
	})
}

// eachHeld makes a call for each module that the invalidation reaches, with what it holds there.
func (a *attempt) eachHeld(call func(registry.Slot, []registry.HoldTarget) error) error {
	if err := cmp.Or(a.store.Err(), a.store.CanHold()); err != nil {
		return err
	}
	listed := a.invalidation.Spec.Targets
	slots, err := a.view.Slots(a.invalidation.Namespace, listed...)
	if err != nil {
		return err
	}
	for _, slot := range slots {
		if err := call(slot, convert.HoldTargets(slot.Module, listed)); err != nil {
			return err
		}
	}
	return nil
}

// untilHoldIsDue is the time until a hold is renewed, ends, or its status is written again.
func (a *attempt) untilHoldIsDue(now time.Time) time.Duration {
	remaining := a.invalidation.Status.HoldEndTime.Sub(now)
	tick := remaining % endsInterval
	if tick == 0 {
		tick = endsInterval
	}
	return max(min(tick, a.renewals.of(a.invalidation).due.Sub(now)), status.Immediately)
}

// release takes the marks of a deleted invalidation out of Redis, and lets it go. It gives up after
// some time, whatever happens: Redis ends the marks itself.
func (r *Reconciler) release(
	ctx context.Context, invalidation *v1.CacheInvalidation,
) (reconcile.Result, error) {
	if !controllerutil.ContainsFinalizer(invalidation, v1.CacheInvalidationFinalizer) {
		return reconcile.Result{}, nil
	}
	a := r.begin(ctx, invalidation)
	met := a.store.End(ctx, invalidation, a.liftMarks(ctx))
	waiting := resource.Deletion{Timeout: releaseTimeout, Clock: r.Clock}
	if met != nil && !waiting.IsOverdue(invalidation) {
		return status.InBackground(min(waiting.Remaining(invalidation), status.MinWait)), nil
	}
	r.renewals.forget(invalidation)
	r.LostMarks.Take(invalidation.UID)
	return reconcile.Result{},
		a.patch.Finalizer(ctx, invalidation, v1.CacheInvalidationFinalizer, false)
}
