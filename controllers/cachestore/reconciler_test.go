// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cachestore

import (
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
	"github.com/cachewright/cachewright/controllers/internal/resource"
	"github.com/cachewright/cachewright/controllers/stores"
	"github.com/cachewright/cachewright/controllers/stores/storetest"
	"github.com/cachewright/cachewright/registry"
)

// Whatever a server does, its CacheStore goes in bounded time, though purges wait for it.
func TestADeletedStoreGoesWhateverItsServerDoes(t *testing.T) {
	for name, test := range map[string]struct {
		found *stores.ProbeResult
		after time.Duration
	}{
		"no probe could reach it": {nil, time.Minute},
		"it is down":              {&stores.ProbeResult{Err: controllertest.ErrDown}, time.Minute},
		"it misbehaves":           {&stores.ProbeResult{Err: registry.ErrMisbehaves}, time.Minute},
		"it answers":              {&stores.ProbeResult{Health: controllertest.Healthy("a")}, resource.AbandonAfter * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			store, invalidation := controllertest.MadeStore("a", "127.0.0.1:1"), controllertest.Invalidation(v1.InvalidationTarget{All: true})
			store.Finalizers = []string{v1.CacheStoreFinalizer}
			invalidation.Namespace, invalidation.Name, invalidation.Spec.StoreRef = "shop", "purge", &v1.StoreReference{Name: "main"}
			cluster := controllertest.FakeCluster(t, store, invalidation)
			if err := cluster.Delete(t.Context(), store); err != nil {
				t.Fatal(err)
			}
			deleted := &v1.CacheStore{}
			if err := cluster.Get(t.Context(), client.ObjectKeyFromObject(store), deleted); err != nil {
				t.Fatal(err)
			}
			clock := clocktesting.NewFakeClock(deleted.DeletionTimestamp.Time)
			monitors := &storetest.Monitors{Last: test.found}
			if test.found != nil {
				test.found.Version = stores.VersionOf(deleted)
			}
			r := &Reconciler{
				Client: cluster, Reader: cluster, Stores: monitors, Events: &events.FakeRecorder{}, Clock: clock,
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

func TestADeletedStoreIsDeadAfterItsTimeoutOnlyWhileItCannotBeUsed(t *testing.T) {
	const timeout = time.Minute
	deleted := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	store := controllertest.StoreTo("main", "r:6379")
	store.DeletionTimestamp = &metav1.Time{Time: deleted}
	usable, broken := &stores.ProbeResult{Version: stores.VersionOf(store)}, &stores.ProbeResult{Version: stores.VersionOf(store), Err: registry.ErrUnreachable}
	for _, test := range []struct {
		name  string
		last  *stores.ProbeResult
		after time.Duration
		dead  bool
	}{
		{"usable", usable, 2 * timeout, false},
		{"usable, for long", usable, resource.AbandonAfter * timeout, true},
		{"out of reach", broken, 2 * timeout, true},
		{"out of reach, lately", broken, timeout / 2, false},
		{"never probed", nil, 2 * timeout, true},
	} {
		r := &Reconciler{Clock: clocktesting.NewFakeClock(deleted.Add(test.after)), WithdrawTimeout: timeout}
		if dead := r.isDead(store, test.last); dead != test.dead {
			t.Errorf("%s: dead is %v", test.name, dead)
		}
	}
}

// Its monitor ends with a store, and what is declared again under the name gets another one.
func TestAStoreThatIsGoneIsDropped(t *testing.T) {
	cluster, monitors := controllertest.FakeCluster(t), &storetest.Monitors{}
	r := &Reconciler{Client: cluster, Reader: cluster, Stores: monitors}
	gone := reconcile.Request{NamespacedName: client.ObjectKey{Namespace: "shop", Name: "main"}}
	if _, err := r.Reconcile(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	if len(monitors.Dropped) != 1 || monitors.Dropped[0] != gone.NamespacedName {
		t.Errorf("dropped %v, want %s", monitors.Dropped, gone)
	}
}
