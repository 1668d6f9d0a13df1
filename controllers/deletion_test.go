// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "github.com/cachewright/cachewright/api/v1"
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
