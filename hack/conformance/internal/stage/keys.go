// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package stage

import (
	"context"
	"fmt"
	"sync"

	"github.com/redis/go-redis/v9"
)

// perScan is how many keys a server looks at in one call.
const perScan = 1000

// Keys returns all keys that begin with a text, which has no wildcards.
func (s *Stage) Keys(ctx context.Context, beginning string) ([]string, error) {
	var mu sync.Mutex
	var keys []string
	err := s.eachPrimary(ctx, func(ctx context.Context, node redis.Cmdable) error {
		scan := node.Scan(ctx, 0, beginning+"*", perScan).Iterator()
		for scan.Next(ctx) {
			mu.Lock()
			keys = append(keys, scan.Val())
			mu.Unlock()
		}
		return scan.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("listing keys: %w", err)
	}
	return keys, nil
}

// Clear deletes all keys that begin with a text.
func (s *Stage) Clear(ctx context.Context, beginning string) error {
	keys, err := s.Keys(ctx, beginning)
	if err != nil {
		return err
	}
	for _, key := range keys {
		if err := s.Client.Del(ctx, key).Err(); err != nil {
			return fmt.Errorf("deleting %s: %w", key, err)
		}
	}
	return nil
}

// Snapshot returns the content of all keys that begin with a text.
func (s *Stage) Snapshot(ctx context.Context, beginning string) (map[string]string, error) {
	keys, err := s.Keys(ctx, beginning)
	if err != nil {
		return nil, err
	}
	content := map[string]string{}
	for _, key := range keys {
		if content[key], err = s.Client.Dump(ctx, key).Result(); err != nil {
			return nil, fmt.Errorf("reading %s: %w", key, err)
		}
	}
	return content, nil
}

// Configure sets a directive on all servers.
func (s *Stage) Configure(ctx context.Context, directive, value string) error {
	return s.eachPrimary(ctx, func(ctx context.Context, node redis.Cmdable) error {
		return node.ConfigSet(ctx, directive, value).Err()
	})
}

func (s *Stage) eachPrimary(
	ctx context.Context, do func(context.Context, redis.Cmdable) error,
) error {
	if cluster, ok := s.Client.(*redis.ClusterClient); ok {
		return cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
			return do(ctx, node)
		})
	}
	return do(ctx, s.Client)
}
