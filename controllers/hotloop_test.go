// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

// A policy that Redis lost, and that cannot be put in force for a reason that no look finds, is tried at longer and longer
// intervals: its failure neither has the store looked at nor itself woken again and again.
func TestWhatALookDoesNotFindIsNotTriedAgainAndAgain(t *testing.T) {
	for name, err := range map[string]error{
		"of the store":  fmt.Errorf("cw_policy_apply of shop/users: %w: MISCONF Redis is configured to save RDB snapshots", registry.ErrUnreachable),
		"of the module": errDamaged,
		"of the ACL":    errForbidden,
	} {
		t.Run(name, func(t *testing.T) {
			store := newBrittleStore(registry.New(redistest.Start(t).Client()))
			store.failBefore("ApplyPolicy", err)
			policy := usersPolicy()
			policy.Namespace, policy.Finalizers = "shop", []string{v1.CachePolicyFinalizer}
			policy.Status.AppliedHash = policyOf(&policy.Spec).Hash()
			cluster := fakeCluster(t, policy)
			elected := make(chan struct{})
			close(elected)
			stores := newStores(surroundings{
				Reader: cluster, Metrics: NewMetrics(), Clock: clock.RealClock{}, Log: logr.Discard(), Journal: newJournal(), Events: &events.FakeRecorder{},
				Interval: 50 * time.Millisecond, StatsInterval: time.Minute, RenewInterval: time.Minute, Elected: elected,
				policies: make(wakeups), invalidations: make(wakeups), stores: make(wakeups),
			}, cluster)
			stores.give(defaultStore, store, "r:6379", "")
			r := &CachePolicyReconciler{
				Client: cluster, Reader: cluster, Stores: stores, Events: &events.FakeRecorder{}, Metrics: stores.Metrics,
				Clock: clock.RealClock{}, StatsInterval: time.Minute, WithdrawTimeout: time.Minute,
			}
			ctx, cancel := context.WithCancel(t.Context())
			var done sync.WaitGroup
			done.Go(func() { _ = stores.Start(ctx) })
			done.Go(func() {
				for {
					select {
					case e := <-stores.policies:
						_, _ = r.Reconcile(ctx, reconcile.Request{NamespacedName: e.Object.name})
					case <-ctx.Done():
						return
					}
				}
			})
			defer done.Wait()
			defer cancel()
			eventually(t, "it was not tried", func() bool { return store.count("ApplyPolicy") > 0 })
			looks := store.count("Check")
			eventually(t, "the store is not looked at", func() bool { return store.count("Check") > looks+20 })
			if tried := store.count("ApplyPolicy"); tried > 3 {
				t.Errorf("tried %d times in some 20 looks", tried)
			}
		})
	}
}
