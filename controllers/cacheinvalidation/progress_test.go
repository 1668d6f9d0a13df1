// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cacheinvalidation

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/controllertest"
	"github.com/cachewright/cachewright/controllers/internal/metrics"
	"github.com/cachewright/cachewright/controllers/internal/queue"
	"github.com/cachewright/cachewright/controllers/internal/stats"
	"github.com/cachewright/cachewright/controllers/internal/status"
	"github.com/cachewright/cachewright/controllers/recovery"
	"github.com/cachewright/cachewright/controllers/stores/calls"
	"github.com/cachewright/cachewright/controllers/stores/storetest"
	"github.com/cachewright/cachewright/registry"
)

// toilsomeStore takes a whole turn for each round trip, and counts the calls by what they ask for.
type toilsomeStore struct {
	calls.SessionStore

	clock   *clocktesting.FakePassiveClock
	modules []string
	made    map[string]int
	trips   int
}

func (s *toilsomeStore) Modules(context.Context, string) ([]string, error) { return s.modules, nil }

func (s *toilsomeStore) InvalidateMany(_ context.Context, made []registry.Invalidation) []registry.InvalidationResult {
	s.clock.SetTime(s.clock.Now().Add(turnTime))
	s.trips++
	results := make([]registry.InvalidationResult, len(made))
	for i, call := range made {
		s.made[call.Module+" "+call.RequestID]++
		results[i].Keys = 1
	}
	return results
}

// newToil returns the reconciler of a purge of 30 users in 20 modules, and of one module by name.
func newToil(t *testing.T) (*Reconciler, *toilsomeStore, *v1.CacheInvalidation) {
	t.Helper()
	targets := []v1.InvalidationTarget{{Module: "m3"}}
	for i := range 30 {
		targets = append(targets, v1.InvalidationTarget{UserID: fmt.Sprint("user-", i)})
	}
	invalidation := controllertest.Invalidation(targets...)
	invalidation.Namespace, invalidation.Name, invalidation.UID, invalidation.CreationTimestamp = "shop", "purge", "u", metav1.Now()
	cluster := controllertest.FakeCluster(t, invalidation)
	store := &toilsomeStore{made: map[string]int{}}
	store.clock = clocktesting.NewFakePassiveClock(time.Now())
	invalidations := &Reconciler{
		Client: cluster, Reader: cluster, Stores: &storetest.Provider{Store: store}, Events: &events.FakeRecorder{}, Metrics: metrics.New(stats.NewSnapshot()),
		Clock: store.clock, Journal: recovery.NewJournal(), ReclaimSlice: time.Second, underWay: newUnderWay(),
	}
	for i := range 20 {
		store.modules = append(store.modules, fmt.Sprint("m", i))
	}
	return invalidations, store, invalidation
}

// turn lets a purge have a turn.
func turn(t *testing.T, r *Reconciler, invalidation *v1.CacheInvalidation) reconcile.Result {
	t.Helper()
	result, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(invalidation)})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Client.Get(t.Context(), client.ObjectKeyFromObject(invalidation), invalidation); err != nil {
		t.Fatal(err)
	}
	return result
}

// A large purge lets others have their turn, goes on before others of its namespace begin, and
// makes no call twice.
func TestALargePurgeGoesOnWhereItStood(t *testing.T) {
	r, store, invalidation := newToil(t)
	const made, turns = 30*20 + 1, 7
	for i := range turns - 1 {
		if result := turn(t, r, invalidation); result.Priority == nil || *result.Priority != queue.ResumePriority || result.RequeueAfter != status.Immediately {
			t.Fatalf("turn %d: it comes again as %+v", i, result)
		}
		if invalidation.Status.State != "" || store.trips != i+1 {
			t.Fatalf("turn %d: %s after %d round trips", i, invalidation.Status.State, store.trips)
		}
	}
	turn(t, r, invalidation)
	if invalidation.Status.State != v1.StateComplete || *invalidation.Status.KeysInvalidated != made || invalidation.Status.Targets[1].Modules != 20 {
		t.Errorf("in the end it says %+v", invalidation.Status)
	}
	if most := slices.Max(slices.Collect(maps.Values(store.made))); len(store.made) != made || most != 1 {
		t.Errorf("%d calls were made, one %d times", len(store.made), most)
	}
	if len(r.underWay.progress) != 0 {
		t.Error("its progress is never forgotten")
	}
}

// What a module held that came in between is not certain to have been reached.
func TestALargePurgeBeginsAgainWhenThereAreOtherModules(t *testing.T) {
	r, store, invalidation := newToil(t)
	turn(t, r, invalidation)
	store.modules = append([]string{"a"}, store.modules...)
	for range 7 {
		turn(t, r, invalidation)
	}
	if invalidation.Status.State != v1.StateComplete || invalidation.Status.Targets[1].Modules != 21 {
		t.Errorf("in the end it says %+v", invalidation.Status)
	}
}

// What took effect in earlier turns is reported, though the deadline passes before the last one.
func TestWhatTookEffectBeforeTheDeadlineIsReported(t *testing.T) {
	r, store, invalidation := newToil(t)
	invalidation.Spec.ActiveDeadlineSeconds = new(int64(60))
	if err := r.Client.Update(t.Context(), invalidation); err != nil {
		t.Fatal(err)
	}
	turn(t, r, invalidation)
	store.clock.SetTime(store.clock.Now().Add(time.Hour))
	turn(t, r, invalidation)
	if invalidation.Status.State != v1.StateFailed || invalidation.Status.KeysInvalidated == nil || *invalidation.Status.KeysInvalidated != callBatch {
		t.Errorf("in the end it says %+v", invalidation.Status)
	}
	if store.trips != 1 || len(r.underWay.progress) != 0 {
		t.Errorf("%d round trips were made, %d purges are remembered", store.trips, len(r.underWay.progress))
	}
}

// tediousStore takes a whole slice of time for each call, and has something left in each module the
// first time.
type tediousStore struct {
	calls.SessionStore

	clock *clocktesting.FakePassiveClock
	slice time.Duration
	tried map[registry.Slot]int
}

func (s *tediousStore) Reclaim(_ context.Context, slot registry.Slot, _ int) (registry.Reclaimed, error) {
	s.clock.SetTime(s.clock.Now().Add(s.slice))
	s.tried[slot]++
	if s.tried[slot] == 1 {
		return registry.Reclaimed{Freed: 1, Pending: 1}, nil
	}
	return registry.Reclaimed{Freed: 1}, nil
}

// A store that is slow holds a worker for no longer than its slice of time, and each module has its
// turn.
func TestReclaimGoesOnWhereASlowStoreLeftIt(t *testing.T) {
	clk := clocktesting.NewFakePassiveClock(time.Now())
	store := &tediousStore{clock: clk, slice: time.Second, tried: map[registry.Slot]int{}}
	left := []registry.Slot{{Namespace: "shop", Module: "a"}, {Namespace: "shop", Module: "b"}, {Namespace: "shop", Module: "c"}}
	for turns := range 6 {
		began := clk.Now()
		unfinished, pending, err := calls.Reclaim(t.Context(), store, left, clk, store.slice)
		if err != nil {
			t.Fatal(err)
		}
		if clk.Since(began) > store.slice {
			t.Fatalf("turn %d took %s", turns, clk.Since(began))
		}
		if pending > 0 || pending == 0 && len(unfinished) > 0 {
			t.Fatalf("turn %d says that %d keys wait, and %v are left", turns, pending, unfinished)
		}
		left = unfinished
	}
	if len(left) > 0 || len(store.tried) != 3 {
		t.Errorf("%v are left, %v were tried at", left, store.tried)
	}
}

func TestProgressOfPurgesIsBounded(t *testing.T) {
	u := newUnderWay()
	for i := range 2 * maxUnderWay {
		invalidation := controllertest.Invalidation()
		invalidation.Name = fmt.Sprint(i)
		u.remember(invalidation, &callProgress{})
	}
	if len(u.progress) > maxUnderWay {
		t.Errorf("%d are remembered", len(u.progress))
	}
}
