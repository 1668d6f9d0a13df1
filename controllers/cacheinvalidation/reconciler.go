// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cacheinvalidation

import (
	"cmp"
	"context"
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/cacheinvalidation/targets"
	"github.com/cachewright/cachewright/controllers/internal/leader"
	"github.com/cachewright/cachewright/controllers/internal/metrics"
	"github.com/cachewright/cachewright/controllers/internal/queue"
	"github.com/cachewright/cachewright/controllers/internal/resource"
	"github.com/cachewright/cachewright/controllers/internal/status"
	"github.com/cachewright/cachewright/controllers/recovery"
	"github.com/cachewright/cachewright/controllers/stores"
	"github.com/cachewright/cachewright/controllers/stores/calls"
	"github.com/cachewright/cachewright/internal/contain"
	"github.com/cachewright/cachewright/registry"
)

// Reconciler carries out CacheInvalidations, each once.
type Reconciler struct {
	// Client reads from the cache.
	Client client.Client
	// Reader reads from the API server.
	Reader  client.Reader
	Stores  stores.Provider
	Events  events.EventRecorder
	Metrics *metrics.Metrics
	// Journal notes each invalidation before its store is called.
	Journal *recovery.Journal
	Clock   clock.PassiveClock
	// ReclaimSlice is the time between two reports of how much memory was freed.
	ReclaimSlice time.Duration

	// Epoch says which cached invalidations are current; nil: none.
	Epoch *leader.Epoch

	underWay *underWay
	renewals *renewals
}

// Reconcile advances one invalidation.
func (r *Reconciler) Reconcile(
	ctx context.Context, req reconcile.Request,
) (result reconcile.Result, err error) {
	invalidation, err := r.read(ctx, req.NamespacedName)
	if apierrors.IsNotFound(err) {
		r.Journal.Forget(req.NamespacedName)
		r.underWay.gone(req.NamespacedName)
		return reconcile.Result{}, nil
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	if !invalidation.DeletionTimestamp.IsZero() {
		return r.release(ctx, invalidation)
	}
	if resource.IsFinished(invalidation) {
		return r.expire(ctx, invalidation)
	}
	patch := resource.NewPatcher(r.Client, invalidation)
	store := r.Stores.Open(ctx, resource.StoreIDOf(invalidation.Namespace, invalidation.Spec.StoreRef))
	found := &findings{began: r.Clock.Now()}
	found.late = resource.IsPastDeadline(invalidation, found.began)
	defer func() { result, err = r.finish(ctx, patch, invalidation, store, found, err) }()
	defer contain.Panic(&err, status.ErrPanicked)

	if invalidation.Status.EffectiveTime != nil {
		return reconcile.Result{}, r.follow(ctx, patch, invalidation, store, found)
	}
	if found.late {
		found.results = r.underWay.resultsOf(invalidation)
		r.underWay.end(invalidation)
		return reconcile.Result{}, nil
	}
	return reconcile.Result{}, r.invalidate(ctx, patch, invalidation, store, found)
}

// follow does what is left to do for an invalidation in effect: it keeps up its hold, and frees
// memory.
func (r *Reconciler) follow(
	ctx context.Context, patch *resource.Patcher, invalidation *v1.CacheInvalidation,
	store *stores.Session, found *findings,
) error {
	if err := r.keepHold(ctx, patch, invalidation, store, found); err != nil {
		return err
	}
	if isReclaimed(invalidation.Status) && resource.HoldRemaining(invalidation, found.began) > 0 {
		return nil
	}
	return r.reclaim(ctx, invalidation, store, found)
}

// read returns an invalidation from the cache if it is finished there, which is final. It does so,
// too, if the cache shows all that was done for it. Otherwise it reads it live: a former leader may
// have carried it out, and the cache not know yet.
func (r *Reconciler) read(
	ctx context.Context, key client.ObjectKey,
) (*v1.CacheInvalidation, error) {
	invalidation := &v1.CacheInvalidation{}
	if err := r.Client.Get(ctx, key, invalidation); err != nil || resource.IsFinished(invalidation) {
		return invalidation, err
	}
	if fresh, err := r.Epoch.IsFresh(ctx, invalidation); err != nil || fresh {
		return invalidation, err
	}
	live := &v1.CacheInvalidation{}
	return live, r.Reader.Get(ctx, key, live)
}

// invalidate makes every target take effect, or counts what it would cover, as far as one turn
// allows. An error of one target holds up no other, unless the store cannot be used. It returns the
// first error that a retry may overcome.
func (r *Reconciler) invalidate(
	ctx context.Context, patch *resource.Patcher, invalidation *v1.CacheInvalidation,
	store *stores.Session, found *findings,
) error {
	if err := store.Err(); err != nil {
		return err
	}
	view := targets.ViewOf(ctx, r.Client, store, invalidation)
	done, err := r.advance(ctx, invalidation, store, view, found)
	if err != nil {
		r.underWay.end(invalidation)
		found.results = done.resultsOf(invalidation)
		return err
	}
	if found.more = done.next < done.total; found.more {
		return nil
	}
	r.underWay.end(invalidation)
	found.began = done.began
	found.results = done.resultsOf(invalidation)
	var trouble error
	for i := range invalidation.Spec.Targets {
		trouble = cmp.Or(trouble, conclude(invalidation, store.Location(), view, i,
			done.targets[i].trouble, found))
	}
	if trouble == nil && found.refused == 0 && resource.Holds(invalidation) {
		trouble = r.beginHold(ctx, patch, invalidation, store, view, found)
	}
	if trouble == nil {
		found.effective = r.Clock.Now()
	}
	return trouble
}

// conclude explains what became of one target, and returns the error that a retry may overcome.
func conclude(
	invalidation *v1.CacheInvalidation, at status.Location, view targets.View, index int,
	trouble error, found *findings,
) error {
	message, unexplained := view.Explain(invalidation.Spec.Targets[index], found.results[index],
		status.Classify(trouble, at))
	if unexplained == nil {
		found.results[index].Message = message
	}
	if errors.Is(trouble, registry.ErrRejected) {
		found.refused++
		return unexplained
	}
	return cmp.Or(trouble, unexplained)
}

// endsAttempt reports whether the other targets would meet an error, too.
func endsAttempt(ctx context.Context, err error) bool {
	return ctx.Err() != nil || registry.ConcernsStore(err)
}

// worse returns the error that says more about a target: one of the store, then one that a retry
// may overcome.
func worse(a, b error) error {
	if a == nil || registry.ConcernsStore(b) || errors.Is(a, registry.ErrRejected) &&
		!registry.ConcernsStore(a) {
		return b
	}
	return a
}

// reclaim frees memory of the modules where keys were left.
func (r *Reconciler) reclaim(
	ctx context.Context, invalidation *v1.CacheInvalidation, store *stores.Session, found *findings,
) error {
	if err := store.Err(); err != nil {
		return err
	}
	slots, err := r.slotsToReclaim(ctx, invalidation, store)
	if err != nil {
		return err
	}
	remaining, pending, err := calls.Reclaim(ctx, store, slots, r.Clock, r.ReclaimSlice)
	if err != nil {
		return err
	}
	r.underWay.reclaimed(invalidation, remaining)
	if pending >= 0 {
		found.pending = &pending
	}
	return nil
}

// slotsToReclaim are those that an earlier turn left, or else those of the targets that left keys.
func (r *Reconciler) slotsToReclaim(
	ctx context.Context, invalidation *v1.CacheInvalidation, store *stores.Session,
) ([]registry.Slot, error) {
	if left := r.underWay.toReclaim(invalidation); len(left) > 0 {
		return left, nil
	}
	view := targets.ViewOf(ctx, r.Client, store, invalidation)
	var left []v1.InvalidationTarget
	for i, result := range invalidation.Status.Targets {
		if result.KeysPending > 0 {
			left = append(left, invalidation.Spec.Targets[i])
		}
	}
	return view.Slots(invalidation.Namespace, left...)
}

// finish writes status, records events, and decides when to come back.
func (r *Reconciler) finish(
	ctx context.Context, patch *resource.Patcher, invalidation *v1.CacheInvalidation,
	store *stores.Session, found *findings,
	err error,
) (reconcile.Result, error) {
	status.LogPanic(log.FromContext(ctx), err)
	found.fault = status.Classify(err, store.Location())
	store.Close(found.fault)
	store.WakeAfterProbe(invalidation, found.fault)
	if found.more && !found.fault.KeepsStatus() {
		return reconcile.Result{RequeueAfter: status.Immediately, Priority: new(queue.ResumePriority)},
			nil
	}
	return status.Finish(ctx, status.Ending{
		Object: invalidation, Location: store.Location(), Met: found.fault,
		Write: patch.StatusIfUnchanged,
		Update: func(now time.Time) ([]metav1.Condition, []status.Event) {
			before := invalidation.Status
			invalidation.Status = statusOf(invalidation, *found, now)
			return invalidation.Status.Conditions, eventsOf(before, invalidation.Status)
		},
		Adjust: func(result reconcile.Result, err error, now time.Time) (reconcile.Result, error) {
			return r.next(invalidation, found, result, err, now)
		},
	}, r.Events, r.Clock.Now())
}

// next decides when to come back.
func (r *Reconciler) next(
	invalidation *v1.CacheInvalidation, found *findings, result reconcile.Result, err error,
	now time.Time,
) (reconcile.Result, error) {
	r.Metrics.CountLostHolds(invalidation, found.holdsLost)
	if resource.IsFinished(invalidation) {
		r.Metrics.CountFinished(invalidation)
		return untilExpiry(invalidation, now), nil
	}
	if found.fault == nil {
		result = status.InBackground(r.pause(invalidation, now))
	}
	if at, ok := resource.Deadline(invalidation); ok && !found.late {
		result.RequeueAfter = max(min(result.RequeueAfter, at.Sub(now)), status.Immediately)
	}
	return result, err
}

// pause is the time until an invalidation that is not finished goes on.
func (r *Reconciler) pause(invalidation *v1.CacheInvalidation, now time.Time) time.Duration {
	if invalidation.Status.State != v1.StateHolding || !isReclaimed(invalidation.Status) {
		return status.Immediately
	}
	return r.untilHoldIsDue(invalidation, now)
}
