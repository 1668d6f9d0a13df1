// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package fence

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/internal/redistest"
	"github.com/cachewright/cachewright/registry"
)

func guardOfACluster(t *testing.T) *Guard {
	t.Helper()
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}})
	t.Cleanup(func() { _ = cluster.Close() })
	return New(cluster, nil, 0, func(error) {})
}

// Nodes come and go as long as a process lives.
func TestClientsOfNodesThatAreGoneAreForgotten(t *testing.T) {
	g := guardOfACluster(t)
	for range 1000 {
		node := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
		g.watch(node)
		_ = node.Close()
	}
	for deadline := time.Now().Add(20 * time.Second); ; {
		runtime.GC()
		another := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
		g.watch(another)
		_ = another.Close()
		if len(g.watched) < 100 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d clients are known", len(g.watched))
		}
	}
}

func TestNodesThatAreKnownAreBounded(t *testing.T) {
	g := guardOfACluster(t)
	for i := range 3 * maxPresent {
		if err := g.observe(fmt.Sprint("node", i), registry.Incarnation(fmt.Sprint(i)), true); err != nil {
			t.Fatal(err)
		}
	}
	if len(g.current) > maxPresent {
		t.Errorf("%d nodes are known", len(g.current))
	}
}

func TestSlotsThatAreKnownAreBounded(t *testing.T) {
	g := guardOfACluster(t)
	for i := range 3 * maxStates {
		g.stateOf(registry.Slot{Namespace: "shop", Module: fmt.Sprint(i)})
	}
	if known := len(*g.states.Load()); known > maxStates {
		t.Errorf("%d slots are known", known)
	}
}

// A hit in a cluster asks twice whether the module may be read.
func TestPassOfAFencedModuleTakesNoLock(t *testing.T) {
	client := redistest.StartCluster(t, 1).Client()
	g, slot := New(client, registry.New(client), 0, func(err error) { t.Error(err) }), registry.Slot{Namespace: "shop", Module: "users"}
	if _, err := g.Enter(t.Context(), slot); err != nil {
		t.Fatal(err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	held := make(chan bool)
	go func() {
		pass, err := g.Enter(t.Context(), slot)
		held <- err == nil && g.Holds(t.Context(), pass)
	}()
	select {
	case holds := <-held:
		if !holds {
			t.Error("it does not hold")
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it waits for a lock")
	}
}
