// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/registry"
)

// Whatever keeps a policy from being withdrawn, its deletion is tried again, and ends when its time has come.
func TestADeletionNeverHangs(t *testing.T) {
	for name, trouble := range map[string]error{
		"down": errDown, "refused": errRefused, "too old": errOld, "forbidden": errForbidden, "damaged": errDamaged, "full": errFull,
	} {
		t.Run(name, func(t *testing.T) {
			policy := usersPolicy()
			policy.Namespace, policy.Finalizers = "shop", []string{v1.CachePolicyFinalizer}
			cluster := fakeCluster(t, policy)
			if err := cluster.Delete(t.Context(), policy); err != nil {
				t.Fatal(err)
			}
			store, clock := newBrittleStore(nil), clocktesting.NewFakePassiveClock(time.Now())
			store.failBefore("DeletePolicy", trouble)
			r := &CachePolicyReconciler{
				Client: cluster, Reader: cluster, Stores: &oneStore{store: store}, Events: &events.FakeRecorder{}, Metrics: NewMetrics(),
				Clock: clock, WithdrawTimeout: time.Minute,
			}
			request := reconcile.Request{NamespacedName: client.ObjectKeyFromObject(policy)}
			if result, err := r.Reconcile(t.Context(), request); err != nil || result.RequeueAfter == 0 {
				t.Fatalf("comes again after %s (%v)", result.RequeueAfter, err)
			}
			left := &v1.CachePolicy{}
			if err := cluster.Get(t.Context(), request.NamespacedName, left); err != nil || ready(left.Status.Conditions) == "" {
				t.Fatalf("says %+v (%v)", left.Status.Conditions, err)
			}
			clock.SetTime(clock.Now().Add(2 * time.Minute))
			if _, err := r.Reconcile(t.Context(), request); err != nil {
				t.Fatal(err)
			}
			if err := cluster.Get(t.Context(), request.NamespacedName, left); !apierrors.IsNotFound(err) {
				t.Errorf("it is still there (%v)", err)
			}
		})
	}
}

// endlessStore answers everything, and always has more to reclaim.
type endlessStore struct{ Store }

func (endlessStore) DeletePolicyFor(context.Context, registry.Claim) (bool, error) { return true, nil }

func (endlessStore) Reclaim(context.Context, registry.Slot, int) (registry.Reclaimed, error) {
	return registry.Reclaimed{Pending: 1}, nil
}

func TestADeletionEndsThoughAStoreHasAlwaysMoreToReclaim(t *testing.T) {
	policy := usersPolicy()
	policy.Namespace, policy.Finalizers = "shop", []string{v1.CachePolicyFinalizer}
	cluster := fakeCluster(t, policy)
	if err := cluster.Delete(t.Context(), policy); err != nil {
		t.Fatal(err)
	}
	policies, _ := reconcilersOf(cluster, nil)
	clock := clocktesting.NewFakePassiveClock(time.Now())
	policies.Clock, policies.Stores = clock, &oneStore{store: dawdlingStore{endlessStore{}, clock}}
	request := reconcile.Request{NamespacedName: client.ObjectKeyFromObject(policy)}
	for range 2 {
		if _, err := policies.Reconcile(t.Context(), request); err != nil {
			t.Fatal(err)
		}
	}
	if err := cluster.Get(t.Context(), request.NamespacedName, policy); err != nil {
		t.Fatalf("it is gone before its memory was given back: %v", err)
	}
	clock.SetTime(clock.Now().Add(abandonAfter * policies.WithdrawTimeout))
	if _, err := policies.Reconcile(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	if err := cluster.Get(t.Context(), request.NamespacedName, policy); !apierrors.IsNotFound(err) {
		t.Errorf("it is still there (%v)", err)
	}
}

// Whatever a server does, its CacheStore goes in bounded time, though purges wait for it.
func TestADeletedStoreGoesWhateverItsServerDoes(t *testing.T) {
	for name, test := range map[string]struct {
		found *finding
		after time.Duration
	}{
		"nobody could look at it": {nil, time.Minute},
		"it is down":              {&finding{err: errDown}, time.Minute},
		"it misbehaves":           {&finding{err: registry.ErrMisbehaves}, time.Minute},
		"it answers":              {&finding{health: fine("a")}, abandonAfter * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			store, purge := madeStore("a", "127.0.0.1:1"), purgeOf(v1.InvalidationTarget{All: true})
			store.Finalizers = []string{v1.CacheStoreFinalizer}
			purge.Namespace, purge.Name, purge.Spec.StoreRef = "shop", "purge", &v1.StoreReference{Name: "main"}
			cluster := fakeCluster(t, store, purge)
			if err := cluster.Delete(t.Context(), store); err != nil {
				t.Fatal(err)
			}
			deleted := &v1.CacheStore{}
			if err := cluster.Get(t.Context(), client.ObjectKeyFromObject(store), deleted); err != nil {
				t.Fatal(err)
			}
			clock := clocktesting.NewFakeClock(deleted.DeletionTimestamp.Time)
			stores := newStores(surroundings{Reader: cluster, Metrics: NewMetrics(), Clock: clock, Log: logr.Discard(), Elected: make(chan struct{})}, cluster)
			if test.found != nil {
				test.found.generation = editionOf(deleted)
				stores.declare(deleted).note(*test.found)
			}
			r := &CacheStoreReconciler{
				Client: cluster, Reader: cluster, Stores: stores, Events: &events.FakeRecorder{}, Clock: clock,
				StatsInterval: time.Minute, WithdrawTimeout: time.Minute,
			}
			request := reconcile.Request{NamespacedName: client.ObjectKeyFromObject(store)}
			clock.Step(test.after - time.Second)
			if _, err := r.Reconcile(t.Context(), request); err != nil {
				t.Fatal(err)
			}
			if err := cluster.Get(t.Context(), request.NamespacedName, deleted); err != nil {
				t.Fatalf("it is gone before its time: %v", err)
			}
			clock.Step(time.Second)
			if _, err := r.Reconcile(t.Context(), request); err != nil {
				t.Fatal(err)
			}
			if err := cluster.Get(t.Context(), request.NamespacedName, deleted); !apierrors.IsNotFound(err) {
				t.Errorf("it is still there (%v)", err)
			}
		})
	}
}

// hangingStore answers a look only when it is let go.
type hangingStore struct {
	*scriptedStore
	asked, answer chan struct{}
}

func (s hangingStore) Check(ctx context.Context) (registry.Health, error) {
	s.asked <- struct{}{}
	<-s.answer
	return s.scriptedStore.Check(ctx)
}

// A server that hangs delays no deletion, and what a look finds that was under way leaves no series behind.
func TestADroppedStoreLeavesNoSeries(t *testing.T) {
	store := hangingStore{&scriptedStore{health: fine("a")}, make(chan struct{}), make(chan struct{})}
	monitor, _ := monitorOf(t, store.scriptedStore, true)
	monitor.connector = givenStore{store: store, place: place{address: "r:6379"}}
	stores := newStores(monitor.surroundings, monitor.Reader)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	stores.monitors[monitor.id] = &watched{monitor: monitor, stop: func() {}} // the worst case: it notices nothing yet
	looked := make(chan error)
	go func() { looked <- monitor.look(ctx) }()
	<-store.asked
	stores.drop(ctx, monitor.id)
	close(store.answer)
	if err := <-looked; err != nil {
		t.Fatal(err)
	}
	gathered := prometheus.NewRegistry()
	gathered.MustRegister(monitor.Metrics)
	families, err := gathered.Gather()
	if err != nil || len(families) > 0 {
		t.Errorf("there are series of it: %v (%v)", families, err)
	}
}
