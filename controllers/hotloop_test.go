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
	"github.com/cachewright/cachewright/controllers/cachepolicy"
	"github.com/cachewright/cachewright/controllers/internal/controllertest"
	"github.com/cachewright/cachewright/controllers/internal/convert"
	"github.com/cachewright/cachewright/controllers/internal/metrics"
	"github.com/cachewright/cachewright/controllers/internal/queue"
	"github.com/cachewright/cachewright/controllers/internal/resource"
	"github.com/cachewright/cachewright/controllers/internal/stats"
	"github.com/cachewright/cachewright/controllers/recovery"
	"github.com/cachewright/cachewright/controllers/stores"
	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

// A policy that Redis lost may not be put in force for a reason that no probe finds. It is retried
// at growing intervals. Its failure triggers neither probes of the store nor reconciles again and
// again.
func TestWhatAProbeDoesNotFindIsRetriedAtGrowingIntervals(t *testing.T) {
	for name, err := range map[string]error{
		"of the store":  fmt.Errorf("cw_policy_apply of shop/users: %w: MISCONF Redis is configured to save RDB snapshots", registry.ErrUnreachable),
		"of the module": controllertest.ErrDamaged,
		"of the ACL":    controllertest.ErrForbidden,
	} {
		t.Run(name, func(t *testing.T) {
			store := controllertest.NewBrittleStore(registry.New(redistest.Start(t).Client()))
			store.FailBefore("ApplyPolicy", err)
			policy := controllertest.UsersPolicy()
			policy.Namespace, policy.Finalizers = "shop", []string{v1.CachePolicyFinalizer}
			policy.Status.AppliedHash = convert.Policy(&policy.Spec).Hash()
			cluster := controllertest.FakeCluster(t, policy)
			elected := make(chan struct{})
			close(elected)
			queues, snapshot := queue.NewSet(), stats.NewSnapshot()
			provider := stores.NewManager(stores.Deps{
				Reader: cluster, Metrics: metrics.New(snapshot), Snapshot: snapshot, Clock: clock.RealClock{}, Log: logr.Discard(), Journal: recovery.NewJournal(), Events: &events.FakeRecorder{},
				Interval: 50 * time.Millisecond, StatsInterval: time.Minute, RenewInterval: time.Minute, Elected: elected,
				Queues: queues,
			})
			provider.Give(resource.DefaultStore, store, "r:6379", "")
			r := &cachepolicy.Reconciler{
				Client: cluster, Reader: cluster, Stores: provider, Events: &events.FakeRecorder{}, Snapshot: snapshot,
				Clock: clock.RealClock{}, StatsInterval: time.Minute, WithdrawTimeout: time.Minute,
			}
			ctx, cancel := context.WithCancel(t.Context())
			var done sync.WaitGroup
			done.Go(func() { _ = provider.Start(ctx) })
			done.Go(func() {
				for {
					select {
					case e := <-queues.Policies:
						_, _ = r.Reconcile(ctx, reconcile.Request{NamespacedName: e.Object.Name})
					case <-ctx.Done():
						return
					}
				}
			})
			defer done.Wait()
			defer cancel()
			controllertest.WaitFor(t, "it was not tried", func() bool { return store.Count("ApplyPolicy") > 0 })
			probes := store.Count("Check")
			controllertest.WaitFor(t, "the store is not probed", func() bool { return store.Count("Check") > probes+20 })
			if tried := store.Count("ApplyPolicy"); tried > 3 {
				t.Errorf("tried %d times in some 20 probes", tried)
			}
		})
	}
}
