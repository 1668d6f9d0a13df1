// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cachepolicy

import (
	"context"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/controllertest"
	"github.com/cachewright/cachewright/controllers/internal/resource"
	"github.com/cachewright/cachewright/controllers/internal/stats"
	"github.com/cachewright/cachewright/controllers/stores/calls"
	"github.com/cachewright/cachewright/controllers/stores/storetest"
	"github.com/cachewright/cachewright/registry"
)

// Whatever keeps a policy from being withdrawn, its deletion is tried again, and ends when its time
// has come.
func TestADeletionNeverHangs(t *testing.T) {
	for name, trouble := range map[string]error{
		"down": controllertest.ErrDown, "refused": controllertest.ErrRefused, "too old": controllertest.ErrOld, "forbidden": controllertest.ErrForbidden, "damaged": controllertest.ErrDamaged, "full": controllertest.ErrFull,
	} {
		t.Run(name, func(t *testing.T) {
			policy := controllertest.UsersPolicy()
			policy.Namespace, policy.Finalizers = "shop", []string{v1.CachePolicyFinalizer}
			cluster := controllertest.FakeCluster(t, policy)
			if err := cluster.Delete(t.Context(), policy); err != nil {
				t.Fatal(err)
			}
			store, clock := controllertest.NewBrittleStore(nil), clocktesting.NewFakePassiveClock(time.Now())
			store.FailBefore("DeletePolicy", trouble)
			r := &Reconciler{
				Client: cluster, Reader: cluster, Stores: &storetest.Provider{Store: store}, Events: &events.FakeRecorder{}, Snapshot: stats.NewSnapshot(),
				Clock: clock, WithdrawTimeout: time.Minute,
			}
			request := reconcile.Request{NamespacedName: client.ObjectKeyFromObject(policy)}
			if result, err := r.Reconcile(t.Context(), request); err != nil || result.RequeueAfter == 0 {
				t.Fatalf("comes again after %s (%v)", result.RequeueAfter, err)
			}
			left := &v1.CachePolicy{}
			if err := cluster.Get(t.Context(), request.NamespacedName, left); err != nil || controllertest.Ready(left.Status.Conditions) == "" {
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
type endlessStore struct{ calls.SessionStore }

func (endlessStore) DeletePolicyFor(context.Context, registry.Claim) (bool, error) { return true, nil }

func (endlessStore) Reclaim(context.Context, registry.Slot, int) (registry.Reclaimed, error) {
	return registry.Reclaimed{Pending: 1}, nil
}

func TestADeletionEndsThoughAStoreHasAlwaysMoreToReclaim(t *testing.T) {
	policy := controllertest.UsersPolicy()
	policy.Namespace, policy.Finalizers = "shop", []string{v1.CachePolicyFinalizer}
	cluster := controllertest.FakeCluster(t, policy)
	if err := cluster.Delete(t.Context(), policy); err != nil {
		t.Fatal(err)
	}
	clock := clocktesting.NewFakePassiveClock(time.Now())
	policies := &Reconciler{
		Client: cluster, Reader: cluster, Stores: &storetest.Provider{Store: storetest.Slow{SessionStore: endlessStore{}, Clock: clock}}, Events: &events.FakeRecorder{},
		Snapshot: stats.NewSnapshot(), Clock: clock, StatsInterval: time.Minute, WithdrawTimeout: time.Minute,
	}
	request := reconcile.Request{NamespacedName: client.ObjectKeyFromObject(policy)}
	for range 2 {
		if _, err := policies.Reconcile(t.Context(), request); err != nil {
			t.Fatal(err)
		}
	}
	if err := cluster.Get(t.Context(), request.NamespacedName, policy); err != nil {
		t.Fatalf("it is gone before its memory was freed: %v", err)
	}
	clock.SetTime(clock.Now().Add(resource.AbandonAfter * policies.WithdrawTimeout))
	if _, err := policies.Reconcile(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	if err := cluster.Get(t.Context(), request.NamespacedName, policy); !apierrors.IsNotFound(err) {
		t.Errorf("it is still there (%v)", err)
	}
}
