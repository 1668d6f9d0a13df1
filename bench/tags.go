// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// Tag protocols, command by command as their libraries send them.

// gocacheSet does what SetWithTags does in the Redis store of eko/gocache.
func gocacheSet(
	ctx context.Context, c redis.Cmdable, key string, value []byte, tags []string,
) error {
	if err := c.Set(ctx, key, value, entryTTL).Err(); err != nil {
		return err
	}
	for _, tag := range tags {
		c.SAdd(ctx, gocacheTag(tag), key)
		if err := c.Expire(ctx, gocacheTag(tag), 720*time.Hour).Err(); err != nil {
			return err
		}
	}
	return nil
}

func gocacheTag(tag string) string { return "gocache_tag_" + tag }

// gocachePurge reads the whole set, then deletes the keys one by one.
func gocachePurge(ctx context.Context, client *redis.Client, tag string) error {
	keys, err := client.SMembers(ctx, gocacheTag(tag)).Result()
	if err != nil {
		return err
	}
	for _, key := range keys {
		if err := client.Del(ctx, key).Err(); err != nil {
			return err
		}
	}
	return client.Del(ctx, gocacheTag(tag)).Err()
}

// laravelSet does what a put into the tagged cache of Laravel does: it adds to the tags first,
// scored by expiry.
func laravelSet(
	ctx context.Context, c redis.Cmdable, key string, value []byte, tags []string,
) error {
	expiry := float64(time.Now().Add(entryTTL).Unix())
	for _, tag := range tags {
		if err := c.ZAdd(ctx, laravelTag(tag), redis.Z{Score: expiry, Member: key}).Err(); err != nil {
			return err
		}
	}
	return c.SetEx(ctx, key, value, entryTTL).Err()
}

func laravelTag(tag string) string { return "tag:" + tag + ":entries" }

// laravelPurge deletes the set's members in batches of a thousand.
func laravelPurge(ctx context.Context, client *redis.Client, tag string) error {
	cursor := uint64(0)
	for {
		found, next, err := client.ZScan(ctx, laravelTag(tag), cursor, "*", 1000).Result()
		if err != nil {
			return err
		}
		if err := laravelDelete(ctx, client, tag, found); err != nil || next == 0 {
			return err
		}
		cursor = next
	}
}

// laravelDelete takes a list that alternates members and scores.
func laravelDelete(ctx context.Context, client *redis.Client, tag string, found []string) error {
	if len(found) == 0 {
		return nil
	}
	keys, members := make([]string, 0, len(found)/2), make([]any, 0, len(found)/2)
	for i := 0; i < len(found); i += 2 {
		keys, members = append(keys, found[i]), append(members, found[i])
	}
	if err := client.Del(ctx, keys...).Err(); err != nil {
		return err
	}
	return client.ZRem(ctx, laravelTag(tag), members...).Err()
}

// luaPurge deletes the members of a tag's set in one script.
var luaPurge = redis.NewScript(`
local keys = redis.call('SMEMBERS', KEYS[1])
for i = 1, #keys, 5000 do
  redis.call('UNLINK', unpack(keys, i, math.min(i + 4999, #keys)))
end
redis.call('UNLINK', KEYS[1])
return #keys`)
