// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package primary

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/registry/internal/fault"
	"github.com/cachewright/cachewright/registry/internal/info"
)

// minRedisMajor is the first Redis with functions.
const minRedisMajor = 7

// Check asks every primary about itself, in one round trip each. It returns at least one, sorted by
// address.
func Check(ctx context.Context, client redis.UniversalClient) ([]info.Primary, error) {
	var mu sync.Mutex
	var primaries []info.Primary
	err := ForEach(ctx, client, func(ctx context.Context, node *redis.Client) error {
		primary, err := Inspect(ctx, node)
		if err != nil {
			return orRejection(ctx, node, err)
		}
		mu.Lock()
		defer mu.Unlock()
		primaries = append(primaries, primary)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(primaries) == 0 {
		return nil,
			fmt.Errorf(
				"%w: no node of the cluster has hash slots: assign them, or name nodes of another cluster",
				fault.ErrUnreachable)
	}
	slices.SortFunc(primaries, func(a, b info.Primary) int { return cmp.Compare(a.Addr, b.Addr) })
	return primaries, nil
}

// Inspect returns what a node reports. It fails with ErrUnsupported if the node has no functions.
func Inspect(ctx context.Context, node *redis.Client) (info.Primary, error) {
	addr := node.Options().Addr
	var text *redis.StringCmd
	var version *redis.Cmd
	err := fault.Unsent(node.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		text = pipe.Info(ctx, "server", "replication", "memory", "stats", "persistence")
		version = pipe.FCallRO(ctx, "cw_version", nil)
		return nil
	}))
	primary := info.Primary{Addr: addr, Anonymous: true}
	if err = cmp.Or(err, text.Err()); err != nil && !fault.IsCommandUnknown(err) {
		return info.Primary{}, fault.Classify("INFO of "+addr, err)
	}
	if err == nil {
		primary = info.ParsePrimary(addr, text.Val())
		if err := requireFunctions(primary); err != nil {
			return info.Primary{}, err
		}
	}
	primary.LibraryVersion, err = versionIn(addr, version)
	return primary, err
}

func requireFunctions(p info.Primary) error {
	if p.Mode == "sentinel" {
		return fmt.Errorf("%s is a Sentinel: %w: name the server that it watches, or the mode Sentinel",
			p.Addr, fault.ErrUnsupported)
	}
	if info.Major(p.Version) >= minRedisMajor {
		return nil
	}
	return fmt.Errorf("%s runs Redis %s: %w: use Redis %d.0 or Valkey 7.2, or later",
		p.Addr, p.Version, fault.ErrUnsupported, minRedisMajor)
}

// LibraryVersion returns the version of a node's function library; 0: none.
func LibraryVersion(ctx context.Context, node *redis.Client) (int, error) {
	return versionIn(node.Options().Addr, node.FCallRO(ctx, "cw_version", nil))
}

func versionIn(addr string, reply *redis.Cmd) (int, error) {
	version, err := reply.Int()
	switch {
	case err == nil && version < 0:
		return 0, fmt.Errorf("asking %s for its function library: %w: a negative version", addr,
			fault.ErrUnexpected)
	case err == nil:
		return version, nil
	case fault.IsFunctionMissing(err):
		return 0, nil
	default:
		return 0, fault.Classify("asking "+addr+" for its function library", err)
	}
}
