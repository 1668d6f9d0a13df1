// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/registry/internal/fault"
)

// heartbeatRequest names what Heartbeat writes to a slot.
const heartbeatRequest = "operator/alive"

// Heartbeat writes the time to a slot of each primary, given by the incarnation that serves it. If
// a primary goes back in time, LastHeartbeat tells how far. So each is written on the connection on
// which its incarnation was checked: on an older state, it would claim that nothing was lost.
// ErrUnreachable: another incarnation serves the slot by now. SlotErrors are of slots where it was
// not written.
func (r *Registry) Heartbeat(
	ctx context.Context, slots map[Incarnation]Slot, now time.Time,
) error {
	const what = "writing a heartbeat"
	beats := make([]Fence, 0, len(slots))
	for incarnation, slot := range slots {
		beats = append(beats, Fence{Slot: slot, Incarnation: incarnation})
	}
	value := fmt.Sprintf("%d 0", now.UnixMilli())
	return r.eachPrimary(ctx, beats, func(ctx context.Context, conn *redis.Conn, current Incarnation,
		beats []*Fence,
	) error {
		if err := requireCurrent(what, current, beats); err != nil {
			return err
		}
		return onFences(ctx, conn, what, beats,
			func(pipe redis.Pipeliner, beat *Fence) *redis.StatusCmd {
				return pipe.Set(ctx, beat.requestKey(heartbeatRequest), value, fenceMemory)
			}, func(beat *Fence, reply *redis.StatusCmd) error {
				return callFailure(what, beat.Slot, reply.Err())
			})
	})
}

// LastHeartbeat returns the time of the last heartbeat in a slot; the zero time if there is none,
// or something else.
func (r *Registry) LastHeartbeat(ctx context.Context, slot Slot) (time.Time, error) {
	text, err := r.client.Get(ctx, slot.requestKey(heartbeatRequest)).Result()
	if errors.Is(err, redis.Nil) || fault.IsWrongType(err) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, callError("reading the last heartbeat", slot, err)
	}
	if ms, err := strconv.ParseInt(strings.TrimSuffix(text, " 0"), 10, 64); err == nil {
		return time.UnixMilli(ms), nil
	}
	return time.Time{}, nil
}
