// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"sync"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/internal/contain"
)

// turnQueue is a queue of a controller whose items, once they are due, wait for their turn. What is due, how often something
// is tried again and when, the queue behind it decides.
type turnQueue struct {
	priorityqueue.PriorityQueue[reconcile.Request]

	// storeOf returns the store that a request is for.
	storeOf func(reconcile.Request) storeID

	mu    sync.Mutex
	due   *sync.Cond
	turns *turns
	ended bool
	// asked is the priority with which requests were added that the queue behind has, or has just given out: of one that is on
	// its way to wait here nobody else knows that it became urgent.
	asked map[reconcile.Request]int
}

// newTurnQueue returns a queue before another. It ends with that.
func newTurnQueue(
	behind priorityqueue.PriorityQueue[reconcile.Request], turns *turns, storeOf func(reconcile.Request) storeID,
) *turnQueue {
	q := &turnQueue{PriorityQueue: behind, storeOf: storeOf, turns: turns, asked: map[reconcile.Request]int{}}
	q.due = sync.NewCond(&q.mu)
	go q.fetch()
	return q
}

// fetch takes what is due out of the queue behind.
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

// join lets a request wait for its turn. It is called with the lock held.
func (q *turnQueue) join(request reconcile.Request, store storeID, priority int) {
	if asked, known := q.asked[request]; known {
		priority = max(priority, asked)
		delete(q.asked, request)
	}
	q.turns.join(request, store, priority)
	q.due.Signal()
}

// containedStoreOf takes what it panics over for a request to the default store.
func (q *turnQueue) containedStoreOf(request reconcile.Request) (id storeID) {
	var err error
	defer contain.Panic(&err, errPanicked)
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

// AddWithOpts implements priorityqueue.PriorityQueue. What waits for its turn already is not added once more.
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

// hasten says whether a request waits for its turn already, with this priority at least from now on. Of another one it
// remembers the priority.
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

// inTurns makes the stores of a controller's requests, and their namespaces, take turns.
func inTurns(o controller.Options, stores *Stores, storeOf func(context.Context, reconcile.Request) storeID) controller.Options {
	o.MaxConcurrentReconciles = fairLimits.workers
	o.NewQueue = func(name string, limiter workqueue.TypedRateLimiter[reconcile.Request]) workqueue.TypedRateLimitingInterface[reconcile.Request] {
		behind := priorityqueue.New(name, func(o *priorityqueue.Opts[reconcile.Request]) { o.RateLimiter = limiter })
		return newTurnQueue(behind, newTurns(fairLimits, stores.isSlow), func(request reconcile.Request) storeID {
			return storeOf(context.Background(), request)
		})
	}
	return o
}

// storeOfPolicy and storeOfPurge read which store a request is for. Of what is not there any more nothing is asked.

func storeOfPolicy(reader client.Reader) func(context.Context, reconcile.Request) storeID {
	return func(ctx context.Context, request reconcile.Request) storeID {
		policy := &v1.CachePolicy{}
		if reader.Get(ctx, request.NamespacedName, policy, readOnly) != nil {
			return defaultStore
		}
		return storeOf(policy)
	}
}

func storeOfPurge(reader client.Reader) func(context.Context, reconcile.Request) storeID {
	return func(ctx context.Context, request reconcile.Request) storeID {
		invalidation := &v1.CacheInvalidation{}
		if reader.Get(ctx, request.NamespacedName, invalidation, readOnly) != nil {
			return defaultStore
		}
		return storeIDOf(invalidation.Namespace, invalidation.Spec.StoreRef)
	}
}
