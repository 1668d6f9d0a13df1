// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
)

// journalLen bounds the deleted purges that are remembered.
const journalLen = 10_000

// journal knows the purges that took effect: those that are recorded in CacheInvalidations, those that this operator may
// have made take effect while nothing is recorded yet, and those whose CacheInvalidation was deleted since it started.
type journal struct {
	mu       sync.Mutex
	began    time.Time
	underWay map[client.ObjectKey]*v1.CacheInvalidation
	deleted  []*v1.CacheInvalidation // by the time when they took effect
}

// knownPurge is one that took effect or, where it is under way, may have.
type knownPurge struct {
	*v1.CacheInvalidation
	underWay bool
}

func newJournal() *journal {
	return &journal{underWay: map[client.ObjectKey]*v1.CacheInvalidation{}}
}

// begin says that from now on the journal is told of each deletion.
func (j *journal) begin(now time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.began = now
}

// enter is told of a purge before the store is. Until it is seen to be recorded nobody else knows whether it took effect.
func (j *journal) enter(invalidation *v1.CacheInvalidation, now time.Time) {
	if invalidation.Spec.DryRun {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.underWay[client.ObjectKeyFromObject(invalidation)] = asOf(invalidation, metav1.NewMicroTime(now))
}

// record is told of what the cache shows of a purge by now.
func (j *journal) record(invalidation *v1.CacheInvalidation) {
	if invalidation.Status.EffectiveTime == nil && !finished(invalidation) {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.leave(invalidation)
}

// leave returns what was known of a purge that was under way. Another of the same name stays.
func (j *journal) leave(invalidation *v1.CacheInvalidation) *v1.CacheInvalidation {
	key := client.ObjectKeyFromObject(invalidation)
	entered := j.underWay[key]
	if entered == nil || entered.UID != invalidation.UID {
		return nil
	}
	delete(j.underWay, key)
	return entered
}

// forget is told of a CacheInvalidation that was deleted. Its last version may not have been seen.
func (j *journal) forget(invalidation *v1.CacheInvalidation) {
	j.mu.Lock()
	defer j.mu.Unlock()
	entered := j.leave(invalidation)
	switch {
	case invalidation.Spec.DryRun:
		return
	case recordedEffect(invalidation) != nil:
		entered = recordedEffect(invalidation)
	case entered == nil:
		entered = partialEffect(invalidation, metav1.NowMicro())
	}
	if entered == nil {
		return
	}
	j.keep(entered)
}

// keep remembers a purge whose resource is no more; where there are too many, it forgets the one that took effect first,
// and knows from when on it forgot none.
func (j *journal) keep(purge *v1.CacheInvalidation) {
	at, _ := slices.BinarySearchFunc(j.deleted, purge, func(kept, purge *v1.CacheInvalidation) int {
		return cmp.Or(kept.Status.EffectiveTime.Compare(purge.Status.EffectiveTime.Time), -1) // after those of the same time
	})
	j.deleted = slices.Insert(j.deleted, at, purge)
	if len(j.deleted) <= journalLen {
		return
	}
	if forgotten := j.deleted[0].Status.EffectiveTime.Add(time.Second); forgotten.After(j.began) {
		j.began = forgotten
	}
	j.deleted = slices.Delete(j.deleted, 0, 1)
}

// gone is told that there is no purge of that name: it may have been entered after its deletion was told.
func (j *journal) gone(key client.ObjectKey) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.underWay, key)
}

// asOf keeps of a purge what it takes to issue it again.
func asOf(invalidation *v1.CacheInvalidation, effective metav1.MicroTime) *v1.CacheInvalidation {
	return &v1.CacheInvalidation{
		ObjectMeta: metav1.ObjectMeta{Namespace: invalidation.Namespace, Name: invalidation.Name, UID: invalidation.UID},
		Spec:       invalidation.Spec,
		Status:     v1.CacheInvalidationStatus{EffectiveTime: &effective},
	}
}

// covers says whether all purges since a time are known.
func (j *journal) covers(since time.Time) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return !since.IsZero() && !j.began.IsZero() && !since.Before(j.began)
}

// since returns the purges of a store that took effect since a time, and those that are under way.
func (j *journal) since(ctx context.Context, reader client.Reader, id storeID, since time.Time) ([]knownPurge, error) {
	// Before the cache is asked: one that is recorded meanwhile is in both.
	known := j.underWayIn(id)
	list := &v1.CacheInvalidationList{}
	if err := reader.List(ctx, list, append(ofStore(id), readOnly)...); err != nil {
		return nil, fmt.Errorf("listing purges: %w", err)
	}
	for i := range list.Items {
		key := client.ObjectKeyFromObject(&list.Items[i])
		recorded := recordedEffect(&list.Items[i])
		if recorded != nil && tookEffect(recorded, since) {
			known[key] = knownPurge{CacheInvalidation: recorded}
		}
		if _, entered := known[key]; recorded == nil && !entered {
			// No attempt of this operator, but one of a predecessor may have made some targets take effect.
			if part := partialEffect(&list.Items[i], metav1.NowMicro()); part != nil {
				known[key] = knownPurge{part, true}
			}
		}
	}
	found := slices.Collect(maps.Values(known))
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, invalidation := range j.deleted {
		if storeIDOf(invalidation.Namespace, invalidation.Spec.StoreRef) == id && tookEffect(invalidation, since) {
			found = append(found, knownPurge{CacheInvalidation: invalidation})
		}
	}
	return found, nil
}

func (j *journal) underWayIn(id storeID) map[client.ObjectKey]knownPurge {
	j.mu.Lock()
	defer j.mu.Unlock()
	found := map[client.ObjectKey]knownPurge{}
	for key, invalidation := range j.underWay {
		if storeIDOf(invalidation.Namespace, invalidation.Spec.StoreRef) == id {
			found[key] = knownPurge{invalidation, true}
		}
	}
	return found
}

func tookEffect(invalidation *v1.CacheInvalidation, since time.Time) bool {
	return !invalidation.Status.EffectiveTime.Time.Before(since)
}

// recordedEffect returns a purge as far as its status says that it took effect, when it did; nil: not at all, or not yet. Of
// one that was given up, some targets may have.
func recordedEffect(invalidation *v1.CacheInvalidation) *v1.CacheInvalidation {
	status := &invalidation.Status
	switch {
	case invalidation.Spec.DryRun:
		return nil
	case status.EffectiveTime != nil:
		return asOf(invalidation, *status.EffectiveTime)
	case status.CompletionTime != nil:
		return partialEffect(invalidation, metav1.NewMicroTime(status.CompletionTime.Time))
	default:
		return nil
	}
}

// partialEffect returns a purge with the targets of which its status says that they took effect, at a time at the latest;
// nil: none did.
func partialEffect(invalidation *v1.CacheInvalidation, at metav1.MicroTime) *v1.CacheInvalidation {
	took := func(result v1.TargetResult) bool { return result.Modules > 0 }
	if invalidation.Spec.DryRun || !slices.ContainsFunc(invalidation.Status.Targets, took) {
		return nil
	}
	part := asOf(invalidation, at)
	part.Status.Targets = invalidation.Status.Targets
	return part
}

// includes says whether a target is to be issued again with the purge.
func (p knownPurge) includes(index int) bool {
	if len(p.Status.Targets) == 0 {
		return true // all took effect, or may have
	}
	return index < len(p.Status.Targets) && p.Status.Targets[index].Modules > 0
}
