// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package calls

import (
	"context"
	"slices"
	"time"

	"k8s.io/utils/clock"

	"github.com/cachewright/cachewright/registry"
)

const (
	// reclaimChunk is the number of keys a call reclaims; it takes Redis about a millisecond.
	reclaimChunk = 200
	// DefaultReclaimSlice is how long a reconcile reclaims before it reports its progress and others
	// have their turn.
	DefaultReclaimSlice = time.Second
)

// Reclaim frees memory of slots, chunk by chunk and in turn, until nothing is left or the slice of
// time is over. It makes at least one call. It returns the slots that are left, those that waited
// longest first. It also returns how many keys wait in them; -1 if there was no time to ask each.
func Reclaim(
	ctx context.Context, store Reclaimer, slots []registry.Slot, clk clock.PassiveClock,
	slice time.Duration,
) (remaining []registry.Slot, pending int64, err error) {
	for begin := clk.Now(); ; {
		var unfinished []registry.Slot
		pending = 0
		for i, slot := range slots {
			reclaimed, err := store.Reclaim(ctx, slot, reclaimChunk)
			if err != nil {
				return slices.Concat(slots[i:], unfinished), 0, err
			}
			if reclaimed.Pending > 0 {
				unfinished = append(unfinished, slot)
				pending += reclaimed.Pending
			}
			if unasked := slots[i+1:]; len(unasked) > 0 && clk.Since(begin) >= slice {
				return slices.Concat(unasked, unfinished), -1, nil
			}
		}
		slots = unfinished
		if len(slots) == 0 || clk.Since(begin) >= slice {
			return slots, pending, nil
		}
	}
}
