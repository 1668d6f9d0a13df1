// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "github.com/cachewright/cachewright/api/v1"
)

const (
	// historyPause is between two looks at the history of a namespace, however many purges finish meanwhile.
	historyPause = time.Second
	// historyBatch bounds the purges of a namespace that are deleted at one look.
	historyBatch = 100
)

// historyField selects finished purges in the cache: ours, and those that a GitOps tool would create again.
const (
	historyField = "history"
	historyOwn   = "own"
	historyOfGit = "managed"
)

// historyOf is the index of finished purges.
func historyOf(obj client.Object) []string {
	invalidation := obj.(*v1.CacheInvalidation)
	switch {
	case !finished(invalidation):
		return nil
	case gitOpsTool(invalidation) != "":
		return []string{historyOfGit}
	default:
		return []string{historyOwn}
	}
}

// historyReconciler deletes the oldest finished purges of a namespace where there are too many, so that nobody can fill the
// cluster with them. Its requests name namespaces.
type historyReconciler struct {
	Client  client.Client
	Metrics *Metrics
	// Limit of finished purges a namespace, beside those that a GitOps tool manages; 0: none.
	Limit int
}

// Reconcile looks at one namespace.
func (r *historyReconciler) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	own, err := r.list(ctx, req.Namespace, historyOwn)
	if err != nil {
		return reconcile.Result{}, err
	}
	managed, err := r.list(ctx, req.Namespace, historyOfGit)
	if err != nil {
		return reconcile.Result{}, err
	}
	r.Metrics.kept(req.Namespace, len(own), len(managed))
	surplus := len(own) - r.Limit
	if r.Limit == 0 || surplus <= 0 {
		return reconcile.Result{}, nil
	}
	slices.SortFunc(own, byEnd)
	for _, oldest := range own[:min(surplus, historyBatch)] {
		if err := deleteAsSeen(ctx, r.Client, oldest); err != nil {
			return reconcile.Result{}, err
		}
	}
	if surplus > historyBatch {
		return inBackground(historyPause), nil
	}
	return reconcile.Result{}, nil
}

// list reads from the cache, without copies.
func (r *historyReconciler) list(ctx context.Context, namespace, history string) ([]*v1.CacheInvalidation, error) {
	purges := &v1.CacheInvalidationList{}
	err := r.Client.List(ctx, purges, client.InNamespace(namespace), client.MatchingFields{historyField: history}, othersWrites, readOnly)
	if err != nil {
		return nil, fmt.Errorf("listing the finished purges of namespace %s: %w", namespace, err)
	}
	list := make([]*v1.CacheInvalidation, len(purges.Items))
	for i := range purges.Items {
		list[i] = &purges.Items[i]
	}
	return list, nil
}

// byEnd orders purges by when they finished; that is noted in whole seconds, and when they took effect more finely.
func byEnd(a, b *v1.CacheInvalidation) int {
	return cmp.Or(finishedAt(a).Compare(finishedAt(b)), effectiveAt(a).Compare(effectiveAt(b)), cmp.Compare(a.Name, b.Name))
}

func effectiveAt(invalidation *v1.CacheInvalidation) time.Time {
	if at := invalidation.Status.EffectiveTime; at != nil {
		return at.Time
	}
	return time.Time{}
}

func finishedAt(invalidation *v1.CacheInvalidation) time.Time {
	if at := invalidation.Status.CompletionTime; at != nil {
		return at.Time
	}
	return invalidation.CreationTimestamp.Time
}

func setupHistory(mgr manager.Manager, o Options, metrics *Metrics) error {
	reconciler := &historyReconciler{Client: mgr.GetClient(), Metrics: metrics, Limit: o.InvalidationHistoryLimit}
	return builder.ControllerManagedBy(mgr).
		Named("cacheinvalidation-history").
		Watches(&v1.CacheInvalidation{}, historyEvents()).
		WithOptions(controllerOptions()).
		Complete(reconciler)
}

// historyEvents has the namespace of each purge that is finished or gone looked at, once for all of a moment.
func historyEvents() handler.EventHandler {
	type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]
	look := func(obj client.Object, q queue) {
		q.AddAfter(reconcile.Request{NamespacedName: types.NamespacedName{Namespace: obj.GetNamespace()}}, historyPause)
	}
	lookIfFinished := func(obj client.Object, q queue) {
		if invalidation, ok := obj.(*v1.CacheInvalidation); ok && finished(invalidation) {
			look(obj, q)
		}
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q queue) { lookIfFinished(e.Object, q) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q queue) { lookIfFinished(e.ObjectNew, q) },
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q queue) { look(e.Object, q) },
	}
}
