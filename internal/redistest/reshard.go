// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package redistest

import (
	"context"
	"strconv"
	"testing"

	"github.com/redis/go-redis/v9"
)

// moveTimeoutMs bounds the migration of a slot's keys.
const moveTimeoutMs = 10_000

// move is of a hash slot, from one server to another.
type move struct {
	tb       testing.TB
	direct   []*redis.Client
	slot     int
	from, to int
	toID     string
}

// MoveSlot moves the hash slot of a key, with all that is in it, to another server of the cluster, as a
// reshard does. Clients find out by themselves.
func (c *Cluster) MoveSlot(key string) {
	c.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), clusterTimeout)
	defer cancel()
	m := c.beginMove(ctx, key)
	m.moveKeys(ctx, c.servers[m.to].launch.port)
	for _, i := range append([]int{m.to, m.from}, others(len(m.direct), m.from, m.to)...) {
		m.must(m.direct[i].Do(ctx, "CLUSTER", "SETSLOT", m.slot, "NODE", m.toID))
	}
}

// BeginMove is MoveSlot that got stuck: clients are sent to the other server, one call at a time, for what is not where it was.
func (c *Cluster) BeginMove(key string) {
	c.tb.Helper()
	c.beginMove(context.Background(), key)
}

func (c *Cluster) beginMove(ctx context.Context, key string) *move {
	c.tb.Helper()
	m := &move{tb: c.tb, direct: make([]*redis.Client, len(c.servers))}
	for i, server := range c.servers {
		m.direct[i] = server.Client()
	}
	slot := m.direct[0].ClusterKeySlot(ctx, key)
	m.must(slot)
	m.slot = int(slot.Val())
	m.from = m.slot * len(c.servers) / clusterSlots
	m.to = (m.from + 1) % len(c.servers)
	source, target := m.direct[m.from].ClusterMyID(ctx), m.direct[m.to].ClusterMyID(ctx)
	m.must(source)
	m.must(target)
	m.toID = target.Val()
	m.must(m.direct[m.to].Do(ctx, "CLUSTER", "SETSLOT", m.slot, "IMPORTING", source.Val()))
	m.must(m.direct[m.from].Do(ctx, "CLUSTER", "SETSLOT", m.slot, "MIGRATING", m.toID))
	return m
}

func (m *move) moveKeys(ctx context.Context, port int) {
	m.tb.Helper()
	count := m.direct[m.from].ClusterCountKeysInSlot(ctx, m.slot)
	m.must(count)
	keys := m.direct[m.from].ClusterGetKeysInSlot(ctx, m.slot, int(count.Val()))
	m.must(keys)
	if len(keys.Val()) == 0 {
		return
	}
	migrate := []any{"MIGRATE", loopback, strconv.Itoa(port), "", 0, moveTimeoutMs, "KEYS"}
	for _, key := range keys.Val() {
		migrate = append(migrate, key)
	}
	m.must(m.direct[m.from].Do(ctx, migrate...))
}

func (m *move) must(cmd redis.Cmder) {
	m.tb.Helper()
	if err := cmd.Err(); err != nil {
		m.tb.Fatalf("moving hash slot %d: %v", m.slot, err)
	}
}

func others(n, from, to int) (indexes []int) {
	for i := range n {
		if i != from && i != to {
			indexes = append(indexes, i)
		}
	}
	return indexes
}
