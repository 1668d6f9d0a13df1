// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package respguard

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"
)

// Redirections have go-redis keep a client for each node that they name, for as long as no list of
// nodes is read.
func TestClusterThatNamedTooManyNodesIsAskedForItsNodesOnly(t *testing.T) {
	h := &nodeHook{addr: "127.0.0.1:7000", clients: &atomic.Int64{}}
	h.clients.Store(maxClients + 1)
	sent := 0
	send := h.ProcessHook(func(_ context.Context, cmd redis.Cmder) error {
		sent++
		if raw, ok := cmd.(*redis.Cmd); ok {
			raw.SetVal([]any{[]any{int64(0), int64(16383), []any{nil, int64(7001)}}})
		}
		return nil
	})
	if err := send(t.Context(), redis.NewCmd(t.Context(), "get", "a")); !errors.Is(err, errNodes) || sent != 0 {
		t.Errorf("a command: %v, sent %d times", err, sent)
	}
	pipe := h.ProcessPipelineHook(func(context.Context, []redis.Cmder) error { sent++; return nil })
	cmd := redis.NewCmd(t.Context(), "get", "a")
	if err := pipe(t.Context(), []redis.Cmder{cmd}); !errors.Is(err, errNodes) || !errors.Is(cmd.Err(), errNodes) || sent != 0 {
		t.Errorf("a pipeline: %v, %v, sent %d times", err, cmd.Err(), sent)
	}
	slots := redis.NewClusterSlotsCmd(t.Context(), "cluster", "slots")
	if err := send(t.Context(), slots); err != nil || slots.Err() != nil || sent != 1 {
		t.Fatalf("CLUSTER SLOTS: %v, %v, sent %d times", err, slots.Err(), sent)
	}
	// A node that does not know its host is where it was asked.
	if nodes := slots.Val()[0].Nodes; len(nodes) != 1 || nodes[0].Addr != "127.0.0.1:7001" {
		t.Errorf("%v", nodes)
	}
}

// FuzzSlots has nothing break, whatever a node says of the others.
func FuzzSlots(f *testing.F) {
	f.Add("127.0.0.1", int64(0), int64(16383), int64(7000))
	f.Add("", int64(-1), int64(1<<40), int64(-1))
	f.Add("a\x00b", int64(5), int64(4), int64(70000))
	f.Fuzz(func(t *testing.T, host string, first, last, port int64) {
		slots, violation := parseSlots([]any{[]any{first, last, []any{host, port}}}, "127.0.0.1:6379")
		if violation != nil {
			return
		}
		slot := slots[0]
		if slot.Start < 0 || slot.End < slot.Start || slot.End >= hashSlots || slot.Nodes[0].Addr == "" {
			t.Errorf("%+v", slot)
		}
	})
}
