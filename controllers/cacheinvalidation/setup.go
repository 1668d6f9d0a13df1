// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cacheinvalidation

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/leader"
	"github.com/cachewright/cachewright/controllers/internal/queue"
	"github.com/cachewright/cachewright/controllers/internal/resource"
)

// SetupWithManager adds the reconciler to a manager. It also reconciles the invalidations that
// woken names, and has those of slow stores take their turns beside the others.
func (r *Reconciler) SetupWithManager(
	mgr manager.Manager, woken queue.Enqueuer, isSlow func(resource.StoreID) bool,
) error {
	r.Epoch, r.underWay = leader.NewEpoch(mgr.GetAPIReader()), newUnderWay()
	r.renewals = newRenewals()
	return builder.ControllerManagedBy(mgr).
		For(&v1.CacheInvalidation{},
			builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, changesHands()))).
		WatchesRawSource(woken.Source()).
		WithOptions(queue.InTurns(queue.Options(), isSlow, storeOfInvalidation(mgr.GetCache()))).
		Complete(r)
}

// storeOfInvalidation reads which store a request is for. An invalidation that is deleted needs
// none.
func storeOfInvalidation(
	reader client.Reader,
) func(context.Context, reconcile.Request) resource.StoreID {
	return func(ctx context.Context, request reconcile.Request) resource.StoreID {
		invalidation := &v1.CacheInvalidation{}
		if reader.Get(ctx, request.NamespacedName, invalidation, resource.ReadOnly) != nil {
			return resource.DefaultStore
		}
		return resource.StoreIDOf(invalidation.Namespace, invalidation.Spec.StoreRef)
	}
}

// changesHands lets through what begins or ends the management of an invalidation by a GitOps tool:
// its TTL is obeyed only without one.
func changesHands() predicate.Predicate {
	return queue.OnUpdate(func(before, after client.Object) bool {
		former, was := before.(*v1.CacheInvalidation)
		latter, is := after.(*v1.CacheInvalidation)
		return was && is && resource.GitOpsTool(former) != resource.GitOpsTool(latter)
	})
}
