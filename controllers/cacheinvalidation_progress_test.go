// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"

	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/registry"
)

// toilsomeStore takes a whole turn for each round trip, and counts the calls by what they ask for.
type toilsomeStore struct {
	Store
	clock   *clocktesting.FakePassiveClock
	modules []string
	made    map[string]int
	trips   int
}

func (s *toilsomeStore) Modules(context.Context, string) ([]string, error) { return s.modules, nil }

func (s *toilsomeStore) InvalidateMany(_ context.Context, calls []registry.Invalidation) []registry.InvalidationResult {
	s.clock.SetTime(s.clock.Now().Add(turnTime))
	s.trips++
	results := make([]registry.InvalidationResult, len(calls))
	for i, call := range calls {
		s.made[call.Module+" "+call.RequestID]++
		results[i].Keys = 1
	}
	return results
}

// newToil returns the reconciler of a purge of 30 users in 20 modules, and of one module by name.
func newToil(t *testing.T) (*CacheInvalidationReconciler, *toilsomeStore, *v1.CacheInvalidation) {
	t.Helper()
	targets := []v1.InvalidationTarget{{Module: "m3"}}
	for i := range 30 {
		targets = append(targets, v1.InvalidationTarget{UserID: fmt.Sprint("user-", i)})
	}
	purge := purgeOf(targets...)
	purge.Namespace, purge.Name, purge.UID = "shop", "purge", "u"
	cluster := fakeCluster(t, purge)
	store := &toilsomeStore{made: map[string]int{}}
	_, purges := reconcilersOf(cluster, &oneStore{store: store})
	store.clock = purges.Clock.(*clocktesting.FakePassiveClock)
	purges.underWay = newUnderWay()
	for i := range 20 {
		store.modules = append(store.modules, fmt.Sprint("m", i))
	}
	return purges, store, purge
}

// turn lets a purge have a turn.
func turn(t *testing.T, r *CacheInvalidationReconciler, purge *v1.CacheInvalidation) reconcile.Result {
	t.Helper()
	result, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(purge)})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Client.Get(t.Context(), client.ObjectKeyFromObject(purge), purge); err != nil {
		t.Fatal(err)
	}
	return result
}

// A large purge lets others have their turn, goes on before others of its namespace begin, and makes no call twice.
func TestALargePurgeGoesOnWhereItStood(t *testing.T) {
	r, store, purge := newToil(t)
	const calls, turns = 30*20 + 1, 7
	for i := range turns - 1 {
		if result := turn(t, r, purge); result.Priority == nil || *result.Priority != priorityOn || result.RequeueAfter != soon {
			t.Fatalf("turn %d: it comes again as %+v", i, result)
		}
		if purge.Status.State != "" || store.trips != i+1 {
			t.Fatalf("turn %d: %s after %d round trips", i, purge.Status.State, store.trips)
		}
	}
	turn(t, r, purge)
	if purge.Status.State != v1.StateComplete || *purge.Status.KeysInvalidated != calls || purge.Status.Targets[1].Modules != 20 {
		t.Errorf("in the end it says %+v", purge.Status)
	}
	if most := slices.Max(slices.Collect(maps.Values(store.made))); len(store.made) != calls || most != 1 {
		t.Errorf("%d calls were made, one %d times", len(store.made), most)
	}
	if len(r.underWay.purges) != 0 {
		t.Error("its progress is remembered for ever")
	}
}

// What a module held that came in between is not certain to have been reached.
func TestALargePurgeBeginsAgainWhenThereAreOtherModules(t *testing.T) {
	r, store, purge := newToil(t)
	turn(t, r, purge)
	store.modules = append([]string{"a"}, store.modules...)
	for range 7 {
		turn(t, r, purge)
	}
	if purge.Status.State != v1.StateComplete || purge.Status.Targets[1].Modules != 21 {
		t.Errorf("in the end it says %+v", purge.Status)
	}
}

func TestProgressOfPurgesIsBounded(t *testing.T) {
	u := newUnderWay()
	for i := range 2 * maxUnderWay {
		purge := purgeOf()
		purge.Name = fmt.Sprint(i)
		u.remember(purge, &purgeProgress{})
	}
	if len(u.purges) > maxUnderWay {
		t.Errorf("%d are remembered", len(u.purges))
	}
}
