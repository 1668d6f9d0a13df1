// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package mget reads keys of one slot, if it may together with those of other readers.
package mget

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/registry/internal/fault"
)

// Get returns the values of keys, empty for those that are missing. It is redis.Client.MGet without
// the overhead of values of any type.
func Get(
	ctx context.Context, process func(context.Context, redis.Cmder) error, keys []string,
) ([]string, error) {
	args := make([]any, 1+len(keys))
	args[0] = "mget"
	for i, key := range keys {
		args[1+i] = key
	}
	cmd := redis.NewStringSliceCmd(ctx, args...)
	if err := process(ctx, cmd); err != nil {
		return nil, err
	}
	values := cmd.Val()
	if len(values) != len(keys) {
		return nil, fmt.Errorf("%w: %d values of %d keys", fault.ErrUnexpected, len(values), len(keys))
	}
	return values, nil
}
