// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/registry"
)

// panickyStore panics over what a store answers to one call.
type panickyStore struct {
	*scriptedStore

	mu    sync.Mutex
	call  string
	calls int
}

func (s *panickyStore) panicOver(call string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.call = call
}

func (s *panickyStore) answer(call string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if call == s.call {
		s.calls++
		panic("token=secret")
	}
}

func (s *panickyStore) panicked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

func (s *panickyStore) Check(ctx context.Context) (registry.Health, error) {
	s.answer("Check")
	return s.scriptedStore.Check(ctx)
}

func (s *panickyStore) Install(ctx context.Context) (int, error) {
	s.answer("Install")
	return s.scriptedStore.Install(ctx)
}

func (s *panickyStore) Writable(ctx context.Context) error {
	s.answer("Writable")
	return s.scriptedStore.Writable(ctx)
}

func (s *panickyStore) Serving(ctx context.Context, health registry.Health, slots []registry.Slot) ([]registry.Incarnation, error) {
	s.answer("Serving")
	return s.scriptedStore.Serving(ctx, health, slots)
}

func (s *panickyStore) PolicyHashes(ctx context.Context, slots []registry.Slot) ([]string, error) {
	s.answer("PolicyHashes")
	return s.scriptedStore.PolicyHashes(ctx, slots)
}

func (s *panickyStore) StatsOf(ctx context.Context, slots []registry.Slot) ([]registry.Stats, error) {
	s.answer("StatsOf")
	return s.scriptedStore.StatsOf(ctx, slots)
}

func (s *panickyStore) AddAllModules(ctx context.Context, modules map[string][]string) error {
	s.answer("AddAllModules")
	return s.scriptedStore.AddAllModules(ctx, modules)
}

func (s *panickyStore) InvalidateMany(context.Context, []registry.Invalidation) []registry.InvalidationResult {
	s.answer("InvalidateMany")
	return nil
}

// Wherever a monitor panics, its store is marked and looked at again at longer and longer intervals, and it is well as soon as
// a whole look was.
func TestAPanicInAMonitorMarksItsStore(t *testing.T) {
	for _, call := range []string{"Check", "Install", "Writable", "Serving", "PolicyHashes", "StatsOf", "AddAllModules"} {
		t.Run(call, func(t *testing.T) {
			store := &panickyStore{scriptedStore: &scriptedStore{health: registry.Health{Version: "7.0.15", RunIDs: []string{"a"}}}, call: call}
			monitor, woken := monitorOf(t, store.scriptedStore, true)
			monitor.connector = givenStore{store: store, place: place{address: "r:6379"}}
			clock := monitor.Clock.(*clocktesting.FakeClock)
			ctx, cancel := context.WithCancel(t.Context())
			var done sync.WaitGroup
			done.Go(func() { monitor.run(ctx) })
			defer done.Wait()
			defer cancel()
			eventually(t, "it did not settle down to wait", func() bool { return store.panicked() > 0 && clock.HasWaiters() })

			err := monitor.Open().Err()
			f := faultOf(err, monitor.place)
			if !errors.Is(err, registry.ErrMisbehaves) || f.class != classStalled || f.reason != v1.ReasonStoreMisbehaves {
				t.Fatalf("the store is: %v", err)
			}
			if strings.Contains(f.message, "secret") || !strings.Contains(f.message, "REDIS_HOST") {
				t.Errorf("says %q", f.message)
			}
			toldOf := woken()
			for range 61 {
				eventually(t, "nobody waits", clock.HasWaiters)
				clock.Step(time.Second)
				if err := monitor.Open().Err(); !errors.Is(err, registry.ErrMisbehaves) {
					t.Fatalf("in between it is: %v", err)
				}
			}
			if looks := store.panicked() - 1; looks < 3 || looks > 6 {
				t.Errorf("looked %d times in a minute; want 3 to 6", looks)
			}
			// A look that gets as far may compare policies and wake those that differ, once each.
			if more := woken() - toldOf; more > 6 {
				t.Errorf("woke %d resources for nothing", more)
			}

			store.panicOver("")
			eventually(t, "it is not well", func() bool {
				clock.Step(10 * time.Second)
				return monitor.Open().Err() == nil
			})
		})
	}
}

// reconciling are the reconcilers of a policy and a purge in a cluster, with one store.
func reconcilersOf(cluster client.Client, stores StoreProvider) (*CachePolicyReconciler, *CacheInvalidationReconciler) {
	clock := clocktesting.NewFakePassiveClock(time.Now())
	policies := &CachePolicyReconciler{
		Client: cluster, Reader: cluster, Stores: stores, Events: &events.FakeRecorder{}, Metrics: NewMetrics(), Clock: clock,
		StatsInterval: time.Minute, WithdrawTimeout: time.Minute,
	}
	purges := &CacheInvalidationReconciler{
		Client: cluster, Reader: cluster, Stores: stores, Events: &events.FakeRecorder{}, Metrics: NewMetrics(), Clock: clock,
		Journal: newJournal(), ReclaimSlice: time.Second,
	}
	return policies, purges
}

// wellStore is the provider of a store that was looked at and found well.
func wellStore(t *testing.T, store Store) (*Stores, *Monitor) {
	t.Helper()
	stores := newStores(surroundings{
		Reader: fakeCache(t), Metrics: NewMetrics(), Clock: clocktesting.NewFakeClock(time.Now()), Log: logr.Discard(),
		RenewInterval: time.Minute, Elected: make(chan struct{}),
	}, fakeCache(t))
	monitor := stores.give(defaultStore, store, "r:6379", "")
	if err := monitor.look(t.Context()); err != nil {
		t.Fatal(err)
	}
	return stores, monitor
}

func TestAReconcileThatPanicsOverAnAnswerSaysThatTheStoreMisbehaves(t *testing.T) {
	policy, purge := usersPolicy(), purgeOf(v1.InvalidationTarget{Module: "users"})
	policy.Namespace, policy.Finalizers = "shop", []string{v1.CachePolicyFinalizer}
	purge.Namespace, purge.Name = "shop", "purge"
	cluster := fakeCluster(t, policy, purge)
	store := &panickyStore{scriptedStore: &scriptedStore{health: fine("a")}}
	stores, monitor := wellStore(t, store)
	policies, purges := reconcilersOf(cluster, stores)
	for _, test := range []struct {
		call       string
		reconciler reconcile.Reconciler
		obj        client.Object
	}{{"PolicyHashes", policies, policy}, {"InvalidateMany", purges, purge}} {
		if err := monitor.look(t.Context()); err != nil {
			t.Fatal(err)
		}
		former := monitor.link
		store.panicOver(test.call)
		result, err := test.reconciler.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(test.obj)})
		store.panicOver("")
		if err != nil || result.RequeueAfter < minWait/2 {
			t.Errorf("%s: tried again after %s (%v)", test.call, result.RequeueAfter, err)
		}
		if err := cluster.Get(t.Context(), client.ObjectKeyFromObject(test.obj), test.obj); err != nil {
			t.Fatal(err)
		}
		if got := ready(conditionedOf(test.obj).conditions); got != "False StoreMisbehaves" {
			t.Errorf("%s: Ready is %s", test.call, got)
		}
		if session := monitor.Open(); session.link == former || session.Err() == nil {
			t.Errorf("%s: the connection, on which half a reply may be, is in use", test.call)
		}
		if former.users != 0 {
			t.Errorf("%s: the connection has %d users", test.call, former.users)
		}
	}
}

// An error of ours is no news about a resource.
func TestAReconcileThatPanicsOtherwiseSaysNothing(t *testing.T) {
	policy, purge := usersPolicy(), purgeOf(v1.InvalidationTarget{UserID: "u"})
	policy.Namespace, policy.Finalizers = "shop", []string{v1.CachePolicyFinalizer}
	purge.Namespace, purge.Name = "shop", "purge"
	cluster := interceptor.NewClient(fakeCacheBuilder(t, policy, purge).WithStatusSubresource(policy, purge).Build(), interceptor.Funcs{
		List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error { panic("ours") },
	})
	stores, monitor := wellStore(t, &scriptedStore{health: fine("a")})
	policies, purges := reconcilersOf(cluster, stores)
	for obj, reconciler := range map[client.Object]reconcile.Reconciler{policy: policies, purge: purges} {
		_, err := reconciler.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(obj)})
		if !errors.Is(err, errPanicked) {
			t.Errorf("%s: %v", obj.GetName(), err)
		}
		if err := cluster.Get(t.Context(), client.ObjectKeyFromObject(obj), obj); err != nil {
			t.Fatal(err)
		}
		if got := ready(conditionedOf(obj).conditions); got != "absent" {
			t.Errorf("%s: Ready is %s", obj.GetName(), got)
		}
	}
	if monitor.link.users != 0 || monitor.Open().Err() != nil {
		t.Error("the store is left in use or in doubt")
	}
}

// panickyRecorder panics over one event.
type panickyRecorder chan string

func (r panickyRecorder) Eventf(_, _ runtime.Object, _, reason, _, _ string, _ ...any) {
	if reason == "Bad" {
		panic("an event")
	}
	r <- reason
}

func TestAnEventThatPanicsHoldsUpNoOther(t *testing.T) {
	recorder := make(panickyRecorder)
	paced := newPacedRecorder(recorder, runtimeScheme(t), logr.Discard())
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() { _ = paced.Start(ctx) })
	defer done.Wait()
	defer cancel()
	for _, reason := range []string{"Bad", "Good"} {
		paced.Eventf(usersPolicy(), nil, "Normal", reason, "Test", "it happened")
	}
	select {
	case <-recorder:
	case <-time.After(patience):
		t.Error("the next event was not told")
	}
}

// Names of operations come from stores. Prometheus panics over a label that is no UTF-8, in a goroutine of its own.
func TestANameThatIsNoLabelHoldsUpNoOtherFigure(t *testing.T) {
	metrics := NewMetrics()
	policy := usersPolicy()
	metrics.observe(policy, registry.Stats{Operations: map[string]registry.OperationStats{"\xff": {Keys: 1}, "list": {Keys: 1}}})
	purge := purgeOf(v1.InvalidationTarget{Module: "users"})
	purge.Status.KeysInvalidated = new(int64(-5))
	metrics.finished(purge)
	gathered := prometheus.NewRegistry()
	gathered.MustRegister(metrics)
	families, err := gathered.Gather()
	if err != nil {
		t.Fatal(err)
	}
	keys := 0
	for _, family := range families {
		if family.GetName() == "cachewright_operation_keys" {
			keys += len(family.GetMetric())
		}
	}
	if keys != 1 {
		t.Errorf("%d operations have figures, want 1", keys)
	}
}

// startLiar starts a server that greets as Redis does, and answers INFO by the beginning of an endless text.
func startLiar() (address string) {
	GinkgoHelper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(listener.Close)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go lie(conn)
		}
	}()
	return listener.Addr().String()
}

func lie(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	answers := map[string]string{
		"hello": "-ERR unknown command 'HELLO'\r\n", "client": "+OK\r\n", "info": "$9223372036854775805\r\n",
	}
	for words := bufio.NewScanner(conn); words.Scan(); {
		if _, err := fmt.Fprint(conn, answers[strings.ToLower(words.Text())]); err != nil {
			return
		}
	}
}

var _ = Describe("A store that misbehaves", func() {
	It("says so on all that refer to it, and holds up no other", func(ctx SpecContext) {
		on := newStage(ctx)
		on.operate(adminConfig, on.quick(on.cache))
		on.create(ctx, storeTo("main", startLiar()))
		Eventually(on.store(ctx, "main")).Should(beReady("False StoreMisbehaves"))
		store := &v1.CacheStore{ObjectMeta: metav1.ObjectMeta{Namespace: on.namespace, Name: "main"}}
		store = current(ctx, store)
		Expect(how(store.Status.Conditions, v1.ConditionStalled)).To(Equal("True StoreMisbehaves"))
		Expect(readyOf(store.Status.Conditions).Message).To(ContainSubstring("spec.addresses"))

		on.create(ctx, usersPolicyIn("main"))
		Eventually(on.policy(ctx, "users")).Should(beReady("False StoreMisbehaves"))
		purge := purgeOf(v1.InvalidationTarget{Module: "users"})
		purge.Spec.StoreRef = &v1.StoreReference{Name: "main"}
		on.create(ctx, purge)
		Eventually(on.purge(ctx, purge)).Should(beReady("False StoreMisbehaves"))

		other := purgeOf(v1.InvalidationTarget{Module: "users"})
		on.create(ctx, other)
		Eventually(on.purge(ctx, other)).Should(beIn(v1.StateComplete))

		on.patch(ctx, store, fmt.Sprintf(`{"spec":{"addresses":[%q]}}`, on.server.Addr()))
		Eventually(on.policy(ctx, "users")).Should(beReady("True Applied"))
		Eventually(on.purge(ctx, purge)).Should(beIn(v1.StateComplete))
	})
})
