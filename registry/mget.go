// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"fmt"
	"unsafe"

	"github.com/redis/go-redis/v9"
)

// readKeys returns the values of an entry's read keys. It may write them over the keys.
func (r *Registry) readKeys(ctx context.Context, slot Slot, keys []string) ([]string, error) {
	if r.batches != nil {
		return r.batches.read(ctx, slot, keys)
	}
	return mget(ctx, r.processTogether, keys)
}

// mget returns the values of keys, empty where there is none. It is redis.Client.MGet without what that spends on
// values of any type.
func mget(ctx context.Context, process processor, keys []string) ([]string, error) {
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
		return nil, fmt.Errorf("%w: %d values of %d keys", ErrUnexpected, len(values), len(keys))
	}
	return values, nil
}

// ownBytes are those of a part of a reply that go-redis read for this call alone, without a copy.
func ownBytes(s string) []byte {
	return unsafe.Slice(unsafe.StringData(s), len(s)) //nolint:gosec // nothing else reads this part of the reply
}
