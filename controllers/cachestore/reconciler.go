// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cachestore

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/resource"
	"github.com/cachewright/cachewright/controllers/internal/stats"
	"github.com/cachewright/cachewright/controllers/internal/status"
	"github.com/cachewright/cachewright/controllers/stores"
	"github.com/cachewright/cachewright/internal/contain"
)

// Monitors watch the stores that CacheStores declare.
type Monitors interface {
	// Follow makes the monitor of a CacheStore follow what the resource says now. It returns the
	// result of the last probe, nil before the first one, and the name of the store in messages.
	Follow(store *v1.CacheStore) (*stores.ProbeResult, status.Location)
	// Drop ends the monitor of a CacheStore that is deleted.
	Drop(ctx context.Context, id resource.StoreID)
}

// Reconciler makes the monitors of stores follow the CacheStores, and puts into their status
// what the monitors found.
type Reconciler struct {
	// Client reads from the cache; its reads must see its own writes.
	Client client.Client
	// Reader reads from the API server.
	Reader client.Reader
	Stores Monitors
	Events events.EventRecorder
	Clock  clock.PassiveClock
	// StatsInterval is the minimum time between two changes of the statistics in a status.
	StatsInterval time.Duration
	// WithdrawTimeout is how long after its deletion a CacheStore that cannot be used waits for
	// invalidations.
	WithdrawTimeout time.Duration
}

// Reconcile brings the monitor of one CacheStore, and its status, up to date.
func (r *Reconciler) Reconcile(
	ctx context.Context, req reconcile.Request,
) (result reconcile.Result, err error) {
	store := &v1.CacheStore{}
	if err := r.Client.Get(ctx, req.NamespacedName, store); apierrors.IsNotFound(err) {
		r.Stores.Drop(ctx, req.NamespacedName)
		return reconcile.Result{}, nil
	} else if err != nil {
		return reconcile.Result{}, fmt.Errorf("reading CacheStore %s: %w", req, err)
	}
	patch := resource.NewPatcher(r.Client, store)
	found := &findings{}
	defer func() { result, err = r.finish(ctx, patch, store, found, result, err) }()
	defer contain.Panic(&err, status.ErrPanicked)

	if store.DeletionTimestamp.IsZero() {
		if err := patch.Finalizer(ctx, store, v1.CacheStoreFinalizer, true); err != nil {
			return reconcile.Result{}, err
		}
	} else if err := r.release(ctx, patch, store, found); err != nil || found.gone {
		return reconcile.Result{}, err
	}
	found.last, found.location = r.Stores.Follow(store)
	return status.InBackground(min(wait.Jitter(r.StatsInterval, stats.Jitter),
		r.remaining(store))), nil
}

// remaining returns how long a deleted CacheStore still waits for invalidations, if it cannot be
// used.
func (r *Reconciler) remaining(store *v1.CacheStore) time.Duration {
	if store.DeletionTimestamp.IsZero() || r.isOverdue(store) {
		return r.StatsInterval * 2
	}
	return max(r.WithdrawTimeout-r.Clock.Since(store.DeletionTimestamp.Time), status.Immediately)
}

func (r *Reconciler) isOverdue(store *v1.CacheStore) bool {
	return r.Clock.Since(store.DeletionTimestamp.Time) >= r.WithdrawTimeout
}

// release lets a CacheStore be deleted once nothing refers to it that can come to an end.
// Invalidations that wait for a Redis that cannot be used delay that for at most WithdrawTimeout.
func (r *Reconciler) release(
	ctx context.Context, patch *resource.Patcher, store *v1.CacheStore, found *findings,
) error {
	if !controllerutil.ContainsFinalizer(store, v1.CacheStoreFinalizer) {
		found.gone = true
		return nil
	}
	last, at := r.Stores.Follow(store)
	dead := r.isDead(store, last)
	// the cache may not know yet of the latest ones
	for _, reader := range []client.Reader{r.Client, r.Reader} {
		var err error
		if found.references, err = referencesTo(ctx, reader, store); err != nil ||
			found.references.hold(dead) {
			return err
		}
	}
	if err := patch.Finalizer(ctx, store, v1.CacheStoreFinalizer, false); err != nil {
		return err
	}
	found.gone = true
	if found.references.any() {
		abandonedBy(found.references, reasonToGo(last, at)).Record(r.Events, store)
	}
	return nil
}

// isDead reports whether a deleted CacheStore is of no use to invalidations: for some time it could
// not be used, or they did not end.
func (r *Reconciler) isDead(store *v1.CacheStore, last *stores.ProbeResult) bool {
	usable := last != nil && last.Err == nil && last.Version == stores.VersionOf(store)
	if usable {
		return r.Clock.Since(store.DeletionTimestamp.Time) >= resource.AbandonAfter*r.WithdrawTimeout
	}
	return r.isOverdue(store)
}

// reasonToGo says why a CacheStore is deleted though invalidations refer to it.
func reasonToGo(last *stores.ProbeResult, at status.Location) string {
	if last == nil || last.Err == nil {
		return fmt.Sprintf("%s did not carry them out in time", at)
	}
	return status.Classify(last.Err, at).String()
}

func abandonedBy(left references, reason string) status.Event {
	return status.Event{
		Type: corev1.EventTypeWarning, Reason: status.ReasonAbandoned, Action: status.ActionConnect,
		Message: fmt.Sprintf(
			"it is gone, and %d unfinished CacheInvalidations refer to it, for example %s: they wait for "+
				"another CacheStore of its name. %s",
			left.invalidations, left.example, reason),
	}
}

// references are the resources that need a store.
type references struct {
	policies, invalidations int
	// example is one of them, for people.
	example string
}

func (r references) any() bool { return r.policies+r.invalidations > 0 }

// hold reports whether a deleted store has to stay; a dead one is of no use to invalidations.
func (r references) hold(dead bool) bool { return r.policies > 0 || r.invalidations > 0 && !dead }

// referencesTo counts the policies and the unfinished invalidations that refer to a store.
func referencesTo(
	ctx context.Context, reader client.Reader, store *v1.CacheStore,
) (references, error) {
	id := client.ObjectKeyFromObject(store)
	var counted references
	policies, err := resource.PoliciesIn(ctx, reader, id.Namespace, id)
	if withoutKind(err) != nil {
		return counted, err
	}
	invalidations := &v1.CacheInvalidationList{}
	options := append(resource.OfStore(id), resource.IgnoreOwnWrites, resource.ReadOnly)
	if err := reader.List(ctx, invalidations, options...); withoutKind(err) != nil {
		return counted, fmt.Errorf("listing the invalidations of namespace %s: %w", id.Namespace, err)
	}
	for i := range invalidations.Items {
		if !resource.IsFinished(&invalidations.Items[i]) {
			counted.invalidations++
			counted.example = "CacheInvalidation " + invalidations.Items[i].Name
		}
	}
	if counted.policies = len(policies); counted.policies > 0 {
		counted.example = "CachePolicy " + policies[0].Name
	}
	return counted, nil
}

// withoutKind drops the error of a list whose kind the API server does not know. Where the CRDs are
// being deleted, no resource of a deleted one refers to a store any more.
func withoutKind(err error) error { return client.IgnoreNotFound(err) }

// finish writes status, records events, and decides when to come back.
func (r *Reconciler) finish(
	ctx context.Context, patch *resource.Patcher, store *v1.CacheStore, found *findings,
	result reconcile.Result, err error,
) (reconcile.Result, error) {
	status.LogPanic(log.FromContext(ctx), err)
	met := status.Classify(err, found.location)
	return status.Finish(ctx, status.Ending{
		Object: store, Location: found.location, Met: met, Gone: found.gone || met != nil, Result: result,
		Write: patch.Status,
		Update: func(now time.Time) ([]metav1.Condition, []status.Event) {
			before := store.Status
			store.Status = statusOf(store, *found, now)
			return store.Status.Conditions, eventsOf(before, store.Status)
		},
	}, r.Events, r.Clock.Now())
}
