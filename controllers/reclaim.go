// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"context"
	"slices"
	"time"

	"k8s.io/utils/clock"

	"github.com/cachewright/cachewright/registry"
)

const (
	// reclaimChunk is the number of keys a call reclaims; it takes Redis about a millisecond.
	reclaimChunk = 200
	// defaultReclaimSlice is how long a reconcile goes on reclaiming before it says how far it
	// came and lets others have their turn.
	defaultReclaimSlice = time.Second
	// soon is when work that is not finished goes on.
	soon = time.Millisecond
)

// reclaim gives back memory of slots, chunk by chunk and in turn, until nothing is left or the slice of time is over. It
// makes one call at least, and returns the slots that are left, those that waited longest first, and how many keys wait
// in them; -1 if it did not come to look at each of them.
func reclaim(
	ctx context.Context, store reclaimer, slots []registry.Slot, clk clock.PassiveClock, slice time.Duration,
) (left []registry.Slot, pending int64, err error) {
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
			if unseen := slots[i+1:]; len(unseen) > 0 && clk.Since(begin) >= slice {
				return slices.Concat(unseen, unfinished), -1, nil
			}
		}
		slots = unfinished
		if len(slots) == 0 || clk.Since(begin) >= slice {
			return slots, pending, nil
		}
	}
}

// distinct drops slots that were listed before, so that none is reclaimed twice in a turn.
func distinct(slots []registry.Slot) []registry.Slot {
	slices.SortFunc(slots, func(a, b registry.Slot) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Module, b.Module))
	})
	return slices.Compact(slots)
}
