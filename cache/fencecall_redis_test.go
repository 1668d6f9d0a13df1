// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache_test

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

// A library that lacks the call to fence is no reason to read what an old snapshot brought back.
func TestWhatAnOldSnapshotBringsBackIsNotReadWithAnOlderLibrary(t *testing.T) {
	t.Parallel()
	server, options := withOlderLibrary(t)
	for _, wait := range []time.Duration{0, 50 * time.Millisecond} {
		again := *options
		c := newCache(t, redis.NewClient(&again), cache.WithTimeout(waitTimeout), cache.WithFenceWait(wait))
		s := &versioned{}
		NewWithT(t).Eventually(func() bool { return fetchLoaded(t, c, cache.Key{Module: "users", Operation: "warm"}) }).WithTimeout(waitTimeout).Should(BeFalse())
		if err := c.InvalidateModule(t.Context(), "users"); err != nil {
			t.Fatal(err)
		}
		s.want(t, c, 0)
		server.Save()
		s.change(t, c)
		s.want(t, c, 1)
		server.Restart()
		server.ApplyACL(redistest.ACLOf(t, runbook, namespace))
		wantInRedis(t, server.Client(), "0")
		s.want(t, c, 1)
		NewWithT(t).Eventually(func() int64 { s.want(t, c, 1); return cachedVersion(t, server.Client()) }).
			WithTimeout(waitTimeout).Should(BeEquivalentTo(1), "the module is not fenced")
	}
}

// A client of a cluster can route the call by its key, and needs no more than it.
func TestAModuleIsFencedByOneCall(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	applyPolicy(t, server.Client(), "users", hour())
	for _, wait := range []time.Duration{0, time.Millisecond} {
		c := newCache(t, redis.NewClient(redisOptions(server.Addr())), cache.WithTimeout(waitTimeout), cache.WithFenceWait(wait))
		called := server.CalledBy(func() {
			NewWithT(t).Eventually(func() bool { return fetchLoaded(t, c, usersGet) }).WithTimeout(waitTimeout).Should(BeFalse())
		})
		if _, byCommands := called["getex"]; byCommands {
			t.Errorf("with a wait of %s: it looks for the fence by other commands: %v", wait, called)
		}
	}
	incarnation, err := registry.IncarnationOf(t.Context(), server.Client())
	if err != nil {
		t.Fatal(err)
	}
	if state, err := registry.New(server.Client()).CheckFence(t.Context(), usersSlot); err != nil || !state.InPlace || state.Incarnation != incarnation {
		t.Errorf("%+v (%v), want a fence in %s", state, err, incarnation)
	}
}
