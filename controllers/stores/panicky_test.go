// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package stores

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/controllertest"
	"github.com/cachewright/cachewright/controllers/internal/status"
	"github.com/cachewright/cachewright/registry"
)

// Wherever a monitor panics, its store is marked and probed at growing intervals. It can be used
// again as soon as a whole probe went well.
func TestAPanicInAMonitorMarksItsStore(t *testing.T) {
	for _, call := range []string{"Check", "Install", "Writable", "Serving", "PolicyHashes", "StatsOf", "UnclaimedOf", "AddAllModules"} {
		t.Run(call, func(t *testing.T) {
			store := &controllertest.PanickyStore{ScriptedStore: &controllertest.ScriptedStore{Health: registry.Health{Version: "7.0.15", RunIDs: []string{"a"}}}, Call: call}
			monitor, woken := monitorOf(t, store.ScriptedStore, true)
			monitor.connection.connector = givenStore{store: store, location: status.Location{Address: "r:6379"}}
			clock := monitor.Clock.(*clocktesting.FakeClock)
			ctx, cancel := context.WithCancel(t.Context())
			var done sync.WaitGroup
			done.Go(func() { monitor.run(ctx) })
			defer done.Wait()
			defer cancel()
			controllertest.WaitFor(t, "it did not settle down to wait", func() bool { return store.Panicked() > 0 && clock.HasWaiters() })

			err := monitor.Open().Err()
			f := status.Classify(err, monitor.connection.at())
			if !errors.Is(err, registry.ErrMisbehaves) || f.Class != status.ClassStalled || f.Reason != v1.ReasonStoreMisbehaves {
				t.Fatalf("the store is: %v", err)
			}
			if strings.Contains(f.Message, "secret") || !strings.Contains(f.Message, "REDIS_HOST") {
				t.Errorf("says %q", f.Message)
			}
			wokenBefore := woken()
			for range 61 {
				controllertest.WaitFor(t, "nobody waits", clock.HasWaiters)
				clock.Step(time.Second)
				if err := monitor.Open().Err(); !errors.Is(err, registry.ErrMisbehaves) {
					t.Fatalf("in between it is: %v", err)
				}
			}
			if probes := store.Panicked() - 1; probes < 3 || probes > 6 {
				t.Errorf("probed %d times in a minute; want 3 to 6", probes)
			}
			// A probe that gets as far may compare policies and wake those that differ, once each.
			if more := woken() - wokenBefore; more > 6 {
				t.Errorf("woke %d resources for nothing", more)
			}

			store.PanicOver("")
			controllertest.WaitFor(t, "it is not well", func() bool {
				clock.Step(10 * time.Second)
				return monitor.Open().Err() == nil
			})
		})
	}
}

func TestAConnectionOverWhichAReconcilePanickedIsGivenUp(t *testing.T) {
	store := &controllertest.PanickyStore{ScriptedStore: &controllertest.ScriptedStore{Health: controllertest.Healthy("a")}}
	monitor, _ := monitorOf(t, store.ScriptedStore, false)
	monitor.connection.connector = givenStore{store: store, location: status.Location{Address: "r:6379"}}
	if err := monitor.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	former := monitor.connection.link
	session := monitor.Open()
	store.PanicOver("PolicyHashes")
	_, err := session.PolicyHashes(t.Context(), nil)
	session.Close(status.Classify(err, session.Location()))
	if !errors.Is(err, registry.ErrMisbehaves) {
		t.Errorf("the error is %v", err)
	}
	if session := monitor.Open(); session.link == former || session.Err() == nil {
		t.Error("the connection, on which half a reply may be, is in use")
	}
	if former.users != 0 {
		t.Errorf("the connection has %d users", former.users)
	}
}
