// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package purges

import (
	"testing"

	"github.com/redis/go-redis/v9"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/hack/chaos/internal/scale"
	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

// eachPolicy runs a test with each value of onDataLoss.
func eachPolicy(t *testing.T, test func(t *testing.T, onDataLoss v1.DataLossPolicy)) {
	t.Helper()
	for _, onDataLoss := range []v1.DataLossPolicy{v1.DataLossInvalidateAll, v1.DataLossReplay} {
		t.Run(string(onDataLoss), func(t *testing.T) { test(t, onDataLoss) })
	}
}

// A replica is promoted that lacks Complete purges, while others are under way. Readers with the Go
// client never get purged entries. Once the operator has repeated the purges, no reader does.
func TestNoPurgeIsLostWhenAReplicaThatLaggedIsPromoted(t *testing.T) {
	eachPolicy(t, func(t *testing.T, onDataLoss v1.DataLossPolicy) {
		group := redistest.StartSentinel(t, 1, 3)
		w := newWorld(t, "", group.Client())
		w.forgetful, w.store = true, storeOf(group, onDataLoss)
		w.begin()
		w.operate()
		disturbances := scale.FromEnv(t, "CHAOS_DISTURBANCES", 1)
		for n := range disturbances {
			w.ask(batch)
			forgotten, amidst := w.prepare(batch), w.prepare(batch)
			w.rest()
			primary := group.Primary()
			primary.WaitReplicated()
			primary.PauseReplication()
			w.create(forgotten)
			w.application.change()
			w.rest()
			w.wantToComeBack(group.Replicas()[0].Client())
			w.create(amidst)
			w.application.change()
			w.untilBegun()
			group.Failover()
			w.must(eventually(t.Context(), "end of what the promoted server brought back", w.nothingIsBack))
			if n < disturbances-1 {
				group.Rejoin(primary)
			}
		}
		w.check()
	})
}

// A replica with all of its primary's data is promoted while purges are under way.
func TestNoPurgeIsLostOrDoubledWhenAReplicaIsPromoted(t *testing.T) {
	group := redistest.StartSentinel(t, 1, 3)
	w := newWorld(t, "", group.Client())
	w.store = storeOf(group, v1.DataLossInvalidateAll)
	w.begin()
	w.operate()
	w.untilFenced()
	disturbances := scale.FromEnv(t, "CHAOS_DISTURBANCES", 1)
	for n := range disturbances {
		amidst := w.prepare(batch)
		w.ask(batch)
		w.untilBegun()
		primary := group.Primary()
		primary.PauseWrites()
		w.create(amidst)
		primary.WaitReplicated()
		w.replaced()
		group.Failover()
		w.untilFenced()
		if n < disturbances-1 {
			group.Rejoin(primary)
		}
	}
	w.ask(batch)
	w.check()
}

// Redis restarts with a snapshot that lacks Complete purges, while others are under way.
func TestNoPurgeIsLostWhenRedisIsRestoredFromAnOldSnapshot(t *testing.T) {
	eachPolicy(t, func(t *testing.T, onDataLoss v1.DataLossPolicy) {
		server := redistest.Start(t)
		w := newWorld(t, "", clientOf(t, server))
		w.forgetful = true
		w.store = &v1.CacheStoreSpec{
			Mode: v1.StoreStandalone, Addresses: []v1.StoreAddress{v1.StoreAddress(server.Addr())}, OnDataLoss: onDataLoss,
		}
		w.begin()
		w.operate()
		for range scale.FromEnv(t, "CHAOS_DISTURBANCES", 1) {
			w.ask(batch)
			forgotten, amidst := w.prepare(batch), w.prepare(batch)
			w.rest()
			server.Save()
			w.create(forgotten)
			w.application.change()
			w.rest()
			w.wantToComeBack(server.StartFromSnapshot().Client())
			w.create(amidst)
			w.application.change()
			w.untilBegun()
			server.Restart()
			w.must(eventually(t.Context(), "end of what the snapshot brought back", w.nothingIsBack))
		}
		w.check()
	})
}

func storeOf(group *redistest.SentinelGroup, onDataLoss v1.DataLossPolicy) *v1.CacheStoreSpec {
	store := &v1.CacheStoreSpec{Mode: v1.StoreSentinel, MasterName: redistest.MasterName, OnDataLoss: onDataLoss}
	for _, addr := range group.Addrs() {
		store.Addresses = append(store.Addresses, v1.StoreAddress(addr))
	}
	return store
}

// rest waits until no purge is under way.
func (w *world) rest() {
	w.t.Helper()
	w.must(w.settle(w.t.Context()))
	w.application.settle()
}

// wantToComeBack fails the test if a server with an older state has none of the purged entries.
func (w *world) wantToComeBack(older redis.UniversalClient) {
	w.t.Helper()
	state := ledger{cache: registry.New(older), purges: w.purges}
	if state.nothingIsBack(w.t.Context()) == nil {
		w.t.Error("the older state has none of the purged entries: the test proves nothing")
	}
}
