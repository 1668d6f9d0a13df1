// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"
)

// heapOfClients returns what the connections of some clients keep in use, once each answered a call
// and a pipeline.
func heapOfClients(t *testing.T, connection Connection) uint64 {
	t.Helper()
	const clients = 20
	inUse := func() uint64 {
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return stats.HeapAlloc
	}
	before := inUse()
	for range clients {
		client := connection.Client()
		t.Cleanup(func() { _ = client.Close() })
		_, err := client.Pipelined(t.Context(), func(pipe redis.Pipeliner) error {
			pipe.Get(t.Context(), "x")
			return pipe.Get(t.Context(), "y").Err()
		})
		if err := errors.Join(err, client.Get(t.Context(), "x").Err()); err != nil {
			t.Fatal(err)
		}
	}
	after := inUse()
	return max(after, before+1) - before
}

func TestConnectionsOfAnOperatorToItsStoresAreSmall(t *testing.T) {
	addr := answering(t, to("get", "$1\r\na\r\n"))
	connection := Connection{Addresses: []string{addr}}
	usual := heapOfClients(t, connection)
	connection.Role = RoleOperator
	if small := heapOfClients(t, connection); small > usual/4 {
		t.Errorf("%d KiB, those of an application %d KiB", small>>10, usual>>10)
	}
}

func TestNodesOfAClusterCostAnOperatorNoMoreThanOneServer(t *testing.T) {
	connection := Connection{Addresses: []string{"127.0.0.1:1"}, Role: RoleOperator}
	server, ok := connection.Client().(*redis.Client)
	if !ok {
		t.Fatal("no client of one server")
	}
	defer func() { _ = server.Close() }()
	single := server.Options()
	connection.Cluster = true
	client, ok := connection.Client().(*redis.ClusterClient)
	if !ok {
		t.Fatal("no client of a cluster")
	}
	defer func() { _ = client.Close() }()
	node := client.Options()
	if node.PoolSize != single.PoolSize || node.MaxIdleConns != single.MaxIdleConns || node.PipelinePoolSize != single.PipelinePoolSize ||
		node.ReadBufferSize != single.ReadBufferSize || node.WriteBufferSize != single.WriteBufferSize {
		t.Errorf("a node has %+v, a server %+v", node, single)
	}
}

// The operator reconciles six resources of a store at a time and looks at it besides. A transaction
// takes a connection for itself, and another call within it a second one.
func TestCallsOfOneStoreThatTakeTwoConnectionsDoNotWaitForEachOther(t *testing.T) {
	const atOnce = 7
	client := Connection{Addresses: []string{answering(t, to("get", "$1\r\na\r\n"))}, Role: RoleOperator}.Client()
	defer func() { _ = client.Close() }()
	var ready, group sync.WaitGroup
	ready.Add(atOnce)
	for range atOnce {
		arrive := sync.OnceFunc(ready.Done)
		group.Go(func() {
			defer arrive()
			err := client.Watch(t.Context(), func(*redis.Tx) error {
				arrive()
				ready.Wait()
				return client.Get(context.WithoutCancel(t.Context()), "x").Err()
			}, "x")
			if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}
