// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cacheinvalidation

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/controllertest"
	"github.com/cachewright/cachewright/controllers/internal/metrics"
	"github.com/cachewright/cachewright/controllers/internal/resource"
	"github.com/cachewright/cachewright/controllers/internal/stats"
	"github.com/cachewright/cachewright/controllers/recovery"
	"github.com/cachewright/cachewright/controllers/stores/calls"
	"github.com/cachewright/cachewright/controllers/stores/storetest"
	"github.com/cachewright/cachewright/registry"
)

// markedStore has marks that end by the clock of the test.
type markedStore struct {
	calls.SessionStore

	clock       *clocktesting.FakePassiveClock
	modules     []string
	marks       map[string]time.Time // the deadline of each mark
	invalidated int
	err         error
	panics      bool // over what it answers to Release
}

func (s *markedStore) Modules(context.Context, string) ([]string, error) { return s.modules, s.err }

func (s *markedStore) InvalidateMany(
	_ context.Context, made []registry.Invalidation,
) []registry.InvalidationResult {
	s.invalidated += len(made)
	results := make([]registry.InvalidationResult, len(made))
	for i := range results {
		results[i].Keys, results[i].Err = 2, s.err
	}
	return results
}

func (s *markedStore) Reclaim(context.Context, registry.Slot, int) (registry.Reclaimed, error) {
	return registry.Reclaimed{}, s.err
}

func (s *markedStore) Hold(
	_ context.Context, slot registry.Slot, _ registry.HoldID, ttl time.Duration,
	targets ...registry.HoldTarget,
) (registry.Held, error) {
	held := registry.Held{}
	if s.err != nil {
		return held, s.err
	}
	for _, target := range targets {
		key := markOf(slot.Module, target)
		if s.marks[key].After(s.clock.Now()) {
			held.Stood++
		}
		s.marks[key] = s.clock.Now().Add(ttl)
	}
	return held, nil
}

func (s *markedStore) Release(
	_ context.Context, slot registry.Slot, _ registry.HoldID, targets ...registry.HoldTarget,
) (int64, error) {
	if s.panics {
		panic("an answer")
	}
	if s.err != nil {
		return 0, s.err
	}
	for _, target := range targets {
		delete(s.marks, markOf(slot.Module, target))
	}
	return int64(len(targets)), nil
}

// markOf names a mark of the store.
func markOf(module string, target registry.HoldTarget) string {
	return fmt.Sprint(module, " ", target)
}

// standing returns the marks that stand.
func (s *markedStore) standing() []string {
	return slices.Sorted(maps.Keys(maps.Collect(func(yield func(string, bool) bool) {
		for key, deadline := range s.marks {
			if deadline.After(s.clock.Now()) && !yield(key, true) {
				return
			}
		}
	})))
}

// newHolding returns the reconciler of an invalidation that holds a module and a user for an hour.
func newHolding(t *testing.T) (*Reconciler, *markedStore, *v1.CacheInvalidation) {
	t.Helper()
	invalidation := controllertest.Invalidation(v1.InvalidationTarget{Module: "prices"},
		v1.InvalidationTarget{UserID: "user-7"})
	invalidation.Namespace, invalidation.Name = "shop", "import"
	invalidation.UID, invalidation.CreationTimestamp = "u", metav1.Now()
	invalidation.Spec.HoldFor = &metav1.Duration{Duration: time.Hour}
	cluster := controllertest.FakeCluster(t, invalidation)
	clk := clocktesting.NewFakePassiveClock(time.Now())
	store := &markedStore{
		clock: clk, modules: []string{"prices", "users"}, marks: map[string]time.Time{},
	}
	return newHolder(cluster, store), store, invalidation
}

// newHolder returns a reconciler as a new leader has it.
func newHolder(cluster client.Client, store *markedStore) *Reconciler {
	return &Reconciler{
		Client: cluster, Reader: cluster, Stores: &storetest.Provider{Store: store},
		Events: &events.FakeRecorder{}, Metrics: metrics.New(stats.NewSnapshot()), Clock: store.clock,
		Journal: recovery.NewJournal(), ReclaimSlice: time.Second,
		underWay: newUnderWay(), renewals: newRenewals(),
	}
}

var (
	ofModule = registry.HoldScope(registry.Scope{})
	ofUser   = registry.HoldScope(registry.Scope{User: "user-7"})
	allMarks = slices.Sorted(slices.Values([]string{
		markOf("prices", ofModule), markOf("prices", ofUser), markOf("users", ofUser),
	}))
)

func TestAHoldStandsUntilItsEnd(t *testing.T) {
	r, store, invalidation := newHolding(t)
	began := store.clock.Now()
	turn(t, r, invalidation)
	if invalidation.Status.State != v1.StateHolding || invalidation.Status.HoldEndTime.Sub(began) < time.Hour {
		t.Fatalf("it says %+v", invalidation.Status)
	}
	if ready := controllertest.Ready(invalidation.Status.Conditions); ready != "True Holding" {
		t.Errorf("Ready is %s", ready)
	}
	for end := invalidation.Status.HoldEndTime.Time; store.clock.Now().Before(end); {
		result := turn(t, r, invalidation)
		if got := store.standing(); !slices.Equal(got, allMarks) {
			t.Fatalf("after %s the marks %v stand", store.clock.Since(began), got)
		}
		if result.RequeueAfter <= 0 || result.RequeueAfter > endsInterval {
			t.Fatalf("after %s it comes again after %s", store.clock.Since(began), result.RequeueAfter)
		}
		store.clock.SetTime(store.clock.Now().Add(result.RequeueAfter))
	}
	turn(t, r, invalidation)
	if invalidation.Status.State != v1.StateComplete || invalidation.Status.Ends != "" {
		t.Errorf("in the end it says %+v", invalidation.Status)
	}
	if got := store.standing(); len(got) > 0 || len(invalidation.Finalizers) > 0 {
		t.Errorf("in the end the marks %v and finalizers %v are left", got, invalidation.Finalizers)
	}
	if store.invalidated != 3 || invalidation.Status.HoldsLost != 0 {
		t.Errorf("%d calls invalidated, %d marks were lost", store.invalidated,
			invalidation.Status.HoldsLost)
	}
}

func TestANewLeaderGoesOnWithAHold(t *testing.T) {
	r, store, invalidation := newHolding(t)
	turn(t, r, invalidation)
	clear(store.marks)
	turn(t, newHolder(r.Client, store), invalidation)
	if got := store.standing(); !slices.Equal(got, allMarks) {
		t.Errorf("the marks %v stand", got)
	}
	if store.invalidated != 3 {
		t.Errorf("%d calls invalidated", store.invalidated)
	}
}

func TestAHoldReachesModulesThatAppearLater(t *testing.T) {
	r, store, invalidation := newHolding(t)
	turn(t, r, invalidation)
	store.modules = append(store.modules, "zones")
	store.clock.SetTime(store.clock.Now().Add(renewAfter))
	turn(t, r, invalidation)
	if got := store.standing(); !slices.Contains(got, markOf("zones", ofUser)) {
		t.Errorf("the marks %v stand", got)
	}
	if invalidation.Status.HoldsLost != 0 {
		t.Errorf("%d marks were lost", invalidation.Status.HoldsLost)
	}
}

func TestMarksThatRedisLostAreCounted(t *testing.T) {
	r, store, invalidation := newHolding(t)
	turn(t, r, invalidation)
	delete(store.marks, markOf("prices", ofModule))
	store.clock.SetTime(store.clock.Now().Add(confirmAfter))
	turn(t, r, invalidation)
	ready := meta(invalidation)
	if invalidation.Status.HoldsLost != 1 || !strings.Contains(ready.Message, "put back: 1") {
		t.Errorf("it says %+v", invalidation.Status)
	}
	if got := store.standing(); !slices.Equal(got, allMarks) {
		t.Errorf("the marks %v stand", got)
	}
}

func meta(invalidation *v1.CacheInvalidation) metav1.Condition {
	for _, condition := range invalidation.Status.Conditions {
		if condition.Type == v1.ConditionReady {
			return condition
		}
	}
	return metav1.Condition{}
}

func TestDeletingAnInvalidationEndsItsHold(t *testing.T) {
	r, store, invalidation := newHolding(t)
	turn(t, r, invalidation)
	deleteAndReconcile(t, r, invalidation)
	if got := store.standing(); len(got) > 0 {
		t.Errorf("the marks %v are left", got)
	}
	mustBeGone(t, r, invalidation)
}

// deleteAndReconcile lets the reconciler see that an invalidation is being deleted.
func deleteAndReconcile(
	t *testing.T, r *Reconciler, invalidation *v1.CacheInvalidation,
) reconcile.Result {
	t.Helper()
	if err := r.Client.Delete(t.Context(), invalidation); err != nil {
		t.Fatal(err)
	}
	result, err := r.Reconcile(t.Context(),
		reconcile.Request{NamespacedName: client.ObjectKeyFromObject(invalidation)})
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func mustBeGone(t *testing.T, r *Reconciler, invalidation *v1.CacheInvalidation) {
	t.Helper()
	err := r.Client.Get(t.Context(), client.ObjectKeyFromObject(invalidation), invalidation)
	if !apierrors.IsNotFound(err) {
		t.Errorf("it is still there (%v)", err)
	}
}

func TestAStoreThatIsDownDelaysTheDeletionOfAHoldForAMinute(t *testing.T) {
	r, store, invalidation := newHolding(t)
	turn(t, r, invalidation)
	store.err = controllertest.ErrDown
	result := deleteAndReconcile(t, r, invalidation)
	if result.RequeueAfter <= 0 {
		t.Fatal("it does not come again")
	}
	store.clock.SetTime(store.clock.Now().Add(releaseTimeout + time.Second))
	if _, err := r.Reconcile(t.Context(),
		reconcile.Request{NamespacedName: client.ObjectKeyFromObject(invalidation)}); err != nil {
		t.Fatal(err)
	}
	mustBeGone(t, r, invalidation)
}

func TestAPanicDelaysTheDeletionOfAHoldForAMinute(t *testing.T) {
	r, store, invalidation := newHolding(t)
	turn(t, r, invalidation)
	store.panics = true
	if result := deleteAndReconcile(t, r, invalidation); result.RequeueAfter <= 0 {
		t.Fatal("it does not come again")
	}
	store.clock.SetTime(store.clock.Now().Add(releaseTimeout + time.Second))
	if _, err := r.Reconcile(t.Context(),
		reconcile.Request{NamespacedName: client.ObjectKeyFromObject(invalidation)}); err != nil {
		t.Fatal(err)
	}
	mustBeGone(t, r, invalidation)
}

func TestAHoldThatCannotBeRenewedSaysSo(t *testing.T) {
	r, store, invalidation := newHolding(t)
	turn(t, r, invalidation)
	store.err = controllertest.ErrDown
	store.clock.SetTime(store.clock.Now().Add(renewAfter))
	turn(t, r, invalidation)
	if ready := meta(invalidation); ready.Status != metav1.ConditionFalse ||
		!strings.Contains(ready.Message, "could not be renewed") ||
		invalidation.Status.State != v1.StateHolding {
		t.Errorf("it says %+v", invalidation.Status)
	}
	store.err = nil
	store.clock.SetTime(store.clock.Now().Add(time.Minute))
	turn(t, r, invalidation)
	if ready := controllertest.Ready(invalidation.Status.Conditions); ready != "True Holding" {
		t.Errorf("then Ready is %s", ready)
	}
}

// Somebody puts an older library in place between two renewals, and Redis loses its data under it.
func TestAHoldUnderAnOlderLibrarySaysSoAtOnce(t *testing.T) {
	r, store, invalidation := newHolding(t)
	turn(t, r, invalidation)
	store.clock.SetTime(store.clock.Now().Add(confirmAfter))
	turn(t, r, invalidation)

	provider := r.Stores.(*storetest.Provider)
	provider.Library = registry.HoldsLibrary - 1
	clear(store.marks)
	turn(t, r, invalidation)
	if ready := controllertest.Ready(invalidation.Status.Conditions); ready != "False LibraryTooOld" {
		t.Errorf("under an older library Ready is %s", ready)
	}

	provider.Library = 0
	turn(t, r, invalidation)
	if got := store.standing(); !slices.Equal(got, allMarks) {
		t.Errorf("under the present library again, the marks %v stand", got)
	}
	if ready := controllertest.Ready(invalidation.Status.Conditions); ready != "True Holding" ||
		invalidation.Status.HoldsLost != 3 {
		t.Errorf("then Ready is %s, and %d marks were lost", ready, invalidation.Status.HoldsLost)
	}
}

func TestADryRunHoldsNothing(t *testing.T) {
	r, store, invalidation := newHolding(t)
	invalidation.Spec.DryRun = true
	if err := r.Client.Update(t.Context(), invalidation); err != nil {
		t.Fatal(err)
	}
	turn(t, r, invalidation)
	if invalidation.Status.State != v1.StateCounted || len(store.marks) > 0 ||
		len(invalidation.Finalizers) > 0 {
		t.Errorf("it says %+v, and %v stand", invalidation.Status, store.standing())
	}
}

// The id is made of the UID, which is 16 bytes.
func TestTheIdOfAHoldIsTheUID(t *testing.T) {
	invalidation := &v1.CacheInvalidation{}
	invalidation.UID = "00112233-4455-6677-8899-aabbccddeeff"
	want := registry.HoldID{
		0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff,
	}
	if got := resource.HoldID(invalidation); got != want {
		t.Errorf("the id is %x", got)
	}
}
