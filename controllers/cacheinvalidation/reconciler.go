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
	// LostMarks are the marks that were put back after a loss of data; nil: none.
	LostMarks *recovery.LostMarks
	Clock     clock.PassiveClock
	// ReclaimSlice is the time between two reports of how much memory was freed.
	ReclaimSlice time.Duration

	// Epoch says which cached invalidations are current; nil: none.
	Epoch *leader.Epoch

	underWay *underWay
	renewals *renewals
}

// attempt is one reconcile of an invalidation.
type attempt struct {
	*Reconciler

	invalidation *v1.CacheInvalidation
	patch        *resource.Patcher
	store        *stores.Session
	// view of what the invalidation's targets reach.
	view  targets.View
	found findings
}

func (r *Reconciler) begin(ctx context.Context, invalidation *v1.CacheInvalidation) *attempt {
	store := r.Stores.Open(ctx, resource.StoreIDOf(invalidation.Namespace, invalidation.Spec.StoreRef))
	return &attempt{
		Reconciler: r, invalidation: invalidation, store: store,
		patch: resource.NewPatcher(r.Client, invalidation),
		view:  targets.ViewOf(ctx, r.Client, store, invalidation),
		found: findings{began: r.Clock.Now()},
	}
}

// Reconcile advances one invalidation.
func (r *Reconciler) Reconcile(
	ctx context.Context, req reconcile.Request,
) (result reconcile.Result, err error) {
	invalidation, err := r.read(ctx, req.NamespacedName)
	if apierrors.IsNotFound(err) {
		r.Journal.Forget(req.NamespacedName)
		r.underWay.forget(req.NamespacedName)
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
	a := r.begin(ctx, invalidation)
	defer func() { result, err = a.finish(ctx, err) }()
	defer contain.Panic(&err, status.ErrPanicked)
	return reconcile.Result{}, a.advance(ctx)
}

// advance does the next step: what makes the invalidation take effect, or what follows that.
func (a *attempt) advance(ctx context.Context) error {
	a.found.late = resource.IsPastDeadline(a.invalidation, a.found.began)
	switch {
	case a.invalidation.Status.EffectiveTime != nil:
		return a.follow(ctx)
	case a.found.late:
		a.found.results = a.underWay.resultsOf(a.invalidation)
		a.underWay.end(a.invalidation)
		return nil
	default:
		return a.invalidate(ctx)
	}
}

// follow does what is left to do for an invalidation in effect: it keeps up its hold, and frees
// memory.
func (a *attempt) follow(ctx context.Context) error {
	if err := a.keepHold(ctx); err != nil {
		return err
	}
	if isReclaimed(a.invalidation.Status) &&
		resource.HoldRemaining(a.invalidation, a.found.began) > 0 {
		return nil
	}
	return a.reclaim(ctx)
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
func (a *attempt) invalidate(ctx context.Context) error {
	if err := a.canInvalidate(); err != nil {
		return err
	}
	done, err := a.callTargets(ctx)
	if err != nil {
		a.underWay.end(a.invalidation)
		a.found.results = done.resultsOf(a.invalidation)
		return err
	}
	if a.found.more = done.next < done.total; a.found.more {
		return nil
	}
	a.underWay.end(a.invalidation)
	a.found.began = done.began
	a.found.results = done.resultsOf(a.invalidation)
	var trouble error
	for i := range a.invalidation.Spec.Targets {
		trouble = cmp.Or(trouble, a.conclude(i, done.targets[i].trouble))
	}
	if trouble == nil && a.found.refused == 0 && resource.Holds(a.invalidation) {
		trouble = a.beginHold(ctx)
	}
	if trouble == nil {
		a.found.effective = a.Clock.Now()
	}
	return trouble
}

// canInvalidate says why nothing is invalidated. A purge that cannot hold does nothing at all: what
// it purged would be cached again at once.
func (a *attempt) canInvalidate() error {
	err := a.store.Err()
	if err == nil && resource.Holds(a.invalidation) {
		return a.store.CanHold()
	}
	return err
}

// conclude explains what became of one target, and returns the error that a retry may overcome.
func (a *attempt) conclude(index int, trouble error) error {
	result := &a.found.results[index]
	message, unexplained := a.view.Explain(a.invalidation.Spec.Targets[index], *result,
		status.Classify(trouble, a.store.Location()))
	if unexplained == nil {
		result.Message = message
	}
	if errors.Is(trouble, registry.ErrRejected) {
		a.found.refused++
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
func (a *attempt) reclaim(ctx context.Context) error {
	if err := a.store.Err(); err != nil {
		return err
	}
	slots, err := a.slotsToReclaim()
	if err != nil {
		return err
	}
	remaining, pending, err := calls.Reclaim(ctx, a.store, slots, a.Clock, a.ReclaimSlice)
	if err != nil {
		return err
	}
	a.underWay.reclaimed(a.invalidation, remaining)
	if pending >= 0 {
		a.found.pending = &pending
	}
	return nil
}

// slotsToReclaim are those that an earlier turn left, or else those of the targets that left keys.
func (a *attempt) slotsToReclaim() ([]registry.Slot, error) {
	if left := a.underWay.toReclaim(a.invalidation); len(left) > 0 {
		return left, nil
	}
	var left []v1.InvalidationTarget
	for i, result := range a.invalidation.Status.Targets {
		if result.KeysPending > 0 {
			left = append(left, a.invalidation.Spec.Targets[i])
		}
	}
	return a.view.Slots(a.invalidation.Namespace, left...)
}

// finish writes status, records events, and decides when to come back.
func (a *attempt) finish(ctx context.Context, err error) (reconcile.Result, error) {
	a.found.met = a.store.End(ctx, a.invalidation, err)
	if a.found.more && !a.found.met.KeepsStatus() {
		return reconcile.Result{RequeueAfter: status.Immediately, Priority: new(queue.ResumePriority)},
			nil
	}
	return status.Finish(ctx, status.Ending{
		Object: a.invalidation, Location: a.store.Location(), Met: a.found.met,
		Write: a.patch.StatusIfUnchanged,
		Update: func(now time.Time) ([]metav1.Condition, []status.Event) {
			before := a.invalidation.Status
			a.invalidation.Status = statusOf(a.invalidation, a.found, now)
			return a.invalidation.Status.Conditions, eventsOf(before, a.invalidation.Status)
		},
		Adjust: a.next,
	}, a.Events, a.Clock.Now())
}

// next decides when to come back.
func (a *attempt) next(
	result reconcile.Result, err error, now time.Time,
) (reconcile.Result, error) {
	a.Metrics.CountLostHolds(a.invalidation, a.found.holdsLost)
	if resource.IsFinished(a.invalidation) {
		a.Metrics.CountFinished(a.invalidation)
		return untilExpiry(a.invalidation, now), nil
	}
	if a.found.met == nil {
		result = status.InBackground(a.pause(now))
	}
	if at, ok := resource.Deadline(a.invalidation); ok && !a.found.late {
		result.RequeueAfter = max(min(result.RequeueAfter, at.Sub(now)), status.Immediately)
	}
	return result, err
}

// pause is the time until an invalidation that is not finished goes on.
func (a *attempt) pause(now time.Time) time.Duration {
	recorded := a.invalidation.Status
	if recorded.State != v1.StateHolding || !isReclaimed(recorded) {
		return status.Immediately
	}
	return a.untilHoldIsDue(now)
}
