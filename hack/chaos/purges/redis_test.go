// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package purges

import (
	"testing"
	"time"

	"github.com/cachewright/cachewright/internal/redistest"
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

// Redis dies in the middle of purges, and knows when it comes back what it did and answered.
func TestNoPurgeIsLostOrDoubledWhenRedisIsKilledAndRemembers(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	network := newProxy(t, server.Addr())
	w := newWorld(t, network.addr(), clientOf(t, server))
	w.begin()
	w.operate()
	w.untilFenced()
	for range often(t, "CHAOS_DISTURBANCES", 1) {
		amidst := w.prepare(batch)
		w.ask(batch)
		w.must(w.settle(t.Context()))
		network.mute()
		w.create(amidst)
		w.untilCounted(amidst, away)
		server.Kill()
		network.sever() // the answers are lost with it
		w.replaced()
		server.Restart()
		w.untilFenced()
	}
	w.ask(batch)
	w.check()
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
