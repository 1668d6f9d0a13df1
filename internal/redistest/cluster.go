// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package redistest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	clusterSlots   = 16384
	clusterTimeout = 60 * time.Second
	clusterPoll    = 20 * time.Millisecond
)

// Cluster is a Redis Cluster of primaries that share the slots evenly; it has no replicas.
type Cluster struct {
	tb      testing.TB
	servers []*Server
}

// StartCluster runs a Redis Cluster of so many primaries on loopback until the test ends. It returns when every
// server knows all others and calls the cluster ok.
func StartCluster(tb testing.TB, primaries int) *Cluster {
	tb.Helper()
	cluster := &Cluster{tb: tb}
	for range primaries {
		cluster.servers = append(cluster.servers, start(tb, launch{dir: tb.TempDir(), cluster: true}))
	}
	if err := cluster.form(); err != nil {
		tb.Fatal(err)
	}
	cluster.WaitReady()
	return cluster
}

// Addrs is where the servers listen, each as host:port.
func (c *Cluster) Addrs() []string {
	addrs := make([]string, len(c.servers))
	for i, server := range c.servers {
		addrs[i] = server.Addr()
	}
	return addrs
}

// Servers are the members, in the order of the slots they hold. After restarting one, call WaitReady.
func (c *Cluster) Servers() []*Server { return c.servers }

// Client returns a new client of the cluster. It is closed when the test ends.
func (c *Cluster) Client() *redis.ClusterClient {
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs()})
	c.tb.Cleanup(func() { _ = client.Close() })
	return client
}

// WaitReady waits until every server knows all others and calls the cluster ok, and fails the test when that takes
// longer than a minute.
func (c *Cluster) WaitReady() {
	c.tb.Helper()
	deadline := time.Now().Add(clusterTimeout)
	for _, server := range c.servers {
		for {
			err := c.checkNode(server)
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				c.tb.Fatalf("the cluster is not ready after %s: %v", clusterTimeout, err)
			}
			time.Sleep(clusterPoll)
		}
	}
}

// form gives each server its share of the slots and a configuration epoch of its own, which saves the time to settle
// a collision, and introduces them to the first.
func (c *Cluster) form() error {
	for i, server := range c.servers {
		first, last := i*clusterSlots/len(c.servers), (i+1)*clusterSlots/len(c.servers)-1
		commands := [][]any{
			{"CLUSTER", "ADDSLOTSRANGE", first, last},
			{"CLUSTER", "SET-CONFIG-EPOCH", i + 1},
		}
		if i > 0 {
			seed := c.servers[0].launch
			commands = append(commands, []any{"CLUSTER", "MEET", loopback, seed.port, seed.busPort})
		}
		if err := doAll(server, commands); err != nil {
			return fmt.Errorf("forming the cluster at %s: %w", server.Addr(), err)
		}
	}
	return nil
}

func (c *Cluster) checkNode(server *Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), clusterTimeout)
	defer cancel()
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer func() { _ = client.Close() }()

	info, err := client.ClusterInfo(ctx).Result()
	if err != nil {
		return fmt.Errorf("asking %s for CLUSTER INFO: %w", server.Addr(), err)
	}
	nodes, err := client.ClusterNodes(ctx).Result()
	if err != nil {
		return fmt.Errorf("asking %s for CLUSTER NODES: %w", server.Addr(), err)
	}
	connected := strings.Count(nodes, " connected")
	if !strings.Contains(info, "cluster_state:ok") || connected != len(c.servers) || strings.Contains(nodes, "handshake") {
		return fmt.Errorf("%s says:\n%s%s", server.Addr(), info, nodes)
	}
	return nil
}

func doAll(server *Server, commands [][]any) error {
	ctx, cancel := context.WithTimeout(context.Background(), clusterTimeout)
	defer cancel()
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer func() { _ = client.Close() }()
	for _, command := range commands {
		if err := client.Do(ctx, command...).Err(); err != nil {
			return fmt.Errorf("%v: %w", command, err)
		}
	}
	return nil
}
