// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"sync"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cachewright/cachewright/controllers/internal/controllertest"
	"github.com/cachewright/cachewright/controllers/internal/resource"
)

func newTestQueue(t *testing.T, storeOf func(reconcile.Request) resource.StoreID) *turnQueue {
	t.Helper()
	return newTurnQueue(priorityqueue.New[reconcile.Request](t.Name()), newTurns(smallLimits, slowOnes()), storeOf)
}

func TestAQueueGivesTurns(t *testing.T) {
	queue := newTestQueue(t, func(reconcile.Request) resource.StoreID { return resource.DefaultStore })
	defer queue.ShutDown()
	for i := range 5 {
		queue.Add(requestOfName("flood", i))
	}
	for range smallLimits.namespace {
		queue.Get()
	}
	queue.Add(requestOfName("shop", "a"))
	request, _, ended := queue.GetWithPriority()
	if ended || request.Namespace != "shop" {
		t.Errorf("%s has the turn of another namespace", request)
	}
	left := make(chan reconcile.Request)
	go func() {
		next, _ := queue.Get()
		left <- next
	}()
	queue.Done(requestOfName("flood", 0))
	select {
	case <-left:
	case <-time.After(controllertest.Timeout):
		t.Fatal("a place that was left is not taken")
	}
}

func TestAQueueHoldsEachRequestOnce(t *testing.T) {
	queue := newTestQueue(t, func(reconcile.Request) resource.StoreID { panic("a reader") })
	defer queue.ShutDown()
	for i := range smallLimits.namespace {
		queue.Add(requestOfName("shop", i))
		queue.Get()
	}
	for range 3 {
		queue.AddWithOpts(priorityqueue.AddOpts{Priority: new(handler.LowPriority)}, requestOfName("shop", "third"))
		controllertest.WaitFor(t, "it does not wait", func() bool { return queue.waits(requestOfName("shop", "third")) })
		queue.Add(requestOfName("shop", "third"))
	}
	queue.Done(requestOfName("shop", 0))
	if request, priority, _ := queue.GetWithPriority(); request.Name != "third" || priority != 0 {
		t.Errorf("%s has a turn with priority %d", request, priority)
	}
	queue.Done(requestOfName("shop", "third"))
	if queue.Len() != 0 {
		t.Errorf("%d wait still", queue.Len())
	}
}

// A request that becomes urgent on its way from one queue to the other is urgent.
func TestARequestThatIsOnItsWayIsHastened(t *testing.T) {
	behind := priorityqueue.New[reconcile.Request]("test")
	defer behind.ShutDown()
	queue := &turnQueue{
		PriorityQueue: behind, turns: newTurns(smallLimits, func(resource.StoreID) bool { return false }), asked: map[reconcile.Request]int{},
	}
	queue.due = sync.NewCond(&queue.mu)
	request := requestOfName("shop", "urgent")
	queue.Add(request)
	queue.join(request, resource.DefaultStore, handler.LowPriority)
	if _, priority, ok := queue.turns.next(); !ok || priority != 0 {
		t.Errorf("it has a turn with priority %d", priority)
	}
	if len(queue.asked) != 0 {
		t.Errorf("%v is remembered still", queue.asked)
	}
}

// waits says whether a request waits for its turn.
func (q *turnQueue) waits(request reconcile.Request) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	_, waits := q.turns.waiting[request]
	return waits
}

func TestAQueueEnds(t *testing.T) {
	queue := newTestQueue(t, func(reconcile.Request) resource.StoreID { return resource.DefaultStore })
	ended := make(chan bool)
	go func() {
		_, over := queue.Get()
		ended <- over
	}()
	queue.ShutDown()
	select {
	case over := <-ended:
		if !over {
			t.Error("a turn was given")
		}
	case <-time.After(controllertest.Timeout):
		t.Error("it is still waited for")
	}
}
