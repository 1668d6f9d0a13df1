// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package respguard

import (
	"context"
	"net"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

const (
	// MaxNodes of a cluster: the maximum that Redis recommends.
	MaxNodes = 1000
	// maxClients of nodes, including those of nodes that left, which stay for a minute.
	maxClients = 2 * MaxNodes
	hashSlots  = 16384
	maxHost    = 253
	maxPort    = 65535
)

var (
	errNodes    = &Violation{"the cluster names, or redirects to, more than 1,000 nodes"}
	errTopology = &Violation{"the reply to CLUSTER SLOTS is not as Redis sends it"}
)

// WatchCluster bounds the nodes that a cluster makes its client connect to, by listing them or by
// redirections. It covers nodes that the client discovers from now on.
func WatchCluster(client *redis.ClusterClient) {
	clients := &atomic.Int64{}
	client.OnNewNode(func(node *redis.Client) {
		clients.Add(1)
		runtime.AddCleanup(node, func(clients *atomic.Int64) { clients.Add(-1) }, clients)
		node.AddHook(&nodeHook{addr: node.Options().Addr, clients: clients})
	})
}

// nodeHook is a hook of the client of one node.
type nodeHook struct {
	addr    string
	clients *atomic.Int64
}

// DialHook implements redis.Hook.
func (*nodeHook) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook implements redis.Hook. CLUSTER SLOTS always passes: a correct reply removes nodes
// that left.
func (h *nodeHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if slots, ok := cmd.(*redis.ClusterSlotsCmd); ok {
			return h.readSlots(ctx, slots, next)
		}
		if h.clients.Load() > maxClients {
			cmd.SetErr(errNodes)
			return errNodes
		}
		return next(ctx, cmd)
	}
}

// ProcessPipelineHook implements redis.Hook.
func (h *nodeHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if h.clients.Load() <= maxClients {
			return next(ctx, cmds)
		}
		for _, cmd := range cmds {
			cmd.SetErr(errNodes)
		}
		return errNodes
	}
}

// readSlots decodes the reply in place of the client: within bounds, and if hosts are missing.
func (h *nodeHook) readSlots(
	ctx context.Context, cmd *redis.ClusterSlotsCmd, next redis.ProcessHook,
) error {
	raw := redis.NewCmd(ctx, cmd.Args()...)
	if err := next(ctx, raw); err != nil {
		cmd.SetErr(err)
		return err
	}
	slots, violation := parseSlots(raw.Val(), h.addr)
	if violation != nil {
		cmd.SetErr(violation)
		return violation
	}
	cmd.SetVal(slots)
	return nil
}

// parseSlots parses the reply of a node at origin to CLUSTER SLOTS.
func parseSlots(reply any, origin string) ([]redis.ClusterSlot, *Violation) {
	ranges, ok := reply.([]any)
	if !ok || len(ranges) > hashSlots {
		return nil, errTopology
	}
	originHost, _, _ := net.SplitHostPort(origin)
	slots := make([]redis.ClusterSlot, 0, len(ranges))
	known := map[string]struct{}{}
	for _, one := range ranges {
		slot, ok := parseRange(one, originHost)
		if !ok {
			return nil, errTopology
		}
		for _, node := range slot.Nodes {
			known[node.Addr] = struct{}{}
		}
		if len(known) > MaxNodes {
			return nil, errNodes
		}
		slots = append(slots, slot)
	}
	return slots, nil
}

func parseRange(one any, originHost string) (slot redis.ClusterSlot, ok bool) {
	fields, _ := one.([]any)
	if len(fields) < 3 || len(fields) > 2+MaxNodes {
		return slot, false
	}
	first, isFirst := fields[0].(int64)
	last, isLast := fields[1].(int64)
	if !isFirst || !isLast || first < 0 || last < first || last >= hashSlots {
		return slot, false
	}
	slot.Start, slot.End = int(first), int(last)
	for _, field := range fields[2:] {
		node, ok := parseNode(field, originHost)
		if !ok {
			return slot, false
		}
		slot.Nodes = append(slot.Nodes, node)
	}
	return slot, true
}

// parseNode parses host, port and id. The host of a node that does not know its own is that of the
// origin.
func parseNode(field any, originHost string) (node redis.ClusterNode, ok bool) {
	fields, _ := field.([]any)
	if len(fields) < 2 {
		return node, false
	}
	host, isText := fields[0].(string)
	if fields[0] != nil && !isText || !IsHost(host) && host != "" {
		return node, false
	}
	if host == "" {
		host = originHost
	}
	port, isNumber := fields[1].(int64)
	if !isNumber || port < 0 || port > maxPort {
		return node, false
	}
	node.Addr = net.JoinHostPort(host, strconv.FormatInt(port, 10))
	if len(fields) > 2 {
		node.ID, _ = fields[2].(string)
	}
	return node, true
}

// IsHost says whether a text may be the name or address of a host, and so may be dialed and
// printed.
func IsHost(text string) bool {
	return text != "" && len(text) <= maxHost && strings.IndexFunc(text, notInHost) < 0
}

func notInHost(c rune) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return false
	default:
		return !strings.ContainsRune(".-_:%?", c)
	}
}
