// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cachepolicy

import (
	"context"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/convert"
	"github.com/cachewright/cachewright/controllers/internal/queue"
	"github.com/cachewright/cachewright/controllers/internal/resource"
)

// SetupWithManager adds the reconciler to a manager. It also reconciles the policies that woken
// names, and has those of slow stores take their turns beside the others.
func (r *Reconciler) SetupWithManager(
	mgr manager.Manager, woken queue.Enqueuer, isSlow func(resource.StoreID) bool,
) error {
	return builder.ControllerManagedBy(mgr).
		For(&v1.CachePolicy{},
			builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, takesOver()))).
		Watches(&v1.CachePolicy{}, handler.EnqueueRequestsFromMapFunc(rivals(mgr.GetCache())),
			builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WatchesRawSource(woken.Source()).
		WithOptions(queue.InTurns(queue.Options(), isSlow, storeOfPolicy(mgr.GetCache()))).
		Complete(r)
}

// storeOfPolicy reads which store a request is for. A policy that is deleted needs none.
func storeOfPolicy(reader client.Reader) func(context.Context, reconcile.Request) resource.StoreID {
	return func(ctx context.Context, request reconcile.Request) resource.StoreID {
		policy := &v1.CachePolicy{}
		if reader.Get(ctx, request.NamespacedName, policy, resource.ReadOnly) != nil {
			return resource.DefaultStore
		}
		return resource.StoreOf(policy)
	}
}

// takesOver lets through what a person says about another owner of the module.
func takesOver() predicate.Predicate {
	return queue.OnUpdate(func(before, after client.Object) bool {
		was, is := before.GetAnnotations(), after.GetAnnotations()
		return was[v1.TakeOverFromAnnotation] != is[v1.TakeOverFromAnnotation]
	})
}

// rivals maps a policy to the others for its module: when one comes or goes, another may govern.
func rivals(reader client.Reader) handler.MapFunc {
	return func(ctx context.Context, obj client.Object) []reconcile.Request {
		policy := obj.(*v1.CachePolicy)
		policies, err := resource.PoliciesFor(ctx, reader, convert.Slot(policy), resource.StoreOf(policy))
		if err != nil {
			// The cache fails only when it is being stopped.
			return nil
		}
		var requests []reconcile.Request
		for _, rival := range policies {
			if rival.Name != policy.Name {
				requests = append(requests, reconcile.Request{
					NamespacedName: types.NamespacedName{Namespace: rival.Namespace, Name: rival.Name},
				})
			}
		}
		return requests
	}
}
