// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package history

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
	"github.com/cachewright/cachewright/controllers/internal/metrics"
	"github.com/cachewright/cachewright/controllers/internal/queue"
	"github.com/cachewright/cachewright/controllers/internal/resource"
	"github.com/cachewright/cachewright/controllers/internal/status"
)

const (
	// historyPause is between two reconciles of the history of a namespace, however many invalidations
	// finish meanwhile.
	historyPause = time.Second
	// historyBatch bounds the invalidations of a namespace that one reconcile deletes.
	historyBatch = 100
)

// Reconciler deletes the oldest finished invalidations of a namespace where there are too
// many, so that nobody can fill the cluster with them. Its requests name namespaces.
type Reconciler struct {
	Client  client.Client
	Metrics *metrics.Metrics
	// Limit of finished invalidations a namespace, without those that a GitOps tool manages; 0: none.
	Limit int
}

// Reconcile bounds the history of one namespace.
func (r *Reconciler) Reconcile(
	ctx context.Context, req reconcile.Request,
) (reconcile.Result, error) {
	own, err := r.list(ctx, req.Namespace, resource.HistoryOwn)
	if err != nil {
		return reconcile.Result{}, err
	}
	managed, err := r.list(ctx, req.Namespace, resource.HistoryManaged)
	if err != nil {
		return reconcile.Result{}, err
	}
	r.Metrics.SetKept(req.Namespace, len(own), len(managed))
	surplus := len(own) - r.Limit
	if r.Limit == 0 || surplus <= 0 {
		return reconcile.Result{}, nil
	}
	slices.SortFunc(own, byEnd)
	for _, oldest := range own[:min(surplus, historyBatch)] {
		if err := resource.DeleteAsSeen(ctx, r.Client, oldest); err != nil {
			return reconcile.Result{}, err
		}
	}
	if surplus > historyBatch {
		return status.InBackground(historyPause), nil
	}
	return reconcile.Result{}, nil
}

// list reads from the cache, without copies.
func (r *Reconciler) list(
	ctx context.Context, namespace, history string,
) ([]*v1.CacheInvalidation, error) {
	finished := &v1.CacheInvalidationList{}
	err := r.Client.List(ctx, finished, client.InNamespace(namespace),
		client.MatchingFields{resource.HistoryField: history}, resource.IgnoreOwnWrites,
		resource.ReadOnly)
	if err != nil {
		return nil, fmt.Errorf("listing the finished invalidations of namespace %s: %w", namespace, err)
	}
	list := make([]*v1.CacheInvalidation, len(finished.Items))
	for i := range finished.Items {
		list[i] = &finished.Items[i]
	}
	return list, nil
}

// byEnd orders invalidations by when they finished. That is noted in whole seconds, and when they
// took effect more finely.
func byEnd(a, b *v1.CacheInvalidation) int {
	return cmp.Or(finishedAt(a).Compare(finishedAt(b)), effectiveAt(a).Compare(effectiveAt(b)),
		cmp.Compare(a.Name, b.Name))
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

// SetupWithManager adds the reconciler to a manager.
func (r *Reconciler) SetupWithManager(mgr manager.Manager) error {
	return builder.ControllerManagedBy(mgr).
		Named("cacheinvalidation-history").
		Watches(&v1.CacheInvalidation{}, historyEvents()).
		WithOptions(queue.Options()).
		Complete(r)
}

// historyEvents reconciles the namespace of each invalidation that finishes or is deleted, once for
// all of historyPause.
func historyEvents() handler.EventHandler {
	type woken = workqueue.TypedRateLimitingInterface[reconcile.Request]
	enqueue := func(obj client.Object, q woken) {
		q.AddAfter(reconcile.Request{NamespacedName: types.NamespacedName{Namespace: obj.GetNamespace()}},
			historyPause)
	}
	enqueueIfFinished := func(obj client.Object, q woken) {
		if invalidation, ok := obj.(*v1.CacheInvalidation); ok && resource.IsFinished(invalidation) {
			enqueue(obj, q)
		}
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q woken) {
			enqueueIfFinished(e.Object, q)
		},
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q woken) {
			enqueueIfFinished(e.ObjectNew, q)
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q woken) { enqueue(e.Object, q) },
	}
}
