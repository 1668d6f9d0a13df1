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
	"testing"
	"time"

	"github.com/go-logr/logr"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/cacheinvalidation"
	"github.com/cachewright/cachewright/controllers/cachepolicy"
	"github.com/cachewright/cachewright/controllers/internal/controllertest"
	"github.com/cachewright/cachewright/controllers/internal/metrics"
	"github.com/cachewright/cachewright/controllers/internal/resource"
	"github.com/cachewright/cachewright/controllers/internal/stats"
	"github.com/cachewright/cachewright/controllers/internal/status"
	"github.com/cachewright/cachewright/controllers/recovery"
	"github.com/cachewright/cachewright/controllers/stores"
	"github.com/cachewright/cachewright/controllers/stores/calls"
)

// reconciling are the reconcilers of a policy and a purge in a cluster, with one store.
func reconcilersOf(cluster client.Client, provider stores.Provider) (*cachepolicy.Reconciler, *cacheinvalidation.Reconciler) {
	clock := clocktesting.NewFakePassiveClock(time.Now())
	policies := &cachepolicy.Reconciler{
		Client: cluster, Reader: cluster, Stores: provider, Events: &events.FakeRecorder{}, Snapshot: stats.NewSnapshot(), Clock: clock,
		StatsInterval: time.Minute, WithdrawTimeout: time.Minute,
	}
	invalidations := &cacheinvalidation.Reconciler{
		Client: cluster, Reader: cluster, Stores: provider, Events: &events.FakeRecorder{}, Metrics: metrics.New(stats.NewSnapshot()), Clock: clock,
		Journal: recovery.NewJournal(), ReclaimSlice: time.Second,
	}
	return policies, invalidations
}

// wellStore is the provider of a store that was probed and found usable.
func wellStore(t *testing.T, store calls.Store) (*stores.Manager, *stores.Monitor) {
	t.Helper()
	provider := stores.NewManager(stores.Deps{
		Reader: controllertest.FakeCache(t), Metrics: metrics.New(stats.NewSnapshot()), Snapshot: stats.NewSnapshot(), Clock: clocktesting.NewFakeClock(time.Now()), Log: logr.Discard(),
		RenewInterval: time.Minute, Elected: make(chan struct{}),
	})
	monitor := provider.Give(resource.DefaultStore, store, "r:6379", "")
	if err := monitor.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	return provider, monitor
}

func TestAReconcileThatPanicsOverAnAnswerSaysThatTheStoreMisbehaves(t *testing.T) {
	policy, invalidation := controllertest.UsersPolicy(), controllertest.Invalidation(v1.InvalidationTarget{Module: "users"})
	policy.Namespace, policy.Finalizers = "shop", []string{v1.CachePolicyFinalizer}
	invalidation.Namespace, invalidation.Name = "shop", "purge"
	cluster := controllertest.FakeCluster(t, policy, invalidation)
	store := &controllertest.PanickyStore{ScriptedStore: &controllertest.ScriptedStore{Health: controllertest.Healthy("a")}}
	provider, monitor := wellStore(t, store)
	policies, invalidations := reconcilersOf(cluster, provider)
	for _, test := range []struct {
		call       string
		reconciler reconcile.Reconciler
		obj        client.Object
	}{{"PolicyHashes", policies, policy}, {"InvalidateMany", invalidations, invalidation}} {
		if err := monitor.Probe(t.Context()); err != nil {
			t.Fatal(err)
		}
		store.PanicOver(test.call)
		result, err := test.reconciler.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(test.obj)})
		store.PanicOver("")
		if err != nil || result.RequeueAfter < status.MinWait/2 {
			t.Errorf("%s: tried again after %s (%v)", test.call, result.RequeueAfter, err)
		}
		if err := cluster.Get(t.Context(), client.ObjectKeyFromObject(test.obj), test.obj); err != nil {
			t.Fatal(err)
		}
		if got := controllertest.Ready(controllertest.ConditionedOf(test.obj).Conditions); got != "False StoreMisbehaves" {
			t.Errorf("%s: Ready is %s", test.call, got)
		}
		if monitor.Open().Err() == nil {
			t.Errorf("%s: the connection, on which half a reply may be, is in use", test.call)
		}
	}
}

// An error of ours is no news about a resource.
func TestAReconcileThatPanicsOtherwiseSaysNothing(t *testing.T) {
	policy, invalidation := controllertest.UsersPolicy(), controllertest.Invalidation(v1.InvalidationTarget{UserID: "u"})
	policy.Namespace, policy.Finalizers = "shop", []string{v1.CachePolicyFinalizer}
	invalidation.Namespace, invalidation.Name = "shop", "purge"
	cluster := interceptor.NewClient(controllertest.FakeCacheBuilder(t, policy, invalidation).WithStatusSubresource(policy, invalidation).Build(), interceptor.Funcs{
		List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error { panic("ours") },
	})
	provider, monitor := wellStore(t, &controllertest.ScriptedStore{Health: controllertest.Healthy("a")})
	policies, invalidations := reconcilersOf(cluster, provider)
	for obj, reconciler := range map[client.Object]reconcile.Reconciler{policy: policies, invalidation: invalidations} {
		_, err := reconciler.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(obj)})
		if !errors.Is(err, status.ErrPanicked) {
			t.Errorf("%s: %v", obj.GetName(), err)
		}
		if err := cluster.Get(t.Context(), client.ObjectKeyFromObject(obj), obj); err != nil {
			t.Fatal(err)
		}
		if got := controllertest.Ready(controllertest.ConditionedOf(obj).Conditions); got != "absent" {
			t.Errorf("%s: Ready is %s", obj.GetName(), got)
		}
	}
	if err := monitor.Open().Err(); err != nil {
		t.Errorf("the store is left suspect: %v", err)
	}
}

// startLiar starts a server that greets as Redis does, and answers INFO by the beginning of an
// endless text.
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
		on.create(ctx, controllertest.StoreTo("main", startLiar()))
		Eventually(on.store(ctx, "main")).Should(beReady("False StoreMisbehaves"))
		store := &v1.CacheStore{ObjectMeta: metav1.ObjectMeta{Namespace: on.namespace, Name: "main"}}
		store = current(ctx, store)
		Expect(controllertest.Condition(store.Status.Conditions, v1.ConditionStalled)).To(Equal("True StoreMisbehaves"))
		Expect(status.Ready(store.Status.Conditions).Message).To(ContainSubstring("spec.addresses"))

		on.create(ctx, controllertest.UsersPolicyIn("main"))
		Eventually(on.policy(ctx, "users")).Should(beReady("False StoreMisbehaves"))
		invalidation := controllertest.Invalidation(v1.InvalidationTarget{Module: "users"})
		invalidation.Spec.StoreRef = &v1.StoreReference{Name: "main"}
		on.create(ctx, invalidation)
		Eventually(on.invalidation(ctx, invalidation)).Should(beReady("False StoreMisbehaves"))

		other := controllertest.Invalidation(v1.InvalidationTarget{Module: "users"})
		on.create(ctx, other)
		Eventually(on.invalidation(ctx, other)).Should(beIn(v1.StateComplete))

		on.patch(ctx, store, fmt.Sprintf(`{"spec":{"addresses":[%q]}}`, on.server.Addr()))
		Eventually(on.policy(ctx, "users")).Should(beReady("True Applied"))
		Eventually(on.invalidation(ctx, invalidation)).Should(beIn(v1.StateComplete))
	})
})
