// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package heads

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"
)

// readHeads returns the values of keys as MGET does, and then the short ends of logs, by their
// keys. After that, Redis reports the next change of each.
func (l *link) readHeads(
	ctx context.Context, keys, logs []string,
) (values []any, ends map[string]string, err error) {
	var heads *redis.SliceCmd
	ends, err = l.readAfter(ctx, logs, shortTail, func(ctx context.Context, pipe redis.Pipeliner) {
		heads = pipe.MGet(ctx, keys...)
	})
	if err != nil {
		return nil, nil, err
	}
	values, err = heads.Result()
	return values, ends, err
}

// readLogs returns the ends of logs, which have so many bytes, by their keys.
func (l *link) readLogs(
	ctx context.Context, keys []string, bytes int64,
) (ends map[string]string, err error) {
	return l.readAfter(ctx, keys, bytes, func(context.Context, redis.Pipeliner) {})
}

// readAfter reads the ends of logs after what first reads. A log that cannot be read tells nothing.
func (l *link) readAfter(
	ctx context.Context, keys []string, bytes int64, first func(context.Context, redis.Pipeliner),
) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, maxSilence)
	defer cancel()
	logs := make([]*redis.StringCmd, len(keys))
	_, err := l.reader.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		first(ctx, pipe)
		for i, key := range keys {
			logs[i] = pipe.GetRange(ctx, key, -bytes, -1)
		}
		return nil
	})
	if refusal := redis.Error(nil); err != nil && !errors.As(err, &refusal) {
		l.cancel(err)
		return nil, err
	}
	ends := make(map[string]string, len(keys))
	for i, key := range keys {
		ends[key] = logs[i].Val()
	}
	return ends, nil
}
