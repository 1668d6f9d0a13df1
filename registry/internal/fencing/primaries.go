// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package fencing

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/registry/internal/fault"
	"github.com/cachewright/cachewright/registry/internal/info"
	"github.com/cachewright/cachewright/registry/internal/library"
	"github.com/cachewright/cachewright/registry/internal/primary"
	"github.com/cachewright/cachewright/registry/internal/sloterr"
)

// step works on a batch of fences by a connection to their primary, whose data has an incarnation.
type step func(context.Context, *redis.Conn, info.Incarnation, []*Fence) error

// eachPrimary passes each primary's slots to a step, in batches, with one connection and the
// incarnation behind it. Nobody else answers on that connection. Primaries are handled
// concurrently, so one that fails does not delay others.
func (s *Fences) eachPrimary(ctx context.Context, fences []*Fence, do step) error {
	nodes, err := s.primariesOf(ctx, fences)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var group sync.WaitGroup
	broken := sloterr.Errors{}
	for node, fences := range nodes {
		group.Go(func() {
			found := onPrimary(ctx, node, fences, do)
			mu.Lock()
			defer mu.Unlock()
			maps.Copy(broken, found)
		})
	}
	group.Wait()
	return sloterr.OfAll(broken, len(fences))
}

func onPrimary(
	ctx context.Context, node *redis.Client, fences []*Fence, do step,
) sloterr.Errors {
	conn := node.Conn()
	defer func() { _ = conn.Close() }()
	broken := sloterr.Errors{}
	var server primary.Server
	err := fault.Contain(func() (err error) {
		server, err = primary.ServerOf(ctx, conn)
		return err
	})
	for batch := range slices.Chunk(fences, fenceBatch) {
		if err == nil {
			err = broken.Take(fault.Contain(func() error {
				return do(ctx, conn, server.Incarnation, batch)
			}))
		}
		if err != nil { // the connection is no longer usable
			for _, fence := range batch {
				broken[fence.Slot] = err
			}
		}
	}
	return broken
}

func (s *Fences) primariesOf(
	ctx context.Context, fences []*Fence,
) (map[*redis.Client][]*Fence, error) {
	nodes := map[*redis.Client][]*Fence{}
	for _, fence := range fences {
		node, err := primary.Of(ctx, s.client, fence.Slot)
		if err != nil {
			return nil, err
		}
		nodes[node] = append(nodes[node], fence)
	}
	return nodes, nil
}

// onFences sends a command for each fence in one round trip, and passes the replies to receive.
func onFences[C redis.Cmder](
	ctx context.Context, conn *redis.Conn, what string, fences []*Fence,
	send func(redis.Pipeliner, *Fence) C, receive func(*Fence, C) error,
) error {
	broken, err := library.Pipelined(ctx, conn, what, fences, send, func(i int, reply C) error {
		return receive(fences[i], reply)
	})
	if err != nil {
		return err
	}
	return broken.OrNil()
}
