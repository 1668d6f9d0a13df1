// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package purges

import (
	"testing"
	"time"

	"github.com/cachewright/cachewright/hack/chaos/internal/scale"
	"github.com/cachewright/cachewright/internal/redistest"
)

// away is how long Redis cannot be reached, which is longer than the operator waits for an answer.
const away = 3 * time.Second

// Redis does not answer for a while. Nobody knows whether it carried out the calls.
func TestNoPurgeIsLostOrDoubledWhenRedisFreezes(t *testing.T) {
	server := redistest.Start(t)
	w := newWorld(t, server.Addr(), clientOf(t, server))
	w.disturbed(server.Pause, server.Resume)
}

// The operator cannot reach Redis, but applications can.
func TestNoPurgeIsLostOrDoubledWhenTheOperatorIsPartedFromRedis(t *testing.T) {
	server := redistest.Start(t)
	network := newProxy(t, server.Addr())
	w := newWorld(t, network.addr(), clientOf(t, server))
	w.disturbed(network.part, network.heal)
}

// Redis is killed, loses everything, and is empty after its restart.
func TestNoPurgeIsLostWhenRedisIsKilled(t *testing.T) {
	server := redistest.Start(t)
	w := newWorld(t, server.Addr(), clientOf(t, server))
	w.forgetful = true
	w.disturbed(server.Kill, server.Restart)
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
		w.untilCounted(amidst, away)
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
// when it begins. Redis may still carry out calls afterwards that it received before.
func (w *world) disturbed(begin, end func()) {
	w.t.Helper()
	w.begin()
	w.operate()
	for range scale.FromEnv(w.t, "CHAOS_DISTURBANCES", 1) {
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
