// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package redistest

import (
	"context"
	"strconv"

	"github.com/redis/go-redis/v9"
)

// moveTimeoutMs bounds the migration of a slot's keys.
const moveTimeoutMs = 10_000

// MoveSlot moves the hash slot of a key, with all that is in it, to another server of the cluster, as a
// reshard does. Clients find out by themselves.
func (c *Cluster) MoveSlot(key string) {
	c.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), clusterTimeout)
	defer cancel()
	must := func(cmd redis.Cmder) {
		c.tb.Helper()
		if err := cmd.Err(); err != nil {
			c.tb.Fatalf("moving the hash slot of %s: %v", key, err)
		}
	}
	direct := make([]*redis.Client, len(c.servers))
	for i, server := range c.servers {
		direct[i] = server.Client()
	}
	slotCmd := direct[0].ClusterKeySlot(ctx, key)
	must(slotCmd)
	slot := slotCmd.Val()
	from := int(slot) * len(c.servers) / clusterSlots
	to := (from + 1) % len(c.servers)
	source, target := direct[from].Do(ctx, "CLUSTER", "MYID"), direct[to].Do(ctx, "CLUSTER", "MYID")
	must(source)
	must(target)

	must(direct[to].Do(ctx, "CLUSTER", "SETSLOT", slot, "IMPORTING", source.Val()))
	must(direct[from].Do(ctx, "CLUSTER", "SETSLOT", slot, "MIGRATING", target.Val()))
	count := direct[from].ClusterCountKeysInSlot(ctx, int(slot))
	must(count)
	keys := direct[from].ClusterGetKeysInSlot(ctx, int(slot), int(count.Val()))
	must(keys)
	if len(keys.Val()) > 0 {
		migrate := []any{"MIGRATE", loopback, strconv.Itoa(c.servers[to].launch.port), "", 0, moveTimeoutMs, "KEYS"}
		for _, moved := range keys.Val() {
			migrate = append(migrate, moved)
		}
		must(direct[from].Do(ctx, migrate...))
	}
	for _, i := range append([]int{to, from}, others(len(direct), from, to)...) {
		must(direct[i].Do(ctx, "CLUSTER", "SETSLOT", slot, "NODE", target.Val()))
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
