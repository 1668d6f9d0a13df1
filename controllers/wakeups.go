// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

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

// wakeups carries the names of resources that are to be reconciled.
type wakeups chan event.TypedGenericEvent[wakeup]

type wakeup struct {
	name types.NamespacedName
	// within this time, at random; 0: at once.
	within time.Duration
}

func (w wakeups) source() source.Source {
	return source.Channel(w, handler.TypedFuncs[wakeup, reconcile.Request]{
		GenericFunc: func(
			_ context.Context, e event.TypedGenericEvent[wakeup], queue workqueue.TypedRateLimitingInterface[reconcile.Request],
		) {
			e.Object.addTo(queue)
		},
	})
}

// addTo adds the resource behind what people changed: one store may have ten thousand to wake when it goes, of which
// the tenants of other stores should notice nothing.
func (w wakeup) addTo(queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
	request := reconcile.Request{NamespacedName: w.name}
	var after time.Duration
	if w.within > 0 {
		after = rand.N(w.within)
	}
	if prioritized, ok := queue.(priorityqueue.PriorityQueue[reconcile.Request]); ok {
		prioritized.AddWithOpts(priorityqueue.AddOpts{After: after, Priority: new(handler.LowPriority)}, request)
		return
	}
	queue.AddAfter(request, after)
}

// wake has a resource reconciled as soon as nothing is to be done that people changed.
func (w wakeups) wake(ctx context.Context, name types.NamespacedName) {
	w.wakeWithin(ctx, name, 0)
}

// wakeWithin has a resource reconciled some time, for what is in no hurry.
func (w wakeups) wakeWithin(ctx context.Context, name types.NamespacedName, within time.Duration) {
	select {
	case w <- event.TypedGenericEvent[wakeup]{Object: wakeup{name: name, within: within}}:
	case <-ctx.Done():
	}
}
