// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cachestore

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/queue"
	"github.com/cachewright/cachewright/controllers/internal/resource"
)

// SetupWithManager adds the reconciler to a manager. It also reconciles the stores that woken
// names.
func (r *Reconciler) SetupWithManager(mgr manager.Manager, woken queue.Enqueuer) error {
	held := handler.EnqueueRequestsFromMapFunc(heldStore(mgr.GetCache()))
	return builder.ControllerManagedBy(mgr).
		For(&v1.CacheStore{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1.CachePolicy{}, held, builder.WithPredicates(leaving())).
		Watches(&v1.CacheInvalidation{}, held, builder.WithPredicates(leaving())).
		WatchesRawSource(woken.Source()).
		WithOptions(queue.Options()).
		Complete(r)
}

// leaving lets through what ends a reference to a store: a resource is deleted, or an invalidation
// finished.
func leaving() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc:  func(event.CreateEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			invalidation, ok := e.ObjectNew.(*v1.CacheInvalidation)
			return ok && resource.IsFinished(invalidation)
		},
	}
}

// heldStore maps a resource to its store, if that is being deleted and may only wait for the
// resource.
func heldStore(reader client.Reader) handler.MapFunc {
	return func(ctx context.Context, obj client.Object) []reconcile.Request {
		var id resource.StoreID
		switch o := obj.(type) {
		case *v1.CachePolicy:
			id = resource.StoreOf(o)
		case *v1.CacheInvalidation:
			id = resource.StoreIDOf(o.Namespace, o.Spec.StoreRef)
		}
		store := &v1.CacheStore{}
		if id == resource.DefaultStore || reader.Get(ctx, id, store) != nil ||
			store.DeletionTimestamp.IsZero() {
			return nil
		}
		return []reconcile.Request{{NamespacedName: id}}
	}
}
