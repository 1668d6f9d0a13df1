// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/internal/contain"
)

// CacheStoreReconciler lets the monitors of stores follow the CacheStores, and puts into their status
// what the monitors find.
type CacheStoreReconciler struct {
	// Client reads from the cache; its reads must see its own writes.
	Client client.Client
	// Reader reads from the API server.
	Reader client.Reader
	Stores *Stores
	Events events.EventRecorder
	Clock  clock.PassiveClock
	// StatsInterval is the least time between two writes of figures into a status.
	StatsInterval time.Duration
	// WithdrawTimeout is how long after its deletion a CacheStore that cannot be used waits for purges.
	WithdrawTimeout time.Duration
}

// Reconcile brings the monitor of one CacheStore, and its status, up to date.
func (r *CacheStoreReconciler) Reconcile(ctx context.Context, req reconcile.Request) (result reconcile.Result, err error) {
	store := &v1.CacheStore{}
	if err := r.Client.Get(ctx, req.NamespacedName, store); apierrors.IsNotFound(err) {
		r.Stores.drop(ctx, req.NamespacedName)
		return reconcile.Result{}, nil
	} else if err != nil {
		return reconcile.Result{}, fmt.Errorf("reading CacheStore %s: %w", req, err)
	}
	patch := newPatcher(r.Client, store)
	found := &storeFindings{}
	defer func() { result, err = r.settle(ctx, patch, store, found, result, err) }()
	defer contain.Panic(&err, errPanicked)

	if store.DeletionTimestamp.IsZero() {
		if err := patch.finalizer(ctx, store, v1.CacheStoreFinalizer, true); err != nil {
			return reconcile.Result{}, err
		}
	} else if err := r.release(ctx, patch, store, found); err != nil || found.gone {
		return reconcile.Result{}, err
	}
	found.last, found.place = r.Stores.declare(store).report()
	return inBackground(min(wait.Jitter(r.StatsInterval, statsJitter), r.patience(store))), nil
}

// patience returns how long a deleted CacheStore waits yet for purges, if it cannot be used.
func (r *CacheStoreReconciler) patience(store *v1.CacheStore) time.Duration {
	if store.DeletionTimestamp.IsZero() || r.outOfPatience(store) {
		return r.StatsInterval * 2
	}
	return max(r.WithdrawTimeout-r.Clock.Since(store.DeletionTimestamp.Time), soon)
}

func (r *CacheStoreReconciler) outOfPatience(store *v1.CacheStore) bool {
	return r.Clock.Since(store.DeletionTimestamp.Time) >= r.WithdrawTimeout
}

// release lets a deleted CacheStore go once nothing refers to it that can come to an end: purges that wait for a Redis that cannot
// be used delay that for WithdrawTimeout at most.
func (r *CacheStoreReconciler) release(
	ctx context.Context, patch *patcher, store *v1.CacheStore, found *storeFindings,
) error {
	if !controllerutil.ContainsFinalizer(store, v1.CacheStoreFinalizer) {
		found.gone = true
		return nil
	}
	last, at := r.Stores.declare(store).report()
	dead := r.isDead(store, last)
	for _, reader := range []client.Reader{r.Client, r.Reader} { // the cache may not know yet of the latest ones
		var err error
		if found.references, err = referencesTo(ctx, reader, store); err != nil || found.references.hold(dead) {
			return err
		}
	}
	if err := patch.finalizer(ctx, store, v1.CacheStoreFinalizer, false); err != nil {
		return err
	}
	found.gone = true
	if found.references.any() {
		abandonedBy(found.references, reasonToGo(last, at)).record(r.Events, store)
	}
	return nil
}

// abandonAfter is how many times its patience a deletion waits for a store that can be used: a server that answers may still
// let nothing come to an end.
const abandonAfter = 10

// isDead says that a deleted CacheStore is of no use to purges: for some time it could not be used, or they did not end.
func (r *CacheStoreReconciler) isDead(store *v1.CacheStore, last *finding) bool {
	usable := last != nil && last.err == nil && last.generation == editionOf(store)
	if usable {
		return r.Clock.Since(store.DeletionTimestamp.Time) >= abandonAfter*r.WithdrawTimeout
	}
	return r.outOfPatience(store)
}

// reasonToGo says why a CacheStore is let go though purges refer to it.
func reasonToGo(last *finding, at place) string {
	if last == nil || last.err == nil {
		return fmt.Sprintf("%s did not carry them out in time", at)
	}
	return faultOf(last.err, at).String()
}

func abandonedBy(left references, reason string) notice {
	return notice{
		corev1.EventTypeWarning, reasonAbandoned, actionConnect,
		fmt.Sprintf("it is gone, and %d unfinished CacheInvalidations refer to it, for example %s: they wait for another CacheStore of its name. %s",
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

// hold says whether a deleted store has to stay; a dead one is of no use to purges.
func (r references) hold(dead bool) bool { return r.policies > 0 || r.invalidations > 0 && !dead }

// referencesTo counts the policies and the unfinished purges that refer to a store.
func referencesTo(ctx context.Context, reader client.Reader, store *v1.CacheStore) (references, error) {
	id := client.ObjectKeyFromObject(store)
	var counted references
	policies, err := policiesIn(ctx, reader, id.Namespace, id)
	if withoutKind(err) != nil {
		return counted, err
	}
	invalidations := &v1.CacheInvalidationList{}
	err = reader.List(ctx, invalidations, append(ofStore(id), othersWrites, readOnly)...)
	if withoutKind(err) != nil {
		return counted, fmt.Errorf("listing the invalidations of namespace %s: %w", id.Namespace, err)
	}
	for i := range invalidations.Items {
		if !finished(&invalidations.Items[i]) {
			counted.invalidations++
			counted.example = "CacheInvalidation " + invalidations.Items[i].Name
		}
	}
	if counted.policies = len(policies); counted.policies > 0 {
		counted.example = "CachePolicy " + policies[0].Name
	}
	return counted, nil
}

// withoutKind forgives a list that the API server does not know the kind: where the CRDs are being
// deleted, no resource of one that is gone refers to a store any more.
func withoutKind(err error) error { return client.IgnoreNotFound(err) }

// settle writes status, tells what changed, and decides when to come back.
func (r *CacheStoreReconciler) settle(
	ctx context.Context, patch *patcher, store *v1.CacheStore, found *storeFindings, result reconcile.Result, err error,
) (reconcile.Result, error) {
	tellPanic(log.FromContext(ctx), err)
	now := r.Clock.Now()
	if f := faultOf(err, found.place); f != nil || found.gone {
		return f.resultOr(result, nil, now)
	}
	before := store.Status
	store.Status = storeStatus(store, *found, now)
	after := store.Status
	if err := patch.status(ctx, store); err != nil {
		return faultOf(err, found.place).resultOr(result, nil, now)
	}
	for _, e := range storeEvents(before, after) {
		e.record(r.Events, store)
	}
	return result, nil
}
