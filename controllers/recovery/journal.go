// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/resource"
)

// journalLen bounds the deleted invalidations that are remembered.
const journalLen = 10_000

// Journal knows the invalidations that took effect. They are recorded in CacheInvalidations, or
// this operator has not recorded them yet, or their CacheInvalidation was deleted since it started.
type Journal struct {
	mu       sync.Mutex
	started  time.Time
	underWay map[client.ObjectKey]*v1.CacheInvalidation
	deleted  []*v1.CacheInvalidation // by the time when they took effect
}

// NewJournal returns a journal that knows of nothing, and covers no time before it is started.
func NewJournal() *Journal {
	return &Journal{underWay: map[client.ObjectKey]*v1.CacheInvalidation{}}
}

// Start notes that the journal gets each deletion from now on.
func (j *Journal) Start(now time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.started = now
}

// Begin notes an invalidation before its store is called. Until it is seen to be recorded, only the
// journal knows that it may have taken effect.
func (j *Journal) Begin(invalidation *v1.CacheInvalidation, now time.Time) {
	if invalidation.Spec.DryRun {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.underWay[client.ObjectKeyFromObject(invalidation)] = asOf(invalidation, metav1.NewMicroTime(now))
}

// Done notes that an invalidation is recorded, if the version in the cache shows that.
func (j *Journal) Done(cached *v1.CacheInvalidation) {
	if cached.Status.EffectiveTime == nil && !resource.IsFinished(cached) {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.end(cached)
}

// end returns what was known of an invalidation that was under way. Another one of the same name
// stays.
func (j *Journal) end(invalidation *v1.CacheInvalidation) *v1.CacheInvalidation {
	key := client.ObjectKeyFromObject(invalidation)
	begun := j.underWay[key]
	if begun == nil || begun.UID != invalidation.UID {
		return nil
	}
	delete(j.underWay, key)
	return begun
}

// Deleted notes that a CacheInvalidation was deleted. Its last version may not have been seen.
func (j *Journal) Deleted(invalidation *v1.CacheInvalidation) {
	j.mu.Lock()
	defer j.mu.Unlock()
	known := j.end(invalidation)
	switch {
	case invalidation.Spec.DryRun:
		return
	case recordedEffect(invalidation) != nil:
		known = recordedEffect(invalidation)
	case known == nil:
		known = partialEffect(invalidation, metav1.NowMicro())
	}
	if known != nil {
		j.retain(known)
	}
}

// retain remembers an invalidation whose resource is deleted. Where there are too many, it forgets
// the one that took effect first, and remembers from when on it forgot none.
func (j *Journal) retain(invalidation *v1.CacheInvalidation) {
	after := func(kept, next *v1.CacheInvalidation) int { // after those of the same time
		return cmp.Or(kept.Status.EffectiveTime.Compare(next.Status.EffectiveTime.Time), -1)
	}
	at, _ := slices.BinarySearchFunc(j.deleted, invalidation, after)
	j.deleted = slices.Insert(j.deleted, at, invalidation)
	if len(j.deleted) <= journalLen {
		return
	}
	if forgotten := j.deleted[0].Status.EffectiveTime.Add(time.Second); forgotten.After(j.started) {
		j.started = forgotten
	}
	j.deleted = slices.Delete(j.deleted, 0, 1)
}

// Forget drops what is under way by a name that no resource has: it may have begun after its
// deletion was noted.
func (j *Journal) Forget(key client.ObjectKey) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.underWay, key)
}

// covers reports whether the journal knows all invalidations since a time.
func (j *Journal) covers(since time.Time) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return !since.IsZero() && !j.started.IsZero() && !since.Before(j.started)
}

// since returns the invalidations of a store that took effect since a time, and those under way.
func (j *Journal) since(
	ctx context.Context, of resource.Referrers, since time.Time,
) ([]effect, error) {
	// Before the cache is read: one that gets recorded meanwhile is in both.
	known := j.underWayIn(of.Store)
	items, err := of.Invalidations(ctx)
	if err != nil {
		return nil, err
	}
	for i := range items {
		key := client.ObjectKeyFromObject(&items[i])
		recorded := recordedEffect(&items[i])
		if recorded != nil && tookEffect(recorded, since) {
			known[key] = effect{CacheInvalidation: recorded}
		}
		if _, begun := known[key]; recorded == nil && !begun {
			// This operator has not tried it. A predecessor may have carried out some targets.
			if part := partialEffect(&items[i], metav1.NowMicro()); part != nil {
				known[key] = effect{part, true}
			}
		}
	}
	found := slices.Collect(maps.Values(known))
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, invalidation := range j.deleted {
		if resource.StoreIDOf(invalidation.Namespace, invalidation.Spec.StoreRef) == of.Store &&
			tookEffect(invalidation, since) {
			found = append(found, effect{CacheInvalidation: invalidation})
		}
	}
	return found, nil
}

func (j *Journal) underWayIn(id resource.StoreID) map[client.ObjectKey]effect {
	j.mu.Lock()
	defer j.mu.Unlock()
	found := map[client.ObjectKey]effect{}
	for key, invalidation := range j.underWay {
		if resource.StoreIDOf(invalidation.Namespace, invalidation.Spec.StoreRef) == id {
			found[key] = effect{invalidation, true}
		}
	}
	return found
}
