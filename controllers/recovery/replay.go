// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"context"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/cachewright/cachewright/controllers/internal/convert"
	"github.com/cachewright/cachewright/controllers/internal/resource"
	"github.com/cachewright/cachewright/registry"
)

const (
	// DefaultReplayMargin is more than clocks differ.
	DefaultReplayMargin = time.Minute
	// heartbeatSlots is the number of slots of an incarnation that are searched for a heartbeat.
	heartbeatSlots = 20
	// replayBatch is about how many calls are made before their modules are marked as fenced.
	replayBatch = 1000
	// maxReplayed bounds the calls of one replay, which keep Redis busy for some seconds.
	// Invalidating modules is much less work.
	maxReplayed = 50_000
)

// replay repeats the invalidations that took effect since the state that came back was current. It
// invalidates the whole module if the journal does not cover that time, the policy is another one,
// or there are too many to repeat.
func (p *pass) replay(ctx context.Context, open []registry.Fence) error {
	since, err := p.lastHeartbeat(ctx, open)
	if err != nil {
		return err
	}
	if !since.IsZero() {
		since = since.Add(-p.ReplayMargin)
	}
	loss := dataLoss{since: since, repeated: map[types.UID]bool{}}
	var same []registry.Fence
	if !p.Journal.covers(since) {
		loss.uncovered, loss.invalidated = true, open
	} else if same, loss.invalidated, err = p.splitByPolicy(ctx, open); err != nil {
		return err
	}
	if err := p.broken.Take(p.Store.Fence(ctx, loss.invalidated)); err != nil {
		return err
	}
	loss.invalidated = without(loss.invalidated, p.broken)
	err = p.repeatAll(ctx, same, &loss)
	if err == nil {
		err = p.broken.Take(p.Store.Fence(ctx, loss.skipped))
		loss.skipped = without(loss.skipped, p.broken)
	}
	// What was done is reported in any case: the next pass finds only what is left.
	p.report(ctx, loss)
	return err
}

// lastHeartbeat returns how old the state that came back is at most; zero: that is not known.
func (p *pass) lastHeartbeat(ctx context.Context, open []registry.Fence) (time.Time, error) {
	latest := map[registry.Incarnation]time.Time{}
	asked := map[registry.Incarnation]int{}
	for _, fence := range open {
		asked[fence.Incarnation]++
		if asked[fence.Incarnation] > heartbeatSlots {
			continue
		}
		at, err := p.Store.LastHeartbeat(ctx, fence.Slot)
		if err != nil {
			return time.Time{}, err
		}
		if at.After(latest[fence.Incarnation]) || asked[fence.Incarnation] == 1 {
			latest[fence.Incarnation] = at
		}
	}
	var oldest time.Time
	first := true
	for _, at := range latest {
		if at.IsZero() {
			return time.Time{}, nil
		}
		if first || at.Before(oldest) {
			oldest, first = at, false
		}
	}
	return oldest, nil
}

// splitByPolicy separates the modules where the store has the policy that was in force. The others
// have another policy, so that a revision may be missing, or none.
func (p *pass) splitByPolicy(
	ctx context.Context, open []registry.Fence,
) (same, other []registry.Fence, err error) {
	applied := map[registry.Slot]string{}
	for _, policy := range resource.InForce(p.policies) {
		applied[convert.Slot(policy)] = policy.Status.AppliedHash
	}
	slots := make([]registry.Slot, len(open))
	for i, fence := range open {
		slots[i] = fence.Slot
	}
	hashes, err := p.Store.PolicyHashes(ctx, slots)
	if err := (registry.SlotErrors{}).Take(err); err != nil { // what cannot be read is another
		return nil, nil, err
	}
	for i, fence := range open {
		if hashes[i] != "" && hashes[i] == applied[fence.Slot] {
			same = append(same, fence)
		} else {
			other = append(other, fence)
		}
	}
	return same, other, nil
}

// repeatAll repeats the invalidations since the loss on the modules that they reach. Their status
// stays. It notes each module that is done; those for which there is no time are skipped.
func (p *pass) repeatAll(ctx context.Context, fences []registry.Fence, loss *dataLoss) error {
	known, err := p.Journal.since(ctx, p.Referrers, loss.since)
	if err != nil {
		return err
	}
	byNamespace := map[string][]effect{}
	for _, invalidation := range known {
		byNamespace[invalidation.Namespace] = append(byNamespace[invalidation.Namespace], invalidation)
	}
	began, calls := p.Clock.Now(), 0
	var next repetition
	// From the last module on: the heartbeat is in the first one, and another try has to find it.
	for _, fence := range slices.Backward(fences) {
		again := repetitionOf(fence, byNamespace[fence.Namespace])
		if calls+len(again.calls) > maxReplayed || p.Clock.Since(began) > fenceTimeout/2 {
			loss.skipped = append(loss.skipped, fence)
			continue
		}
		calls += len(again.calls)
		next.add(again)
		if len(next.calls) >= replayBatch {
			if err := p.repeat(ctx, next, loss); err != nil {
				return err
			}
			next = repetition{}
		}
	}
	return p.repeat(ctx, next, loss)
}
