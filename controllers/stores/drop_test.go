// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package stores

import (
	"context"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cachewright/cachewright/controllers/internal/controllertest"
	"github.com/cachewright/cachewright/controllers/internal/resource"
	"github.com/cachewright/cachewright/controllers/internal/stats"
	"github.com/cachewright/cachewright/controllers/internal/status"
	"github.com/cachewright/cachewright/registry"
)

// hangingStore answers a probe only when it is released.
type hangingStore struct {
	*controllertest.ScriptedStore
	asked, answer chan struct{}
}

func (s hangingStore) Check(ctx context.Context) (registry.Health, error) {
	s.asked <- struct{}{}
	<-s.answer
	return s.ScriptedStore.Check(ctx)
}

// A server that hangs delays no deletion, and what a probe under way finds leaves no series
// behind.
func TestADroppedStoreLeavesNoSeries(t *testing.T) {
	store := hangingStore{&controllertest.ScriptedStore{Health: controllertest.Healthy("a"), Unclaimed: []registry.Unclaimed{{Module: "user"}}}, make(chan struct{}), make(chan struct{})}
	monitor, _ := monitorOf(t, store.ScriptedStore, true)
	monitor.connection.connector = givenStore{store: store, location: status.Location{Address: "r:6379"}}
	stores := NewManager(monitor.Deps)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	stores.monitors[monitor.id] = &watched{monitor: monitor, stop: func() {}} // the worst case: it notices nothing yet
	probed := make(chan error)
	go func() { probed <- monitor.Probe(ctx) }()
	<-store.asked
	stores.Drop(ctx, monitor.id)
	close(store.answer)
	if err := <-probed; err != nil {
		t.Fatal(err)
	}
	if stores.monitors[monitor.id] != nil {
		t.Error("a store that is declared anew under its name gets the monitor that has ended")
	}
	gathered := prometheus.NewRegistry()
	gathered.MustRegister(monitor.Metrics)
	families, err := gathered.Gather()
	if err != nil || len(families) > 0 {
		t.Errorf("there are series of it: %v (%v)", families, err)
	}
	monitor.Snapshot.EachUnclaimed(func(namespace stats.Namespace, count int) {
		t.Errorf("%+v has %d unclaimed names", namespace, count)
	})
}

// What was read from a Redis says nothing about the next one.
func TestALostConnectionForgetsStatistics(t *testing.T) {
	store := &controllertest.ScriptedStore{Health: controllertest.Healthy("a")}
	monitor, _ := monitorOf(t, store, true)
	monitor.unclaimed.Referrers.Store = resource.StoreID{Namespace: "shop", Name: "main"}
	if err := monitor.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	if last, _ := monitor.Report(); last.Totals == nil || last.Unclaimed == nil {
		t.Fatalf("nothing was read: %+v", last)
	}
	monitor.connection.lost()
	if last, _ := monitor.Report(); last.Totals != nil || last.Unclaimed != nil {
		t.Errorf("kept %+v and %+v", last.Totals, last.Unclaimed)
	}
}
