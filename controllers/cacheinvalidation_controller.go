// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/internal/contain"
	"github.com/cachewright/cachewright/registry"
)

// CacheInvalidationReconciler purges what CacheInvalidations name, once each.
type CacheInvalidationReconciler struct {
	// Client reads from the cache.
	Client client.Client
	// Reader reads from the API server.
	Reader  client.Reader
	Stores  StoreProvider
	Events  events.EventRecorder
	Metrics *Metrics
	// Journal is told of each purge before its store is.
	Journal *journal
	Clock   clock.PassiveClock
	// ReclaimSlice is the time between two reports of how much memory was given back.
	ReclaimSlice time.Duration

	tenure   *tenure // nil: every purge is read live
	underWay *underWay
}

// Reconcile brings one purge forward.
func (r *CacheInvalidationReconciler) Reconcile(
	ctx context.Context, req reconcile.Request,
) (result reconcile.Result, err error) {
	invalidation, err := r.read(ctx, req.NamespacedName)
	if apierrors.IsNotFound(err) {
		r.Journal.gone(req.NamespacedName)
		r.underWay.gone(req.NamespacedName)
		return reconcile.Result{}, nil
	}
	if err != nil || !invalidation.DeletionTimestamp.IsZero() {
		return reconcile.Result{}, err
	}
	if finished(invalidation) {
		return r.expire(ctx, invalidation)
	}
	patch := newPatcher(r.Client, invalidation)
	store := r.Stores.Open(ctx, storeIDOf(invalidation.Namespace, invalidation.Spec.StoreRef))
	found := &invalidationFindings{began: r.Clock.Now()}
	found.late = deadlinePassed(invalidation, found.began)
	defer func() { result, err = r.settle(ctx, patch, invalidation, store, found, err) }()
	defer contain.Panic(&err, errPanicked)

	if invalidation.Status.EffectiveTime != nil {
		return reconcile.Result{}, r.reclaim(ctx, invalidation, store, found)
	}
	if found.late {
		found.results = r.underWay.resultsOf(invalidation)
		r.underWay.end(invalidation)
		return reconcile.Result{}, nil
	}
	return reconcile.Result{}, r.purge(ctx, invalidation, store, found)
}

// read returns a purge from the cache if it is finished there, which is final, or if the cache shows all that was
// done to it. Else it is read live: a predecessor may have done it, and the cache not know yet.
func (r *CacheInvalidationReconciler) read(ctx context.Context, key client.ObjectKey) (*v1.CacheInvalidation, error) {
	invalidation := &v1.CacheInvalidation{}
	if err := r.Client.Get(ctx, key, invalidation); err != nil || finished(invalidation) {
		return invalidation, err
	}
	if covered, err := r.tenure.covers(ctx, invalidation); err != nil || covered {
		return invalidation, err
	}
	live := &v1.CacheInvalidation{}
	return live, r.Reader.Get(ctx, key, live)
}

// purge tries to make every target take effect, or counts what it would cover, as far as it comes in one turn: what holds up
// one target holds up no other, but for a store that cannot be used. It returns the first error that another try may get over.
func (r *CacheInvalidationReconciler) purge(
	ctx context.Context, invalidation *v1.CacheInvalidation, store *Session, found *invalidationFindings,
) error {
	if err := store.Err(); err != nil {
		return err
	}
	view := viewOf(ctx, r.Client, store, invalidation)
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
		trouble = cmp.Or(trouble, conclude(invalidation, store.place, view, i, done.targets[i].trouble, found))
	}
	if trouble == nil {
		found.effective = r.Clock.Now()
	}
	return trouble
}

// conclude explains what became of one target, and returns the error that another try may get over.
func conclude(
	invalidation *v1.CacheInvalidation, at place, view viewer, index int, trouble error, found *invalidationFindings,
) error {
	message, unexplained := view.explain(invalidation.Spec.Targets[index], found.results[index], faultOf(trouble, at))
	if unexplained == nil {
		found.results[index].Message = message
	}
	if errors.Is(trouble, registry.ErrRejected) {
		found.refused++
		return unexplained
	}
	return cmp.Or(trouble, unexplained)
}

// endsAttempt says whether an error would meet the other targets, too.
func endsAttempt(ctx context.Context, err error) bool {
	return ctx.Err() != nil || registry.ConcernsStore(err)
}

// worse returns the error that says more about a target: one of the store, then one that another try may get over.
func worse(a, b error) error {
	if a == nil || registry.ConcernsStore(b) || errors.Is(a, registry.ErrRejected) && !registry.ConcernsStore(a) {
		return b
	}
	return a
}

func requestOf(invalidation *v1.CacheInvalidation, index int) string {
	return fmt.Sprintf("%s/%d", invalidation.UID, index)
}

// reclaim gives back memory of the modules where keys were left.
func (r *CacheInvalidationReconciler) reclaim(
	ctx context.Context, invalidation *v1.CacheInvalidation, store *Session, found *invalidationFindings,
) error {
	if err := store.Err(); err != nil {
		return err
	}
	slots, err := r.slotsToReclaim(ctx, invalidation, store)
	if err != nil {
		return err
	}
	left, pending, err := reclaim(ctx, store, slots, r.Clock, r.ReclaimSlice)
	if err != nil {
		return err
	}
	r.underWay.reclaimed(invalidation, left)
	if pending >= 0 {
		found.pending = &pending
	}
	return nil
}

// slotsToReclaim are those that an earlier turn left, or else those of the targets that left keys.
func (r *CacheInvalidationReconciler) slotsToReclaim(
	ctx context.Context, invalidation *v1.CacheInvalidation, store *Session,
) ([]registry.Slot, error) {
	if left := r.underWay.toReclaim(invalidation); len(left) > 0 {
		return left, nil
	}
	view := viewOf(ctx, r.Client, store, invalidation)
	var slots []registry.Slot
	for i, result := range invalidation.Status.Targets {
		if result.KeysPending > 0 {
			reached, err := view.slots(invalidation.Namespace, invalidation.Spec.Targets[i])
			if err != nil {
				return nil, err
			}
			slots = append(slots, reached...)
		}
	}
	return distinct(slots), nil
}

// settle writes status, tells what changed, and decides when to come back.
func (r *CacheInvalidationReconciler) settle(
	ctx context.Context, patch *patcher, invalidation *v1.CacheInvalidation, store *Session, found *invalidationFindings,
	err error,
) (reconcile.Result, error) {
	tellPanic(log.FromContext(ctx), err)
	found.fault = faultOf(err, store.place)
	store.Close(found.fault)
	store.await(invalidation, found.fault)
	if found.fault.leavesStatus() {
		return found.fault.resultOr(reconcile.Result{}, nil, r.Clock.Now())
	}
	if found.more {
		return reconcile.Result{RequeueAfter: soon, Priority: new(priorityOn)}, nil
	}
	before := invalidation.Status
	now := r.Clock.Now()
	invalidation.Status = invalidationStatus(invalidation, *found, now)
	after := invalidation.Status
	if err := patch.statusIfUnchanged(ctx, invalidation); err != nil {
		return faultOf(err, store.place).resultOr(reconcile.Result{}, nil, now)
	}
	for _, e := range invalidationEvents(before, after) {
		e.record(r.Events, invalidation)
	}
	return r.next(invalidation, found, now)
}

// next decides when to come back.
func (r *CacheInvalidationReconciler) next(
	invalidation *v1.CacheInvalidation, found *invalidationFindings, now time.Time,
) (reconcile.Result, error) {
	if finished(invalidation) {
		r.Metrics.finished(invalidation)
		return untilExpiry(invalidation, now), nil
	}
	result, err := found.fault.resultOr(inBackground(soon), invalidation.Status.Conditions, now)
	if at, ok := deadline(invalidation); ok && !found.late {
		result.RequeueAfter = max(min(result.RequeueAfter, at.Sub(now)), soon)
	}
	return result, err
}

// expire deletes a finished purge whose time has come.
func (r *CacheInvalidationReconciler) expire(
	ctx context.Context, invalidation *v1.CacheInvalidation,
) (reconcile.Result, error) {
	now := r.Clock.Now()
	if at, ok := expiry(invalidation); !ok || now.Before(at) {
		return untilExpiry(invalidation, now), nil
	}
	err := deleteAsSeen(ctx, r.Client, invalidation)
	if apierrors.IsConflict(err) {
		return reconcile.Result{RequeueAfter: minWait}, nil
	}
	return reconcile.Result{}, err
}

// deleteAsSeen deletes only what was looked at: labels of a GitOps tool may have come since.
func deleteAsSeen(ctx context.Context, c client.Client, invalidation *v1.CacheInvalidation) error {
	err := c.Delete(ctx, invalidation, client.Preconditions{UID: &invalidation.UID, ResourceVersion: &invalidation.ResourceVersion})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting CacheInvalidation %s: %w", client.ObjectKeyFromObject(invalidation), err)
	}
	return nil
}

func untilExpiry(invalidation *v1.CacheInvalidation, now time.Time) reconcile.Result {
	at, ok := expiry(invalidation)
	if !ok {
		return reconcile.Result{}
	}
	return inBackground(max(at.Sub(now), soon))
}
