// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package node_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/onsi/gomega"

	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

// What was invalidated stays so, although Redis went back to a time before that.
func TestNodeServesNothingThatCameBack(t *testing.T) {
	prepareNode(t)
	for _, library := range libraries {
		t.Run(library+", a restart with an old snapshot", func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "CLIENT="+library)
			w.goesBack(t, func(invalidate func()) {
				w.server.Save()
				invalidate()
				w.server.Restart()
			})
		})
		t.Run(library+", a failover of a cluster to a replica that lagged", func(t *testing.T) {
			t.Parallel()
			cluster := redistest.StartCluster(t, 3)
			w := newWorldOn(t, cluster.Client(), cluster.Addrs(), "CLIENT="+library)
			primary := cluster.Owner("cw:{shop/users}")
			replica := cluster.AddReplica(primary)
			w.goesBack(t, func(invalidate func()) {
				primary.WaitReplicated()
				primary.PauseReplication()
				invalidate()
				cluster.Failover(primary, replica)
			})
		})
		t.Run(library+", a slot of a cluster that moves", func(t *testing.T) {
			t.Parallel()
			cluster := redistest.StartCluster(t, 2)
			w := newWorldOn(t, cluster.Client(), cluster.Addrs(), "CLIENT="+library)
			w.goesBack(t, func(invalidate func()) {
				invalidate()
				cluster.MoveSlot("cw:{shop/users}")
			})
		})
	}
}

// goesBack has Redis go back to before an invalidation, and checks that Node serves nothing of that,
// and soon uses the cache again.
func (w *world) goesBack(t *testing.T, back func(invalidate func())) {
	t.Helper()
	key := entry("list", "a", "")
	w.source.set([]byte("old"))
	w.wantFrom(t, "stored", key)
	w.wantFrom(t, "cache", key)
	back(func() {
		w.source.set([]byte("new"))
		w.invalidate(t, registry.Scope{}, registry.ModeHard)
	})
	gomega.NewWithT(t).Eventually(func() string {
		got := w.get(t, key)
		if string(got.body) != "new" {
			t.Errorf("served %q, %s", got.body, got.from)
		}
		return got.from
	}).WithTimeout(time.Minute).Should(gomega.Equal("cache"))
}

// The ACL of docs/operations.md for the applications of a namespace allows all that Node does, over
// each client of Redis.
func TestDocumentedACLSufficesForNode(t *testing.T) {
	const runbook = "../../docs/operations.md"
	prepareNode(t)
	prepare := func(t *testing.T, store *registry.Registry, servers ...*redistest.Server) {
		t.Helper()
		for _, server := range servers {
			server.ApplyACL(redistest.ACLOf(t, runbook, users.Namespace))
		}
		list := []registry.OperationPolicy{{Name: "list", TTL: time.Minute, StaleFor: time.Minute}}
		for module, policy := range map[string]registry.Policy{
			users.Module: {DefaultTTL: new(time.Minute), Operations: list}, "others": {Operations: list},
		} {
			slot := registry.Slot{Namespace: users.Namespace, Module: module}
			if _, err := store.ApplyPolicy(t.Context(), slot, policy); err != nil {
				t.Fatal(err)
			}
		}
		if err := store.AddModules(t.Context(), users.Namespace, users.Module, "others"); err != nil {
			t.Fatal(err)
		}
	}
	doesEverything := func(t *testing.T, library string, servers ...*redistest.Server) {
		t.Helper()
		urls := ""
		for _, server := range servers {
			urls += ",redis://shop:secret@" + server.Addr()
		}
		var failures []string
		runScript(t, "await import('./test/support/everything.mjs')", nil, &failures, "REDIS_URL="+urls[1:], "CLIENT="+library)
		if len(failures) > 0 {
			t.Errorf("failures: %q", failures)
		}
		for _, server := range servers {
			// ioredis names its connections to a cluster, and goes on without names.
			refused := slices.DeleteFunc(server.Refused(), func(what string) bool { return strings.Contains(what, "client|setname") })
			if len(refused) > 0 {
				t.Errorf("refused: %q", refused)
			}
		}
	}
	for _, library := range libraries {
		t.Run(library, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			prepare(t, registry.New(server.Client()), server)
			doesEverything(t, library, server)
		})
		t.Run(library+", cluster", func(t *testing.T) {
			t.Parallel()
			cluster := redistest.StartCluster(t, 2)
			prepare(t, registry.New(cluster.Client()), cluster.Servers()...)
			doesEverything(t, library, cluster.Servers()...)
		})
	}
}
