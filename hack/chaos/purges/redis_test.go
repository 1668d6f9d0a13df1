// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package purges

import (
	"testing"
	"time"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

// away is how long Redis cannot be reached: longer than the operator waits for an answer.
const away = 3 * time.Second

// Redis does not answer for a while, and nobody knows whether it did what it was asked.
func TestNoPurgeIsLostOrDoubledWhenRedisFreezes(t *testing.T) {
	server := redistest.Start(t)
	w := newWorld(t, server.Addr(), clientOf(t, server))
	w.disturbed(server.Pause, server.Resume)
}

// The operator loses sight of a Redis that applications see.
func TestNoPurgeIsLostOrDoubledWhenTheOperatorIsPartedFromRedis(t *testing.T) {
	server := redistest.Start(t)
	network := newProxy(t, server.Addr())
	w := newWorld(t, network.addr(), clientOf(t, server))
	w.disturbed(network.part, network.heal)
}

// Redis dies with all that it holds, and is empty when it comes back.
func TestNoPurgeIsLostWhenRedisIsKilled(t *testing.T) {
	server := redistest.Start(t)
	w := newWorld(t, server.Addr(), clientOf(t, server))
	w.forgetful = true
	w.disturbed(server.Kill, server.Restart)
}

// disturbed asks for purges before Redis is disturbed, so that some are under way then, and for more once it is: these
// wait for the operator's calls that meet it. What Redis was asked meanwhile, it may do in the end.
func (w *world) disturbed(begin, end func()) {
	w.t.Helper()
	w.begin()
	w.operate()
	for range often(w.t, "CHAOS_DISTURBANCES", 1) {
		amidst := w.prepare(batch)
		w.ask(batch)
		w.untilBegun()
		begin()
		w.create(amidst)
		time.Sleep(away)
		end()
	}
	w.ask(batch)
	w.check()
}

// A replica is promoted that never heard of purges that are Complete. Before the operator has repeated them, nobody who
// reads by the Go client gets what was purged; then nobody at all.
func TestNoPurgeIsLostWhenAReplicaThatLaggedIsPromoted(t *testing.T) {
	for _, onDataLoss := range []v1.DataLossPolicy{v1.DataLossInvalidateAll, v1.DataLossReplay} {
		t.Run(string(onDataLoss), func(t *testing.T) {
			group := redistest.StartSentinel(t, 1, 3)
			w := newWorld(t, "", group.Client())
			w.forgetful, w.store = true, storeOf(group, onDataLoss)
			w.begin()
			w.operate()
			w.ask(batch)
			prepared := w.prepare(batch)
			w.must(w.settle(t.Context()))

			primary := group.Primary()
			primary.WaitReplicated()
			primary.PauseReplication()
			w.application.settle()
			w.application.change()
			w.create(prepared)
			w.must(w.settle(t.Context()))
			w.application.settle()
			lagging := ledger{cache: registry.New(group.Servers()[1].Client()), purges: w.purges}
			if lagging.nothingIsBack(t.Context()) == nil {
				t.Error("the server that is to be promoted has nothing of what was purged: the test shows nothing")
			}
			group.Failover()

			w.must(eventually(t.Context(), "end of what the promoted server brought back", w.nothingIsBack))
			w.check()
		})
	}
}

func storeOf(group *redistest.SentinelGroup, onDataLoss v1.DataLossPolicy) *v1.CacheStoreSpec {
	store := &v1.CacheStoreSpec{Mode: v1.StoreSentinel, MasterName: redistest.MasterName, OnDataLoss: onDataLoss}
	for _, addr := range group.Addrs() {
		store.Addresses = append(store.Addresses, v1.StoreAddress(addr))
	}
	return store
}
