// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package redistest

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// moveTimeoutMs limits the migration of a slot's keys.
const moveTimeoutMs = 10_000

// move moves a hash slot from one server to another.
type move struct {
	c        *Cluster
	slot     int
	from, to *Server
}

// MoveSlot moves the hash slot of a key, with its content, to another server of the cluster.
// Clients learn of it from redirections, as after any such move.
func (c *Cluster) MoveSlot(key string) {
	c.tb.Helper()
	c.MoveSlotTo(key, c.neighbour(c.Owner(key)))
}

// MoveSlotTo does what MoveSlot does, to a given server.
func (c *Cluster) MoveSlotTo(key string, to *Server) {
	c.tb.Helper()
	m := c.beginMove(key, to)
	m.moveKeys()
	id := to.ask("CLUSTER", "MYID").(string)
	for _, server := range append([]*Server{to, m.from}, c.servers...) {
		if !server.isReplica() {
			server.do("CLUSTER", "SETSLOT", strconv.Itoa(m.slot), "NODE", id)
		}
	}
}

// BeginMove starts to move the hash slot of a key and leaves the move unfinished. For missing keys,
// servers redirect single calls to the other server.
func (c *Cluster) BeginMove(key string) {
	c.tb.Helper()
	c.beginMove(key, c.neighbour(c.Owner(key)))
}

// Owner returns the server that has the hash slot of a key.
func (c *Cluster) Owner(key string) *Server {
	c.tb.Helper()
	slot := int(c.servers[0].ask("CLUSTER", "KEYSLOT", key).(int64))
	shards, err := c.servers[0].Client().ClusterShards(context.Background()).Result()
	if err != nil {
		c.tb.Fatal(err)
	}
	for _, shard := range shards {
		if slices.ContainsFunc(shard.Slots,
			func(r redis.SlotRange) bool { return int(r.Start) <= slot && slot <= int(r.End) }) {
			return c.primaryOf(shard)
		}
	}
	c.tb.Fatalf("no server has hash slot %d", slot)
	return nil
}

func (c *Cluster) primaryOf(shard redis.ClusterShard) *Server {
	c.tb.Helper()
	for _, server := range c.servers {
		for _, node := range shard.Nodes {
			if node.Role == "master" && int64(server.launch.port) == max(node.Port, node.TLSPort) {
				return server
			}
		}
	}
	c.tb.Fatalf("no server of the cluster is the primary of %+v", shard)
	return nil
}

func (c *Cluster) neighbour(server *Server) *Server {
	return c.servers[(slices.Index(c.servers, server)+1)%len(c.servers)]
}

func (c *Cluster) beginMove(key string, to *Server) *move {
	c.tb.Helper()
	m := &move{c: c, slot: int(to.ask("CLUSTER", "KEYSLOT", key).(int64)), from: c.Owner(key), to: to}
	slot := strconv.Itoa(m.slot)
	m.to.do("CLUSTER", "SETSLOT", slot, "IMPORTING", m.from.ask("CLUSTER", "MYID").(string))
	m.from.do("CLUSTER", "SETSLOT", slot, "MIGRATING", m.to.ask("CLUSTER", "MYID").(string))
	return m
}

func (m *move) moveKeys() {
	m.c.tb.Helper()
	slot := strconv.Itoa(m.slot)
	count := m.from.ask("CLUSTER", "COUNTKEYSINSLOT", slot).(int64)
	keys := m.from.ask("CLUSTER", "GETKEYSINSLOT", slot, count).([]any)
	if len(keys) == 0 {
		return
	}
	migrate := []string{
		"MIGRATE", loopback, strconv.Itoa(m.to.launch.port), "", "0", strconv.Itoa(moveTimeoutMs), "KEYS",
	}
	for _, key := range keys {
		migrate = append(migrate, key.(string))
	}
	m.from.do(migrate...)
}

func (s *Server) isReplica() bool {
	return strings.Contains(s.ask("INFO", "replication").(string), "role:slave")
}
