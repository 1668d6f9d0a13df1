// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"crypto/sha1" //nolint:gosec // shortens a name, guards nothing
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/registry"
)

const (
	// replayMargin before the last sign of life is replayed too: times in a status are whole seconds, and clocks differ.
	replayMargin = time.Minute
	// signsLookedFor is in how many slots a sign of life is looked for.
	signsLookedFor = 20
)

// replay issues again the purges that took effect since the state that came back was the present one. Where it is not
// certain that it knows them all, and where the policy is another, it invalidates the module.
func (m *Monitor) replay(ctx context.Context, policies []v1.CachePolicy, open []registry.Fence) error {
	since, err := m.lastSign(ctx, open)
	if err != nil {
		return err
	}
	loss := dataLoss{since: since}
	if !m.Journal.covers(since) {
		loss.uncovered, loss.invalidated = true, open
	} else if loss.replayed, loss.invalidated, err = m.splitByPolicy(ctx, policies, open); err != nil {
		return err
	}
	broken := registry.SlotErrors{}
	if err := broken.Take(m.link.store.Fence(ctx, loss.invalidated)); err != nil {
		return err
	}
	loss.invalidated = without(loss.invalidated, broken)
	if loss.purges, err = m.purgeAgain(ctx, loss.replayed, since); err != nil {
		return err
	}
	if err := broken.Take(m.link.store.MarkFenced(ctx, loss.replayed)); err != nil {
		return err
	}
	m.tellLoss(ctx, policies, loss)
	return broken.OrNil()
}

// lastSign returns how old the state that came back is at the most; the zero time if there is no telling.
func (m *Monitor) lastSign(ctx context.Context, open []registry.Fence) (time.Time, error) {
	latest := map[registry.Incarnation]time.Time{}
	looked := map[registry.Incarnation]int{}
	for _, fence := range open {
		looked[fence.Incarnation]++
		if looked[fence.Incarnation] > signsLookedFor {
			continue
		}
		sign, err := m.link.store.LastAlive(ctx, fence.Slot)
		if err != nil {
			return time.Time{}, err
		}
		if sign.After(latest[fence.Incarnation]) || looked[fence.Incarnation] == 1 {
			latest[fence.Incarnation] = sign
		}
	}
	var oldest time.Time
	first := true
	for _, sign := range latest {
		if sign.IsZero() {
			return time.Time{}, nil
		}
		if first || sign.Before(oldest) {
			oldest, first = sign, false
		}
	}
	return oldest, nil
}

// splitByPolicy tells the modules where the store has the policy that was in force from those where it has another, so
// that a revision may be missing, and from those that no policy governs.
func (m *Monitor) splitByPolicy(
	ctx context.Context, policies []v1.CachePolicy, open []registry.Fence,
) (same, other []registry.Fence, err error) {
	applied := map[registry.Slot]string{}
	for _, policy := range inForce(policies) {
		applied[slotOf(policy)] = policy.Status.AppliedHash
	}
	for batch := range slices.Chunk(open, hashBatch) {
		slots := make([]registry.Slot, len(batch))
		for i, fence := range batch {
			slots[i] = fence.Slot
		}
		hashes, err := m.link.store.PolicyHashes(ctx, slots)
		if err := (registry.SlotErrors{}).Take(err); err != nil { // what cannot be read is another
			return nil, nil, err
		}
		for i, fence := range batch {
			if hashes[i] != "" && hashes[i] == applied[fence.Slot] {
				same = append(same, fence)
			} else {
				other = append(other, fence)
			}
		}
	}
	return same, other, nil
}

// purgeAgain issues the purges of a time again, on the modules that they reach, and counts them. Their status stays.
func (m *Monitor) purgeAgain(ctx context.Context, fences []registry.Fence, since time.Time) (purges int, err error) {
	known, err := m.Journal.since(ctx, m.Reader, m.id, since.Add(-replayMargin))
	if err != nil {
		return 0, err
	}
	for _, purge := range known {
		again := false
		for i, target := range purge.Spec.Targets {
			for _, fence := range fences {
				if !reaches(purge.Namespace, target, fence.Slot) {
					continue
				}
				again = true
				if err := m.issueAgain(ctx, purge, i, fence); err != nil {
					return purges, err
				}
			}
		}
		if again {
			purges++
		}
	}
	return purges, nil
}

// issueAgain issues one target of a purge on a module. What is not recorded yet is first issued as itself: should its
// reconcile have to try again, it gets the answer to that, with the count.
func (m *Monitor) issueAgain(ctx context.Context, purge knownPurge, index int, fence registry.Fence) error {
	requests := []string{replayRequest(fence, purge.CacheInvalidation, index)}
	if purge.underWay {
		requests = append([]string{requestOf(purge.CacheInvalidation, index)}, requests...)
	}
	for _, request := range requests {
		_, err := m.link.store.Invalidate(ctx, fence.Slot, scopeOf(purge.Spec.Targets[index]), modeOf(purge.Spec), request)
		if err != nil && !errors.Is(err, registry.ErrRejected) {
			return err
		}
	}
	return nil
}

func reaches(namespace string, target v1.InvalidationTarget, slot registry.Slot) bool {
	return slot.Namespace == namespace && (target.Module == "" || target.Module == slot.Module)
}

// replayRequest is another request than the purge's own, whose answer the old state may remember, and the same in each
// attempt at this replay.
func replayRequest(fence registry.Fence, invalidation *v1.CacheInvalidation, index int) string {
	sum := sha1.Sum(fmt.Appendf(nil, "%s %s %d", fence.Incarnation, invalidation.UID, index)) //nolint:gosec // see the import
	return "replay/" + hex.EncodeToString(sum[:])
}
