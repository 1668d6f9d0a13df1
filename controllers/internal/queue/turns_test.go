// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cachewright/cachewright/controllers/internal/resource"
)

func requestOfName(namespace string, name any) reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: fmt.Sprint(name)}}
}

// smallLimits leave one place to each but the whole.
var smallLimits = limits{workers: 5, shared: 4, declared: 2, namespace: 3, slow: 2, slowStore: 1, slowNamespace: 1}

func slowOnes(slow ...resource.StoreID) func(resource.StoreID) bool {
	return func(id resource.StoreID) bool { return slices.Contains(slow, id) }
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
		turns.join(requestOfName("flood", i), resource.DefaultStore, 0)
	}
	turns.join(requestOfName("shop", "a"), resource.DefaultStore, 0)
	turns.join(requestOfName("bank", "a"), resource.DefaultStore, 0)
	want := "flood/0 shop/a bank/a flood/1 flood/2"
	if got := strings.Join(oneByOne(turns), " "); got != want {
		t.Errorf("turns: %s; want %s", got, want)
	}
}

func TestStoresTakeTurns(t *testing.T) {
	turns := newTurns(smallLimits, slowOnes())
	for i := range 3 {
		turns.join(requestOfName("shop", i), resource.StoreID{Namespace: "shop", Name: "main"}, 0)
	}
	turns.join(requestOfName("shop", "b"), resource.DefaultStore, 0)
	want := "shop/0 shop/b shop/1 shop/2"
	if got := strings.Join(oneByOne(turns), " "); got != want {
		t.Errorf("turns: %s; want %s", got, want)
	}
}

func TestWhatPeopleChangedHasItsTurnFirst(t *testing.T) {
	turns := newTurns(smallLimits, slowOnes())
	for i := range 20 {
		turns.join(requestOfName("shop", fmt.Sprint("b", i)), resource.DefaultStore, handler.LowPriority)
	}
	for i := range 10 {
		turns.join(requestOfName("shop", i), resource.DefaultStore, 0)
	}
	turns.join(requestOfName("shop", "b19"), resource.DefaultStore, 0) // somebody changed it while it waited
	got := oneByOne(turns)
	if len(got) != 30 {
		t.Fatalf("%d turns: %v", len(got), got)
	}
	// Every eighth turn is one of the background, which always goes on.
	background := slices.IndexFunc(got, func(name string) bool { return name == "shop/b0" })
	if hastened := slices.Index(got, "shop/b19"); background != backgroundTurn-1 || hastened > 11 {
		t.Errorf("background first at %d, hastened one at %d: %v", background, hastened, got)
	}
}

func TestWorkersAreLimited(t *testing.T) {
	slow := []resource.StoreID{{Namespace: "evil", Name: "one"}, {Namespace: "evil", Name: "two"}, {Namespace: "worse", Name: "one"}, {Namespace: "worst", Name: "one"}}
	for name, test := range map[string]struct {
		join func(*turns)
		want int
	}{
		"of a namespace": {func(t *turns) {
			for i := range 9 {
				t.join(requestOfName("flood", i), resource.DefaultStore, 0)
			}
		}, smallLimits.namespace},
		"of the operator's own store": {func(t *turns) {
			for i := range 9 {
				t.join(requestOfName(fmt.Sprint("n", i), i), resource.DefaultStore, 0)
			}
		}, smallLimits.shared},
		"of a CacheStore": {func(t *turns) {
			for i := range 9 {
				t.join(requestOfName("shop", i), resource.StoreID{Namespace: "shop", Name: "main"}, 0)
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
				t.join(requestOfName(namespace, i), resource.StoreID{Namespace: namespace, Name: "main"}, 0)
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

// The limits in use leave room for others, however many stores are slow, and whatever one namespace
// does.
func TestFairLimitsLeaveRoom(t *testing.T) {
	l := fairLimits
	if l.slow+l.shared >= l.workers || l.slow+l.namespace >= l.workers || l.namespace >= l.shared || l.declared >= l.namespace ||
		l.slowNamespace >= l.namespace || l.slowStore >= l.slowNamespace {
		t.Errorf("%+v leave none", l)
	}
}

// In whatever order requests come, each has its turn once, and no limit is exceeded. Nobody waits
// while others of its rank in the same store have two turns. Nothing is left behind.
func TestTurnsAreFairWhateverComes(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		stores := []resource.StoreID{resource.DefaultStore, {Namespace: "a", Name: "fast"}, {Namespace: "b", Name: "slow"}, {Namespace: "c", Name: "slow"}}
		turns := newTurns(smallLimits, func(id resource.StoreID) bool { return id.Name == "slow" })
		waiting, running := map[reconcile.Request]resource.StoreID{}, map[reconcile.Request]resource.StoreID{}
		rt.Repeat(map[string]func(*rapid.T){
			"join": func(rt *rapid.T) {
				namespace := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "namespace")
				request := requestOfName(namespace, rapid.IntRange(1, 20).Draw(rt, "name"))
				store := rapid.SampledFrom(stores).Draw(rt, "store")
				if _, runs := running[request]; runs || store != resource.DefaultStore && store.Namespace != namespace {
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

func checkLimits(rt *rapid.T, running map[reconcile.Request]resource.StoreID) {
	slow, byStore, byNamespace, slowByNamespace := 0, map[resource.StoreID]int{}, map[string]int{}, map[string]int{}
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
		{byStore[resource.DefaultStore], smallLimits.shared},
		{byStore[resource.StoreID{Namespace: "a", Name: "fast"}], smallLimits.declared},
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
