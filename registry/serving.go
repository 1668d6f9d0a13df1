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
)

// Serving returns which incarnation served each slot when Check found this health, in the order of the slots. It asks
// no server. Empty: that is not known, as where a primary has just joined.
func (r *Registry) Serving(ctx context.Context, health Health, slots []Slot) ([]Incarnation, error) {
	serving := make([]Incarnation, len(slots))
	incarnations := make(map[string]Incarnation, len(health.Primaries))
	for _, p := range health.Primaries {
		incarnations[p.Addr] = p.Incarnation()
	}
	for i, slot := range slots {
		node, err := r.primaryOf(ctx, slot)
		if err != nil {
			return nil, err
		}
		serving[i] = incarnations[node.Options().Addr]
	}
	return serving, nil
}

// aliveRequest names what Alive leaves in a slot.
const aliveRequest = "operator/alive"

// Alive leaves a time in slots, one of each primary. Of a primary that goes back in time, LastAlive tells how far.
// SlotErrors are of slots where it could not be left.
func (r *Registry) Alive(ctx context.Context, slots []Slot, now time.Time) error {
	replies := make([]*redis.StatusCmd, len(slots))
	err := unsent(r.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, slot := range slots {
			replies[i] = pipe.Set(ctx, slot.requestKey(aliveRequest), fmt.Sprintf("%d 0", now.UnixMilli()), fenceMemory)
		}
		return nil
	}))
	if err != nil {
		return classified("leaving a sign of life", err)
	}
	broken := SlotErrors{}
	for i, slot := range slots {
		if err := replies[i].Err(); err != nil {
			broken[slot] = callError("leaving a sign of life", slot, err)
		}
	}
	return broken.of(len(slots))
}

// LastAlive returns the time that Alive left in a slot; the zero time if there is none, or something else in its place.
func (r *Registry) LastAlive(ctx context.Context, slot Slot) (time.Time, error) {
	text, err := r.client.Get(ctx, slot.requestKey(aliveRequest)).Result()
	if errors.Is(err, redis.Nil) || isWrongType(err) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, callError("looking for a sign of life", slot, err)
	}
	if ms, err := strconv.ParseInt(strings.TrimSuffix(text, " 0"), 10, 64); err == nil {
		return time.UnixMilli(ms), nil
	}
	return time.Time{}, nil
}
