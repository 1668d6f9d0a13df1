// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package fencing

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/registry/internal/fault"
	"github.com/cachewright/cachewright/registry/internal/info"
	"github.com/cachewright/cachewright/registry/internal/keyspace"
	"github.com/cachewright/cachewright/registry/internal/sloterr"
)

// heartbeatRequest names what Heartbeat writes to a slot.
const heartbeatRequest = "operator/alive"

// Heartbeat writes the time to slots, given by the incarnation that serves each.
func (s *Fences) Heartbeat(
	ctx context.Context, slots map[info.Incarnation]keyspace.Slot, now time.Time,
) error {
	const what = "writing a heartbeat"
	beats := make([]*Fence, 0, len(slots))
	for incarnation, slot := range slots {
		beats = append(beats, &Fence{Slot: slot, Incarnation: incarnation})
	}
	value := fmt.Sprintf("%d 0", now.UnixMilli())
	return s.eachPrimary(ctx, beats, func(ctx context.Context, conn *redis.Conn,
		current info.Incarnation, beats []*Fence,
	) error {
		if err := requireCurrent(what, current, beats); err != nil {
			return err
		}
		return onFences(ctx, conn, what, beats,
			func(pipe redis.Pipeliner, beat *Fence) *redis.StatusCmd {
				return pipe.Set(ctx, keyspace.RequestKey(beat.Slot, heartbeatRequest), value, fenceMemory)
			}, func(beat *Fence, reply *redis.StatusCmd) error {
				return sloterr.Failure(what, beat.Slot, reply.Err())
			})
	})
}

// LastHeartbeat returns the time of the last heartbeat in a slot; the zero time if there is none,
// or something else.
func (s *Fences) LastHeartbeat(ctx context.Context, slot keyspace.Slot) (time.Time, error) {
	text, err := s.client.Get(ctx, keyspace.RequestKey(slot, heartbeatRequest)).Result()
	if errors.Is(err, redis.Nil) || fault.IsWrongType(err) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, sloterr.Call("reading the last heartbeat", slot, err)
	}
	if ms, err := strconv.ParseInt(strings.TrimSuffix(text, " 0"), 10, 64); err == nil {
		return time.UnixMilli(ms), nil
	}
	return time.Time{}, nil
}
