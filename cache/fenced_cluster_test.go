// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/internal/redistest"
)

// migration moves the hash slot of module users from one node of a cluster to another.
type migration struct {
	t        *testing.T
	slot     int64
	from, to *redis.Client
	toID     string
	fromID   string
	keys     []string
	target   string
}

func newMigration(t *testing.T, cluster *redistest.Cluster) *migration {
	t.Helper()
	m := &migration{t: t}
	m.slot = cluster.Servers()[0].Client().ClusterKeySlot(t.Context(), "cw:{"+usersSlot.String()+"}").Val()
	for _, server := range cluster.Servers() {
		client := server.Client()
		id := client.ClusterMyID(t.Context()).Val()
		if keys := client.ClusterGetKeysInSlot(t.Context(), int(m.slot), 1000).Val(); len(keys) > 0 {
			m.from, m.fromID, m.keys = client, id, keys
		} else {
			m.to, m.toID, m.target = client, id, server.Addr()
		}
	}
	if m.from == nil {
		t.Fatal("no node has keys of the module")
	}
	return m
}

func (m *migration) do(client *redis.Client, args ...any) {
	m.t.Helper()
	if err := client.Do(m.t.Context(), args...).Err(); err != nil {
		m.t.Fatalf("%v: %v", args, err)
	}
}

func (m *migration) begin() {
	m.do(m.to, "CLUSTER", "SETSLOT", m.slot, "IMPORTING", m.fromID)
	m.do(m.from, "CLUSTER", "SETSLOT", m.slot, "MIGRATING", m.toID)
}

func (m *migration) finish() {
	host, port, _ := strings.Cut(m.target, ":")
	for _, key := range m.keys {
		m.do(m.from, "MIGRATE", host, port, key, 0, 5000, "REPLACE")
	}
	m.do(m.to, "CLUSTER", "SETSLOT", m.slot, "NODE", m.toID)
	m.do(m.from, "CLUSTER", "SETSLOT", m.slot, "NODE", m.toID)
}

// While a module moves, an invalidation may reach the node that does not have it yet. What it
// covered then arrives live.
func TestWhatAReshardBringsBackIsNotRead(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 2)
	applyPolicy(t, cluster.Client(), "users", hour())
	client := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: cluster.Addrs(), ContextTimeoutEnabled: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	c := newCache(t, client, cache.WithTimeout(waitTimeout))
	s := &versioned{}
	s.want(t, c, 0)
	move := newMigration(t, cluster)
	move.begin()
	s.change(t, c)
	move.finish()

	wantInRedis(t, cluster.Client(), "0")
	inspector := cluster.Client()
	NewWithT(t).Eventually(func() int64 {
		s.want(t, c, 1)
		return cachedVersion(t, inspector)
	}).WithTimeout(waitTimeout).Should(BeEquivalentTo(1), "the new node is not used")
}

// afterFirst is a hook that does something once, after the first call of a function.
type afterFirst struct {
	function string
	do       func()
	once     sync.Once
}

func (h *afterFirst) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *afterFirst) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (h *afterFirst) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if args := cmd.Args(); len(args) > 1 && args[1] == h.function {
			h.once.Do(h.do)
		}
		return err
	}
}

// A lease does not count if a slot moved meanwhile. Its load lock must not stop the next lease.
func TestTheLoadLockOfALeaseThatDoesNotCountIsGivenBack(t *testing.T) {
	cluster := redistest.StartCluster(t, 2)
	applyPolicy(t, cluster.Client(), "users", hour())
	client := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: cluster.Addrs(), ContextTimeoutEnabled: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	client.AddHook(&afterFirst{function: "cw_get", do: func() {
		_ = client.ForEachMaster(t.Context(), func(ctx context.Context, node *redis.Client) error {
			return errors.Join(node.Get(ctx, "a").Err(), node.Get(ctx, "b").Err()) // one of them moved, as it seems
		})
	}})
	c := newCache(t, client, cache.WithTimeout(waitTimeout), cache.WithLoadWait(longWait))
	began := time.Now()
	if !fetchLoaded(t, c, usersGet) {
		t.Error("nothing was loaded")
	}
	if took := time.Since(began); took > waitTimeout/4 {
		t.Errorf("it took %v: it waited for its own lock", took)
	}
}
