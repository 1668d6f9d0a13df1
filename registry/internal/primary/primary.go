// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package primary finds the primaries of a Redis, and asks each of them about itself.
package primary

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/registry/internal/fault"
	"github.com/cachewright/cachewright/registry/internal/keyspace"
	"github.com/cachewright/cachewright/registry/internal/sloterr"
)

// ForEach runs do on every primary, concurrently in a cluster. A panic becomes an error: in a
// cluster it would be in a goroutine of go-redis, where no caller can recover it.
func ForEach(
	ctx context.Context, client redis.UniversalClient, do func(context.Context, *redis.Client) error,
) error {
	fn := func(ctx context.Context, node *redis.Client) error {
		return fault.Contain(func() error { return do(ctx, node) })
	}
	switch client := client.(type) {
	case *redis.ClusterClient:
		// The client does not know a restarted or new node until it reads the topology again.
		client.ReloadState(ctx)
		err := client.ForEachMaster(ctx, fn)
		if errors.Is(err, redis.Nil) { // in place of a host
			return fmt.Errorf("%w: CLUSTER SLOTS names nodes without hosts", fault.ErrUnexpected)
		}
		if err != nil {
			return fmt.Errorf("on a primary of the cluster: %w", fault.EnsureClassified(err))
		}
		return nil
	case *redis.Client:
		return fn(ctx, client)
	default:
		return unsupportedClient(client)
	}
}

// Of returns the primary that has a slot.
func Of(
	ctx context.Context, client redis.UniversalClient, slot keyspace.Slot,
) (*redis.Client, error) {
	switch client := client.(type) {
	case *redis.ClusterClient:
		node, err := client.MasterForKey(ctx, keyspace.SlotKey(slot))
		if err != nil {
			return nil, sloterr.Call("finding the primary", slot, err)
		}
		return node, nil
	case *redis.Client:
		return client, nil
	default:
		return nil, unsupportedClient(client)
	}
}

func unsupportedClient(client redis.UniversalClient) error {
	return fmt.Errorf("%w: a client of type %T: use redis.Client or redis.ClusterClient",
		fault.ErrUnsupported, client)
}
