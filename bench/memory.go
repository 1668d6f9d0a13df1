// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// indexBytes returns the bytes that the server keeps for each entry beside the entry itself. It
// measures the memory that is freed when everything but the entries is deleted.
func indexBytes(
	ctx context.Context, client *redis.Client, isEntry func(key string) bool, entries int,
) (float64, error) {
	before, err := usedMemory(ctx, client)
	if err != nil {
		return 0, err
	}
	scan := client.Scan(ctx, 0, "*", 1000).Iterator()
	var others []string
	for scan.Next(ctx) {
		if !isEntry(scan.Val()) {
			others = append(others, scan.Val())
		}
	}
	if err := scan.Err(); err != nil {
		return 0, err
	}
	if err := client.Del(ctx, others...).Err(); err != nil {
		return 0, fmt.Errorf("deleting %d keys that are no entries: %w", len(others), err)
	}
	after, err := usedMemory(ctx, client)
	return (before - after) / float64(entries), err
}

func isOurEntry(key string) bool   { return strings.Contains(key, "}:e:") }
func isPlainEntry(key string) bool { return strings.HasPrefix(key, plainKey("")) }

func usedMemory(ctx context.Context, client *redis.Client) (float64, error) {
	info := client.InfoMap(ctx, "memory")
	if err := info.Err(); err != nil {
		return 0, err
	}
	return strconv.ParseFloat(info.Item("Memory", "used_memory"), 64)
}

// indexBytes restores the server, measures, and leaves the server without its index.
func (f *filled) indexBytes(
	ctx context.Context, p purger, isEntry func(string) bool, entries int,
) (float64, error) {
	client, err := f.restore(ctx, p)
	if err != nil {
		return 0, err
	}
	return indexBytes(ctx, client, isEntry, entries)
}

// bytesInAll returns the memory that a freshly filled server uses for each entry, payload included.
func bytesInAll(
	ctx context.Context, l *lab, fill func(*redis.Client) error, entries int,
) (float64, error) {
	client, err := l.freshClient(ctx)
	if err != nil {
		return 0, err
	}
	// Open all connections first, because their buffers count as memory, too.
	if err := spread(maxGoroutines, func(int) error { return client.Ping(ctx).Err() }); err != nil {
		return 0, err
	}
	before, err := usedMemory(ctx, client)
	if err != nil {
		return 0, err
	}
	if err := fill(client); err != nil {
		return 0, err
	}
	after, err := usedMemory(ctx, client)
	return (after - before) / float64(entries), err
}
