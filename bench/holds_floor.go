// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !noholds

package main

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/registry"
)

// Rows of what Redis itself takes for calls like those of a hold. One function is empty. Others run
// the commands of a hold and of a release, and nothing else.
const (
	emptyCallRow       = "empty-call"
	holdCommandsRow    = "hold-commands"
	releaseCommandsRow = "release-commands"
)

// floorLibrary has these functions. Commands and sizes are those of cw_hold and cw_release for an
// entry that is cached. The index is empty, which is cheaper.
const floorLibrary = `#!lua name=bench_floor
redis.register_function('bench_empty', function() return 1 end)
redis.register_function('bench_hold', function(keys, args)
  local entry, slot, at = keys[1], args[2], args[3]
  redis.call('TIME')
  redis.call('GETRANGE', entry, '0', '83')
  redis.call('PEXPIREAT', slot .. ':h', at, 'GT')
  redis.call('MGET', slot .. ':m', slot .. ':o')
  redis.call('APPEND', slot .. ':d', '0123456789a0123456789abcdef')
  redis.call('SETRANGE', slot .. ':o', '11', '0123456789a')
  redis.call('LLEN', slot .. ':i:0')
  redis.call('LREM', slot .. ':i:0', '1', entry)
  redis.call('HGET', slot .. ':i', '0')
  redis.call('UNLINK', entry .. ':l')
  redis.call('SET', entry, args[1], 'PXAT', at)
  return {1, 0}
end)
redis.register_function('bench_release', function(keys, args)
  local entry, slot = keys[1], args[2]
  redis.call('MGET', entry, slot .. ':o')
  redis.call('APPEND', slot .. ':d', '0123456789a0123456789abcdef')
  redis.call('TIME')
  redis.call('SETRANGE', slot .. ':o', '11', '0123456789a')
  redis.call('UNLINK', entry)
  redis.call('HSTRLEN', slot .. ':policy', 'lag')
  return 1
end)`

// floor calls these functions, one at a time.
type floor struct {
	plain *redis.Client
	id    registry.HoldID
	until int64 // when marks end, in ms
}

func newFloor(ctx context.Context, plain *redis.Client) (*floor, error) {
	err := plain.FunctionLoadReplace(ctx, floorLibrary).Err()
	until := time.Now().Add(entryTTL).UnixMilli()
	return &floor{plain: plain, id: registry.NewHoldID(), until: until}, err
}

func (f *floor) call(function string) func(context.Context, int) error {
	return func(ctx context.Context, i int) error {
		const prefix = "{bench}"
		key := prefix + ":e:" + id(i)
		args := []any{string(f.id[:]), prefix, f.until, operation, ""}
		return f.plain.FCall(ctx, function, []string{key}, args...).Err()
	}
}
