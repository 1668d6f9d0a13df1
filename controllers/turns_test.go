// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

func requestOfName(namespace string, name any) reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: fmt.Sprint(name)}}
}

// smallLimits leave one place to each but the whole.
var smallLimits = limits{workers: 5, shared: 4, declared: 2, namespace: 3, slow: 2, slowStore: 1, slowNamespace: 1}

func slowOnes(slow ...storeID) func(storeID) bool {
	return func(id storeID) bool { return slices.Contains(slow, id) }
}

// given lists the turns that are given until none is, as namespace/name.
func given(t *turns) (got []string) {
	for {
		request, _, ok := t.next()
		if !ok {
			return got
		}
		got = append(got, request.String())
	}
}

// oneByOne lists the turns that are given when each ends before the next.
func oneByOne(t *turns) (got []string) {
	for {
		request, _, ok := t.next()
		if !ok {
			return got
		}
		got = append(got, request.String())
		t.leave(request)
	}
}

func TestNamespacesTakeTurns(t *testing.T) {
	turns := newTurns(smallLimits, slowOnes())
	for i := range 3 {
		turns.join(requestOfName("flood", i), defaultStore, 0)
	}
	turns.join(requestOfName("shop", "a"), defaultStore, 0)
	turns.join(requestOfName("bank", "a"), defaultStore, 0)
	want := "flood/0 shop/a bank/a flood/1 flood/2"
	if got := strings.Join(oneByOne(turns), " "); got != want {
		t.Errorf("turns: %s; want %s", got, want)
	}
}

func TestStoresTakeTurns(t *testing.T) {
	turns := newTurns(smallLimits, slowOnes())
	for i := range 3 {
		turns.join(requestOfName("shop", i), storeID{Namespace: "shop", Name: "main"}, 0)
	}
	turns.join(requestOfName("shop", "b"), defaultStore, 0)
	want := "shop/0 shop/b shop/1 shop/2"
	if got := strings.Join(oneByOne(turns), " "); got != want {
		t.Errorf("turns: %s; want %s", got, want)
	}
}

func TestWhatPeopleChangedHasItsTurnFirst(t *testing.T) {
	turns := newTurns(smallLimits, slowOnes())
	for i := range 20 {
		turns.join(requestOfName("shop", fmt.Sprint("b", i)), defaultStore, handler.LowPriority)
	}
	for i := range 10 {
		turns.join(requestOfName("shop", i), defaultStore, 0)
	}
	turns.join(requestOfName("shop", "b19"), defaultStore, 0) // somebody changed it while it waited
	got := oneByOne(turns)
	if len(got) != 30 {
		t.Fatalf("%d turns: %v", len(got), got)
	}
	// Every eighth turn is one of the background, which never waits for ever.
	background := slices.IndexFunc(got, func(name string) bool { return name == "shop/b0" })
	if hastened := slices.Index(got, "shop/b19"); background != backgroundTurn-1 || hastened > 11 {
		t.Errorf("background first at %d, hastened one at %d: %v", background, hastened, got)
	}
}

func TestPlacesAreLimited(t *testing.T) {
	slow := []storeID{{Namespace: "evil", Name: "one"}, {Namespace: "evil", Name: "two"}, {Namespace: "worse", Name: "one"}, {Namespace: "worst", Name: "one"}}
	for name, test := range map[string]struct {
		join func(*turns)
		want int
	}{
		"of a namespace": {func(t *turns) {
			for i := range 9 {
				t.join(requestOfName("flood", i), defaultStore, 0)
			}
		}, smallLimits.namespace},
		"of the operator's own store": {func(t *turns) {
			for i := range 9 {
				t.join(requestOfName(fmt.Sprint("n", i), i), defaultStore, 0)
			}
		}, smallLimits.shared},
		"of a CacheStore": {func(t *turns) {
			for i := range 9 {
				t.join(requestOfName("shop", i), storeID{Namespace: "shop", Name: "main"}, 0)
			}
		}, smallLimits.declared},
		"of a slow store": {func(t *turns) {
			for i := range 9 {
				t.join(requestOfName("evil", i), slow[0], 0)
			}
		}, smallLimits.slowStore},
		"of a namespace with slow stores": {func(t *turns) {
			for i := range 9 {
				t.join(requestOfName("evil", i), slow[i%2], 0)
			}
		}, smallLimits.slowNamespace},
		"of slow stores": {func(t *turns) {
			for i := range 9 {
				t.join(requestOfName(slow[i%4].Namespace, i), slow[i%4], 0)
			}
		}, smallLimits.slow},
		"in all": {func(t *turns) {
			for i := range 9 {
				namespace := fmt.Sprint("n", i)
				t.join(requestOfName(namespace, i), storeID{Namespace: namespace, Name: "main"}, 0)
			}
		}, smallLimits.workers},
	} {
		turns := newTurns(smallLimits, slowOnes(slow...))
		test.join(turns)
		if got := given(turns); len(got) != test.want {
			t.Errorf("%s: %v at a time; want %d", name, got, test.want)
		}
	}
}

// The limits in use leave room for others, however many stores are slow, and whatever one namespace does.
func TestFairLimitsLeaveRoom(t *testing.T) {
	l := fairLimits
	if l.slow+l.shared >= l.workers || l.slow+l.namespace >= l.workers || l.namespace >= l.shared || l.declared >= l.namespace ||
		l.slowNamespace >= l.namespace || l.slowStore >= l.slowNamespace {
		t.Errorf("%+v leave none", l)
	}
}

// Whatever comes in whatever order: each request has its turn once, no limit is passed, nobody is passed over while others of
// its rank in the same store have two turns, and nothing is left behind.
func TestTurnsAreFairWhateverComes(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		stores := []storeID{defaultStore, {Namespace: "a", Name: "fast"}, {Namespace: "b", Name: "slow"}, {Namespace: "c", Name: "slow"}}
		turns := newTurns(smallLimits, func(id storeID) bool { return id.Name == "slow" })
		waiting, running := map[reconcile.Request]storeID{}, map[reconcile.Request]storeID{}
		rt.Repeat(map[string]func(*rapid.T){
			"join": func(rt *rapid.T) {
				namespace := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "namespace")
				request := requestOfName(namespace, rapid.IntRange(1, 20).Draw(rt, "name"))
				store := rapid.SampledFrom(stores).Draw(rt, "store")
				if _, runs := running[request]; runs || store != defaultStore && store.Namespace != namespace {
					rt.Skip()
				}
				turns.join(request, store, rapid.SampledFrom([]int{0, handler.LowPriority}).Draw(rt, "priority"))
				if _, waits := waiting[request]; !waits {
					waiting[request] = store
				}
			},
			"next": func(rt *rapid.T) {
				request, _, ok := turns.next()
				if !ok {
					if len(running) == 0 && len(waiting) > 0 {
						rt.Fatalf("%d wait, and nobody has a turn", len(waiting))
					}
					return
				}
				if _, waits := waiting[request]; !waits {
					rt.Fatalf("%s has a turn and did not wait", request)
				}
				running[request] = waiting[request]
				delete(waiting, request)
			},
			"leave": func(rt *rapid.T) {
				if len(running) == 0 {
					rt.Skip()
				}
				request := rapid.SampledFrom(slices.SortedFunc(maps.Keys(running), func(a, b reconcile.Request) int {
					return strings.Compare(a.String(), b.String())
				})).Draw(rt, "request")
				turns.leave(request)
				delete(running, request)
			},
			"": func(rt *rapid.T) { checkLimits(rt, running) },
		})
		for request := range running {
			turns.leave(request)
		}
		if got := oneByOne(turns); len(got) != len(waiting) {
			rt.Fatalf("%d had a turn in the end; %d waited", len(got), len(waiting))
		}
		if left := len(turns.lanes) + len(turns.waiting) + len(turns.running) + len(turns.byNamespace) + len(turns.slowNamespace) + turns.slow; left > 0 {
			rt.Fatalf("%d are left behind: %+v", left, turns)
		}
	})
}

func checkLimits(rt *rapid.T, running map[reconcile.Request]storeID) {
	slow, byStore, byNamespace, slowByNamespace := 0, map[storeID]int{}, map[string]int{}, map[string]int{}
	for request, store := range running {
		byStore[store]++
		byNamespace[request.Namespace]++
		if store.Name == "slow" {
			slow++
			slowByNamespace[request.Namespace]++
		}
	}
	for _, bound := range []struct{ most, limit int }{
		{len(running), smallLimits.workers},
		{slow, smallLimits.slow},
		{byStore[defaultStore], smallLimits.shared},
		{byStore[storeID{Namespace: "a", Name: "fast"}], smallLimits.declared},
		{mostOf(byNamespace), smallLimits.namespace},
		{mostOf(slowByNamespace), smallLimits.slowNamespace},
	} {
		if bound.most > bound.limit {
			rt.Fatalf("%d at a time; %d are allowed: %v", bound.most, bound.limit, running)
		}
	}
}

func mostOf[K comparable](counts map[K]int) (most int) {
	for _, count := range counts {
		most = max(most, count)
	}
	return most
}

func newTestQueue(t *testing.T, storeOf func(reconcile.Request) storeID) *turnQueue {
	t.Helper()
	return newTurnQueue(priorityqueue.New[reconcile.Request](t.Name()), newTurns(smallLimits, slowOnes()), storeOf)
}

func TestAQueueGivesTurns(t *testing.T) {
	queue := newTestQueue(t, func(reconcile.Request) storeID { return defaultStore })
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
	case <-time.After(patience):
		t.Fatal("a place that was left is not taken")
	}
}

func TestAQueueHoldsEachRequestOnce(t *testing.T) {
	queue := newTestQueue(t, func(reconcile.Request) storeID { panic("a reader") })
	defer queue.ShutDown()
	for i := range smallLimits.namespace {
		queue.Add(requestOfName("shop", i))
		queue.Get()
	}
	for range 3 {
		queue.AddWithOpts(priorityqueue.AddOpts{Priority: new(handler.LowPriority)}, requestOfName("shop", "third"))
		eventually(t, "it does not wait", func() bool { return queue.waits(requestOfName("shop", "third")) })
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
		PriorityQueue: behind, turns: newTurns(smallLimits, func(storeID) bool { return false }), asked: map[reconcile.Request]int{},
	}
	queue.due = sync.NewCond(&queue.mu)
	request := requestOfName("shop", "urgent")
	queue.Add(request)
	queue.join(request, defaultStore, handler.LowPriority)
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
	queue := newTestQueue(t, func(reconcile.Request) storeID { return defaultStore })
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
	case <-time.After(patience):
		t.Error("it is still waited for")
	}
}

func TestAStoreThatAnswersSlowlyIsKnown(t *testing.T) {
	var p pace
	for range 10 {
		p.note(time.Millisecond)
	}
	p.note(slowAnswer)
	if p.isSlow() {
		t.Error("after one slow answer")
	}
	p.note(callTimeout)
	if !p.isSlow() {
		t.Error("after one that did not come in time it is not slow")
	}
	for range 2 * paceWeight {
		p.note(time.Millisecond)
	}
	if p.isSlow() {
		t.Error("it is slow for ever")
	}
}

func TestARequestIsOfTheStoreThatItsResourceNames(t *testing.T) {
	policy, purge := usersPolicyIn("main"), purgeOf()
	policy.Namespace = "shop"
	purge.Namespace, purge.Name = "shop", "purge"
	resources := fakeCache(t, policy, purge)
	ctx := context.Background()
	main := storeID{Namespace: "shop", Name: "main"}
	if got := storeOfPolicy(resources)(ctx, requestOfName("shop", "users")); got != main {
		t.Errorf("the policy: %s", got)
	}
	if got := storeOfPurge(resources)(ctx, requestOfName("shop", "purge")); got != defaultStore {
		t.Errorf("the purge: %s", got)
	}
	if got := storeOfPolicy(resources)(ctx, requestOfName("shop", "gone")); got != defaultStore {
		t.Errorf("what is gone: %s", got)
	}
}
