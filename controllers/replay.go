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

	"k8s.io/apimachinery/pkg/types"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/registry"
)

const (
	// defaultReplayMargin is more than clocks differ.
	defaultReplayMargin = time.Minute
	// signsLookedFor is in how many slots a sign of life is looked for.
	signsLookedFor = 20
	// repeatedAtOnce is about how many calls are made before the modules that they are for are marked.
	repeatedAtOnce = 1000
	// maxRepeated bounds the calls of one replay: Redis is busy with them for some seconds. Invalidating modules is much less.
	maxRepeated = 50_000
)

// replay issues again the purges that took effect since the state that came back was the present one. Where it is not
// certain that it knows them all, where the policy is another, and where it cannot be done in time, it invalidates the module.
func (m *Monitor) replay(ctx context.Context, policies []v1.CachePolicy, open []registry.Fence) error {
	since, err := m.lastSign(ctx, open)
	if err != nil {
		return err
	}
	if !since.IsZero() {
		since = since.Add(-m.ReplayMargin)
	}
	loss := dataLoss{since: since, purges: map[types.UID]bool{}}
	var same []registry.Fence
	if !m.Journal.covers(since) {
		loss.uncovered, loss.invalidated = true, open
	} else if same, loss.invalidated, err = m.splitByPolicy(ctx, policies, open); err != nil {
		return err
	}
	broken := registry.SlotErrors{}
	if err := broken.Take(m.link.store.Fence(ctx, loss.invalidated)); err != nil {
		return err
	}
	loss.invalidated = without(loss.invalidated, broken)
	err = m.purgeAgain(ctx, same, &loss, broken)
	if err == nil {
		err = broken.Take(m.link.store.Fence(ctx, loss.overdue))
		loss.overdue = without(loss.overdue, broken)
	}
	// What was done is told in any case: the next try finds only what is left.
	m.tellLoss(ctx, policies, loss)
	if err != nil {
		return err
	}
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

// purgeAgain issues the purges since the loss again, on the modules that they reach; their status stays. It takes note of each
// module that is done. Those for which there is no time are overdue.
func (m *Monitor) purgeAgain(ctx context.Context, fences []registry.Fence, loss *dataLoss, broken registry.SlotErrors) error {
	known, err := m.Journal.since(ctx, m.Reader, m.id, loss.since)
	if err != nil {
		return err
	}
	purges := map[string][]knownPurge{}
	for _, purge := range known {
		purges[purge.Namespace] = append(purges[purge.Namespace], purge)
	}
	began, calls := m.Clock.Now(), 0
	var next repetition
	// From the last on: the sign of life is in the first one, and must be found if this is to be tried again.
	for _, fence := range slices.Backward(fences) {
		again := repetitionOf(fence, purges[fence.Namespace])
		if calls+len(again.calls) > maxRepeated || m.Clock.Since(began) > fenceTimeout/2 {
			loss.overdue = append(loss.overdue, fence)
			continue
		}
		calls += len(again.calls)
		next.add(again)
		if len(next.calls) >= repeatedAtOnce {
			if err := m.repeat(ctx, next, loss, broken); err != nil {
				return err
			}
			next = repetition{}
		}
	}
	return m.repeat(ctx, next, loss, broken)
}

// repetition is what is to be issued again on some modules.
type repetition struct {
	fences []registry.Fence
	calls  []registry.Invalidation
	purges []types.UID
}

func (r *repetition) add(other repetition) {
	r.fences = append(r.fences, other.fences...)
	r.calls = append(r.calls, other.calls...)
	r.purges = append(r.purges, other.purges...)
}

// repetitionOf lists what is to be issued again on one module.
func repetitionOf(fence registry.Fence, purges []knownPurge) repetition {
	again := repetition{fences: []registry.Fence{fence}}
	for _, purge := range purges {
		before := len(again.calls)
		for i, target := range purge.Spec.Targets {
			if purge.includes(i) && reaches(purge.Namespace, target, fence.Slot) {
				again.calls = append(again.calls, callsAgain(purge, i, fence)...)
			}
		}
		if len(again.calls) > before {
			again.purges = append(again.purges, purge.UID)
		}
	}
	return again
}

// callsAgain issue one target of a purge on a module. What is not recorded yet is first issued as itself: should its
// reconcile have to try again, it gets the answer to that, with the count.
func callsAgain(purge knownPurge, index int, fence registry.Fence) []registry.Invalidation {
	call := registry.Invalidation{
		Slot: fence.Slot, Scope: scopeOf(purge.Spec.Targets[index]), Mode: modeOf(purge.Spec),
		RequestID: replayRequest(fence, purge.CacheInvalidation, index),
	}
	if !purge.underWay {
		return []registry.Invalidation{call}
	}
	itself := call
	itself.RequestID = requestOf(purge.CacheInvalidation, index)
	return []registry.Invalidation{itself, call}
}

// repeat issues purges again, in few round trips, and puts in place the fences of the modules where all are in effect. The
// others are broken, and hold up none.
func (m *Monitor) repeat(ctx context.Context, again repetition, loss *dataLoss, broken registry.SlotErrors) error {
	if len(again.fences) == 0 {
		return nil
	}
	for i, result := range m.link.store.InvalidateMany(ctx, again.calls) {
		// What the library refuses it refused the first time, too.
		if result.Err != nil && !errors.Is(result.Err, registry.ErrRejected) {
			broken[again.calls[i].Slot] = result.Err
		}
	}
	if err := broken.Take(m.link.store.MarkFenced(ctx, without(again.fences, broken))); err != nil {
		return err
	}
	loss.replayed = append(loss.replayed, without(again.fences, broken)...)
	for _, purge := range again.purges {
		loss.purges[purge] = true
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
