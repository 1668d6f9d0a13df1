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
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/registry"
)

const (
	// replayMargin before the last sign of life is replayed too: times in a status are whole seconds, and clocks differ.
	replayMargin = time.Minute
	// signsLookedFor is in how many slots a sign of life is looked for.
	signsLookedFor = 20
	// journalLen bounds the deleted purges that are remembered.
	journalLen = 10_000
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
	if err := m.link.store.Fence(ctx, loss.invalidated); err != nil {
		return err
	}
	if loss.purges, err = m.purgeAgain(ctx, loss.replayed, since); err != nil {
		return err
	}
	if err := m.link.store.MarkFenced(ctx, loss.replayed); err != nil {
		return err
	}
	m.tellLoss(ctx, policies, loss)
	return nil
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
		if err != nil {
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
	recorded, err := m.Journal.since(ctx, m.Reader, m.id, since.Add(-replayMargin))
	if err != nil {
		return 0, err
	}
	for _, invalidation := range recorded {
		again := false
		for i, target := range invalidation.Spec.Targets {
			for _, fence := range fences {
				if !reaches(invalidation.Namespace, target, fence.Slot) {
					continue
				}
				again = true
				_, err := m.link.store.Invalidate(ctx, fence.Slot, scopeOf(target), modeOf(invalidation.Spec), replayRequest(fence, invalidation, i))
				if err != nil && !errors.Is(err, registry.ErrRejected) {
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

func reaches(namespace string, target v1.InvalidationTarget, slot registry.Slot) bool {
	return slot.Namespace == namespace && (target.Module == "" || target.Module == slot.Module)
}

// replayRequest is another request than the purge's own, whose answer the old state may remember, and the same in each
// attempt at this replay.
func replayRequest(fence registry.Fence, invalidation *v1.CacheInvalidation, index int) string {
	sum := sha1.Sum(fmt.Appendf(nil, "%s %s %d", fence.Incarnation, invalidation.UID, index)) //nolint:gosec // see the import
	return "replay/" + hex.EncodeToString(sum[:])
}

// journal knows the purges that took effect: those that are recorded in CacheInvalidations, and those whose
// CacheInvalidation was deleted since the operator started.
type journal struct {
	mu      sync.Mutex
	began   time.Time
	deleted []*v1.CacheInvalidation
}

// begin says that from now on the journal is told of each deletion.
func (j *journal) begin(now time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.began = now
}

// forget is told of a CacheInvalidation that was deleted.
func (j *journal) forget(invalidation *v1.CacheInvalidation) {
	if invalidation.Status.EffectiveTime == nil || invalidation.Spec.DryRun {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.deleted) >= journalLen {
		j.began = j.deleted[0].Status.EffectiveTime.Add(time.Second)
		j.deleted = slices.Delete(j.deleted, 0, 1)
	}
	j.deleted = append(j.deleted, &v1.CacheInvalidation{
		ObjectMeta: metav1.ObjectMeta{Namespace: invalidation.Namespace, Name: invalidation.Name, UID: invalidation.UID},
		Spec:       invalidation.Spec,
		Status:     v1.CacheInvalidationStatus{EffectiveTime: invalidation.Status.EffectiveTime},
	})
}

// covers says whether all purges since a time are known.
func (j *journal) covers(since time.Time) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return !since.IsZero() && !j.began.IsZero() && !since.Before(j.began)
}

// since returns the purges of a store that took effect since a time.
func (j *journal) since(ctx context.Context, reader client.Reader, id storeID, since time.Time) ([]*v1.CacheInvalidation, error) {
	list := &v1.CacheInvalidationList{}
	if err := reader.List(ctx, list, append(ofStore(id), readOnly)...); err != nil {
		return nil, fmt.Errorf("listing purges: %w", err)
	}
	var found []*v1.CacheInvalidation
	add := func(invalidation *v1.CacheInvalidation) {
		effective := invalidation.Status.EffectiveTime
		if effective != nil && !effective.Time.Before(since) && !invalidation.Spec.DryRun {
			found = append(found, invalidation)
		}
	}
	for i := range list.Items {
		add(&list.Items[i])
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, invalidation := range j.deleted {
		if storeIDOf(invalidation.Namespace, invalidation.Spec.StoreRef) == id {
			add(invalidation)
		}
	}
	return found, nil
}
