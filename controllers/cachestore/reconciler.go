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

// attempt is one reconcile of a CacheStore.
type attempt struct {
	*Reconciler

	store *v1.CacheStore
	patch *resource.Patcher
	found findings
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
	a := &attempt{Reconciler: r, store: store, patch: resource.NewPatcher(r.Client, store)}
	defer func() { result, err = a.finish(ctx, result, err) }()
	defer contain.Panic(&err, status.ErrPanicked)
	return a.follow(ctx)
}

// follow makes the monitor follow the CacheStore, unless that is gone.
func (a *attempt) follow(ctx context.Context) (reconcile.Result, error) {
	if a.store.DeletionTimestamp.IsZero() {
		if err := a.patch.Finalizer(ctx, a.store, v1.CacheStoreFinalizer, true); err != nil {
			return reconcile.Result{}, err
		}
	} else if err := a.release(ctx); err != nil || a.found.gone {
		return reconcile.Result{}, err
	}
	a.found.last, a.found.location = a.Stores.Follow(a.store)
	return status.InBackground(a.pause()), nil
}

// pause is the time until statistics are shown again, or until a deleted CacheStore that cannot be
// used stops waiting for invalidations.
func (a *attempt) pause() time.Duration {
	next := wait.Jitter(a.StatsInterval, stats.Jitter)
	if a.store.DeletionTimestamp.IsZero() || a.deletion().IsOverdue(a.store) {
		return next
	}
	return min(next, max(a.deletion().Remaining(a.store), status.Immediately))
}

func (r *Reconciler) deletion() resource.Deletion {
	return resource.Deletion{Timeout: r.WithdrawTimeout, Clock: r.Clock}
}

// release lets a CacheStore be deleted once nothing refers to it that can come to an end.
// Invalidations that wait for a Redis that cannot be used delay that for at most WithdrawTimeout.
func (a *attempt) release(ctx context.Context) error {
	if !controllerutil.ContainsFinalizer(a.store, v1.CacheStoreFinalizer) {
		a.found.gone = true
		return nil
	}
	last, at := a.Stores.Follow(a.store)
	dead := a.isDead(a.store, last)
	// the cache may not know yet of the latest ones
	for _, reader := range []client.Reader{a.Client, a.Reader} {
		var err error
		if a.found.references, err = referencesTo(ctx, reader, a.store); err != nil ||
			a.found.references.hold(dead) {
			return err
		}
	}
	if err := a.patch.Finalizer(ctx, a.store, v1.CacheStoreFinalizer, false); err != nil {
		return err
	}
	a.found.gone = true
	if a.found.references.any() {
		abandonedBy(a.found.references, reasonToGo(last, at)).Record(a.Events, a.store)
	}
	return nil
}

// isDead reports whether a deleted CacheStore is of no use to invalidations: for some time it could
// not be used, or they did not end.
func (r *Reconciler) isDead(store *v1.CacheStore, last *stores.ProbeResult) bool {
	usable := last != nil && last.Err == nil && last.Version == stores.VersionOf(store)
	if usable {
		return r.deletion().IsAbandoned(store)
	}
	return r.deletion().IsOverdue(store)
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
func (a *attempt) finish(
	ctx context.Context, result reconcile.Result, err error,
) (reconcile.Result, error) {
	status.LogPanic(log.FromContext(ctx), err)
	met := status.Classify(err, a.found.location)
	return status.Finish(ctx, status.Ending{
		Object: a.store, Location: a.found.location, Met: met, Gone: a.found.gone || met != nil,
		Result: result, Write: a.patch.Status,
		Update: func(now time.Time) ([]metav1.Condition, []status.Event) {
			before := a.store.Status
			a.store.Status = statusOf(a.store, a.found, now)
			return a.store.Status.Conditions, eventsOf(before, a.store.Status)
		},
	}, a.Events, a.Clock.Now())
}
