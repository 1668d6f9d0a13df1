// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"math/rand/v2"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

// Enqueuer is a queue of names of resources that have to be reconciled.
type Enqueuer chan event.TypedGenericEvent[Item]

// Item names a resource that has to be reconciled.
type Item struct {
	Name types.NamespacedName
	// Within this time, at random; 0: immediately.
	Within time.Duration
}

// Source feeds the names into a controller's queue.
func (e Enqueuer) Source() source.Source {
	return source.Channel(e, handler.TypedFuncs[Item, reconcile.Request]{
		GenericFunc: func(
			_ context.Context, woken event.TypedGenericEvent[Item],
			queue workqueue.TypedRateLimitingInterface[reconcile.Request],
		) {
			woken.Object.addTo(queue)
		},
	})
}

// addTo adds the resource behind what people changed. A store may have ten thousand resources to
// wake when it is lost, and the tenants of other stores should not notice.
func (i Item) addTo(queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
	request := reconcile.Request{NamespacedName: i.Name}
	var after time.Duration
	if i.Within > 0 {
		after = rand.N(i.Within)
	}
	if prioritized, ok := queue.(priorityqueue.PriorityQueue[reconcile.Request]); ok {
		prioritized.AddWithOpts(priorityqueue.AddOpts{After: after, Priority: new(handler.LowPriority)},
			request)
		return
	}
	queue.AddAfter(request, after)
}

// Enqueue has a resource reconciled as soon as nothing waits that people changed.
func (e Enqueuer) Enqueue(ctx context.Context, name types.NamespacedName) {
	e.EnqueueWithin(ctx, name, 0)
}

// EnqueueWithin has a resource reconciled at a random time within a duration.
func (e Enqueuer) EnqueueWithin(
	ctx context.Context, name types.NamespacedName, within time.Duration,
) {
	select {
	case e <- event.TypedGenericEvent[Item]{Object: Item{Name: name, Within: within}}:
	case <-ctx.Done():
	}
}

// Set carries the names of resources that have to be reconciled, by kind.
type Set struct {
	Policies      Enqueuer
	Invalidations Enqueuer
	Stores        Enqueuer
}

// NewSet returns empty queues.
func NewSet() Set {
	return Set{Policies: make(Enqueuer), Invalidations: make(Enqueuer), Stores: make(Enqueuer)}
}
