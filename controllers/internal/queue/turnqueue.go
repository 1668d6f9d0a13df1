// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"sync"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cachewright/cachewright/controllers/internal/resource"
	"github.com/cachewright/cachewright/controllers/internal/status"
	"github.com/cachewright/cachewright/internal/contain"
)

// turnQueue is a queue of a controller whose items, once they are due, wait for their turn. The
// queue behind it decides what is due, and when something is retried.
type turnQueue struct {
	priorityqueue.PriorityQueue[reconcile.Request]

	// storeOf returns the store that a request is for.
	storeOf func(reconcile.Request) resource.StoreID

	mu    sync.Mutex
	due   *sync.Cond
	turns *turns
	ended bool
	// asked is the priority of requests that the queue behind holds, or has just returned. While such
	// a request is on its way here, only this map knows that it became urgent.
	asked map[reconcile.Request]int
}

// newTurnQueue returns a queue in front of another. It ends with that.
func newTurnQueue(
	behind priorityqueue.PriorityQueue[reconcile.Request], turns *turns,
	storeOf func(reconcile.Request) resource.StoreID,
) *turnQueue {
	q := &turnQueue{
		PriorityQueue: behind, storeOf: storeOf, turns: turns, asked: map[reconcile.Request]int{},
	}
	q.due = sync.NewCond(&q.mu)
	go q.fetch()
	return q
}

// fetch moves what is due from the queue behind into turns.
func (q *turnQueue) fetch() {
	for {
		request, priority, ended := q.PriorityQueue.GetWithPriority()
		store := q.containedStoreOf(request)
		q.mu.Lock()
		if ended {
			q.ended = true
			q.due.Broadcast()
			q.mu.Unlock()
			return
		}
		q.join(request, store, priority)
		q.mu.Unlock()
	}
}

// join makes a request wait for its turn. It is called with the lock held.
func (q *turnQueue) join(request reconcile.Request, store resource.StoreID, priority int) {
	if asked, known := q.asked[request]; known {
		priority = max(priority, asked)
		delete(q.asked, request)
	}
	q.turns.join(request, store, priority)
	q.due.Signal()
}

// containedStoreOf returns the store of a request; the default store if that panics.
func (q *turnQueue) containedStoreOf(request reconcile.Request) (id resource.StoreID) {
	var err error
	defer contain.Panic(&err, status.ErrPanicked)
	return q.storeOf(request)
}

// GetWithPriority implements priorityqueue.PriorityQueue: it waits for the next turn.
func (q *turnQueue) GetWithPriority() (request reconcile.Request, priority int, shutdown bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for !q.ended {
		if request, priority, ok := q.turns.next(); ok {
			q.due.Signal() // there may be another one
			return request, priority, false
		}
		q.due.Wait()
	}
	return reconcile.Request{}, 0, true
}

// Get implements workqueue.TypedInterface.
func (q *turnQueue) Get() (request reconcile.Request, shutdown bool) {
	request, _, shutdown = q.GetWithPriority()
	return request, shutdown
}

// Done implements workqueue.TypedInterface.
func (q *turnQueue) Done(request reconcile.Request) {
	q.mu.Lock()
	q.turns.leave(request)
	q.due.Signal()
	q.mu.Unlock()
	q.PriorityQueue.Done(request)
}

// AddWithOpts implements priorityqueue.PriorityQueue. It does not add what already waits for its
// turn.
func (q *turnQueue) AddWithOpts(o priorityqueue.AddOpts, requests ...reconcile.Request) {
	if o.RateLimited || o.After > 0 {
		q.PriorityQueue.AddWithOpts(o, requests...)
		return
	}
	priority := 0
	if o.Priority != nil {
		priority = *o.Priority
	}
	for _, request := range requests {
		if !q.hasten(request, priority) {
			q.PriorityQueue.AddWithOpts(o, request)
		}
	}
}

// hasten reports whether a request already waits for its turn, and raises its priority. Otherwise
// it remembers the priority.
func (q *turnQueue) hasten(request reconcile.Request, priority int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.turns.hasten(request, priority) {
		return true
	}
	if former, known := q.asked[request]; known {
		priority = max(priority, former)
	}
	q.asked[request] = priority
	return false
}

// Add implements workqueue.TypedInterface.
func (q *turnQueue) Add(request reconcile.Request) {
	q.AddWithOpts(priorityqueue.AddOpts{}, request)
}

// Len implements workqueue.TypedInterface.
func (q *turnQueue) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.PriorityQueue.Len() + len(q.turns.waiting)
}

// InTurns makes the stores of a controller's requests take turns, and their namespaces, too.
func InTurns(
	o controller.Options, isSlow func(resource.StoreID) bool, storeOf func(context.Context,
		reconcile.Request) resource.StoreID,
) controller.Options {
	o.MaxConcurrentReconciles = fairLimits.workers
	o.NewQueue = func(name string,
		limiter workqueue.TypedRateLimiter[reconcile.Request],
	) workqueue.TypedRateLimitingInterface[reconcile.Request] {
		behind := priorityqueue.New(name, func(o *priorityqueue.Opts[reconcile.Request]) {
			o.RateLimiter = limiter
		})
		return newTurnQueue(behind, newTurns(fairLimits, isSlow),
			func(request reconcile.Request) resource.StoreID {
				return storeOf(context.Background(), request)
			})
	}
	return o
}
