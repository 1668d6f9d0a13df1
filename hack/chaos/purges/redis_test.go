// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package purges

import (
	"context"
	"fmt"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/hack/chaos/internal/scale"
	"github.com/cachewright/cachewright/internal/redistest"
)

// Redis does not answer for a while. Nobody knows whether it carried out the calls.
func TestNoPurgeIsLostOrDoubledWhenRedisFreezes(t *testing.T) {
	server := redistest.Start(t)
	network := newProxy(t, server.Addr())
	w := newWorld(t, network.addr(), clientOf(t, server))
	w.disturbed(network, server.Pause, server.Resume)
}

// The operator cannot reach Redis, but applications can.
func TestNoPurgeIsLostOrDoubledWhenTheOperatorIsPartedFromRedis(t *testing.T) {
	server := redistest.Start(t)
	network := newProxy(t, server.Addr())
	w := newWorld(t, network.addr(), clientOf(t, server))
	w.disturbed(network, network.part, network.heal)
}

// Redis is killed, loses everything, and is empty after its restart.
func TestNoPurgeIsLostWhenRedisIsKilled(t *testing.T) {
	server := redistest.Start(t)
	network := newProxy(t, server.Addr())
	w := newWorld(t, network.addr(), clientOf(t, server))
	w.forgetful = true
	w.disturbed(network, server.Kill, server.Restart)
}

// Redis is killed in the middle of purges. After its restart, it still has everything that it
// answered.
func TestNoPurgeIsLostOrDoubledWhenRedisIsKilledAndRemembers(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	network := newProxy(t, server.Addr())
	w := newWorld(t, network.addr(), clientOf(t, server))
	w.begin()
	w.operate()
	w.untilFenced()
	for range scale.FromEnv(t, "CHAOS_DISTURBANCES", 1) {
		amidst := w.prepare(batch)
		w.ask(batch)
		w.must(w.settle(t.Context()))
		network.mute()
		w.create(amidst)
		w.untilCounted(amidst, unanswered)
		server.Kill()
		network.sever() // the answers are lost
		w.replaced()
		server.Restart()
		w.untilFenced()
	}
	w.ask(batch)
	w.check()
}

// disturbed creates purges before and during a disturbance of Redis. The first ones are under way
// when it begins. It ends once the operator has given up calls, which Redis may carry out
// afterwards. Then the operator repeats them.
func (w *world) disturbed(network *proxy, begin, end func()) {
	w.t.Helper()
	w.begin()
	w.operate()
	// A Redis that forgets does not show a call that it carried out twice.
	proves := func() bool { return w.forgetful || network.repeated() > 0 }
	times := scale.FromEnv(w.t, "CHAOS_DISTURBANCES", 1)
	for n := 0; n < times || !proves() && n < missesForgiven*times; n++ {
		amidst := w.prepare(batch)
		w.ask(batch)
		w.untilBegun()
		begin()
		w.create(amidst)
		w.untilGivenUp(amidst)
		end()
		w.must(w.settle(w.t.Context()))
	}
	w.ask(batch)
	w.check()
	w.t.Logf("the operator asked for %d invalidations more than once", network.repeated())
	if !proves() {
		w.t.Error("the operator repeated no call: the test proves nothing")
	}
}

// untilGivenUp waits until the operator has tried each of the purges in vain. It asks the API
// server, as the ledger waits for Redis.
func (w *world) untilGivenUp(purges []*purge) {
	w.t.Helper()
	w.must(eventually(w.t.Context(), "end of calls without an answer", func(ctx context.Context) error {
		for _, p := range purges {
			object := w.objectOf(p)
			if err := w.k8s.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
				return err
			}
			if !slices.ContainsFunc(object.Status.Conditions, isOfUnreachable) {
				return fmt.Errorf("the operator tries %s", p.name())
			}
		}
		return nil
	}))
}

func isOfUnreachable(condition metav1.Condition) bool {
	return condition.Reason == v1.ReasonStoreUnreachable
}
