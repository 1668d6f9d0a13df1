// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/registry"
)

const (
	// turnTime is how long a purge works before others have their turn. It makes at least one call.
	turnTime = 250 * time.Millisecond
	// purgeBatch is the number of calls that are made before the clock is looked at. They are two round trips at the most.
	purgeBatch = 100
	// maxUnderWay bounds the purges whose progress is remembered. One that is forgotten begins again, and gets its first answers.
	maxUnderWay = 1000
)

// underWay remembers how far purges came that take more than one turn; nil: nothing.
type underWay struct {
	mu     sync.Mutex
	purges map[client.ObjectKey]*purgeProgress
}

func newUnderWay() *underWay { return &underWay{purges: map[client.ObjectKey]*purgeProgress{}} }

// purgeProgress is how far one purge came.
type purgeProgress struct {
	uid   types.UID
	began time.Time
	// calls are those of all targets, in order; the first so many of them, next, were made.
	calls       func(index int) (registry.Invalidation, int)
	modules     []string
	next, total int
	targets     []targetProgress
	// blocked says why calls are missing: those from the first target on that needs the modules.
	blocked error
	// left are the slots that are still to be reclaimed, once all targets took effect.
	left []registry.Slot
}

// targetProgress is what became of one target so far.
type targetProgress struct {
	result  v1.TargetResult
	trouble error
}

// of returns what is remembered of a purge; nil: nothing.
func (u *underWay) of(invalidation *v1.CacheInvalidation) *purgeProgress {
	if u == nil {
		return nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	known := u.purges[client.ObjectKeyFromObject(invalidation)]
	if known == nil || known.uid != invalidation.UID {
		return nil
	}
	return known
}

// resultsOf returns what took effect in earlier turns, with what is recorded.
func (u *underWay) resultsOf(invalidation *v1.CacheInvalidation) []v1.TargetResult {
	if known := u.of(invalidation); known != nil {
		return known.resultsOf(invalidation)
	}
	return resultsOf(invalidation)
}

// toReclaim returns the slots that an earlier turn left to reclaim.
func (u *underWay) toReclaim(invalidation *v1.CacheInvalidation) []registry.Slot {
	if known := u.of(invalidation); known != nil {
		return known.left
	}
	return nil
}

// reclaimed remembers the slots that are left to reclaim; none: the purge is forgotten.
func (u *underWay) reclaimed(invalidation *v1.CacheInvalidation, left []registry.Slot) {
	if len(left) == 0 {
		u.end(invalidation)
		return
	}
	u.remember(invalidation, &purgeProgress{uid: invalidation.UID, left: left})
}

func (u *underWay) remember(invalidation *v1.CacheInvalidation, progress *purgeProgress) {
	if u == nil {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for key := range u.purges {
		if len(u.purges) < maxUnderWay {
			break
		}
		delete(u.purges, key)
	}
	u.purges[client.ObjectKeyFromObject(invalidation)] = progress
}

func (u *underWay) end(invalidation *v1.CacheInvalidation) {
	u.gone(client.ObjectKeyFromObject(invalidation))
}

func (u *underWay) gone(key client.ObjectKey) {
	if u == nil {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.purges, key)
}

// advance makes the calls of a purge, from where it stood, until all are made or its turn is over. It returns how far it came
// also with an error, which is one that all other calls would meet.
func (r *CacheInvalidationReconciler) advance(
	ctx context.Context, invalidation *v1.CacheInvalidation, store *Session, view viewer, found *invalidationFindings,
) (*purgeProgress, error) {
	progress, err := r.progressOf(ctx, invalidation, view, found.began)
	if err != nil {
		return progress, err
	}
	r.Journal.enter(invalidation, found.began)
	for {
		if err := progress.makeCalls(ctx, store); err != nil {
			return progress, err
		}
		if progress.next == progress.total {
			return progress, progress.blocked
		}
		if r.Clock.Since(found.began) >= turnTime {
			r.underWay.remember(invalidation, progress)
			return progress, nil
		}
	}
}

// progressOf returns how far a purge came in earlier turns; nowhere, if this is the first one. Where the
// modules are not known, that holds up those targets that need them; where the store is lost, those behind them, too.
func (r *CacheInvalidationReconciler) progressOf(
	ctx context.Context, invalidation *v1.CacheInvalidation, view viewer, began time.Time,
) (*purgeProgress, error) {
	targets := invalidation.Spec.Targets
	progress := &purgeProgress{uid: invalidation.UID, began: began, targets: make([]targetProgress, len(targets))}
	if slices.ContainsFunc(targets, reachesAll) {
		known, err := view()
		switch {
		case ctx.Err() != nil:
			return progress, ctx.Err()
		case registry.ConcernsStore(err):
			progress.blocked = err
		case err != nil:
			progress.miss(targets, err)
		default:
			progress.modules = known.modules
		}
	}
	if former := r.underWay.of(invalidation); former != nil && slices.Equal(former.modules, progress.modules) {
		return former, nil
	}
	progress.plan(invalidation)
	return progress, nil
}

// reachesAll says that a target is for all modules of its namespace.
func reachesAll(target v1.InvalidationTarget) bool { return target.Module == "" }

// miss notes of the targets that reach all modules that these are not known.
func (p *purgeProgress) miss(targets []v1.InvalidationTarget, err error) {
	for i, target := range targets {
		if reachesAll(target) {
			p.targets[i].trouble = err
		}
	}
}

// plan lays out the calls of all targets, one after the other, without making them all at once.
func (p *purgeProgress) plan(invalidation *v1.CacheInvalidation) {
	targets := invalidation.Spec.Targets
	ends := make([]int, len(targets)) // where the calls of each target end
	for i, target := range targets {
		count := 1
		if reachesAll(target) {
			if p.blocked != nil {
				ends = ends[:i]
				break
			}
			count = len(p.modules)
		}
		p.total += count
		ends[i] = p.total
	}
	p.calls = func(index int) (registry.Invalidation, int) {
		i, _ := slices.BinarySearch(ends, index+1)
		module := targets[i].Module
		if reachesAll(targets[i]) {
			module = p.modules[index-ends[i]+len(p.modules)]
		}
		return registry.Invalidation{
			Slot: registry.Slot{Namespace: invalidation.Namespace, Module: module}, Scope: scopeOf(targets[i]),
			Mode: modeOf(invalidation.Spec), RequestID: requestOf(invalidation, i),
		}, i
	}
}

// makeCalls makes the next calls. The request ids make a repetition, after a crash or a failed write of status, return the
// first answers and change nothing.
func (p *purgeProgress) makeCalls(ctx context.Context, store InvalidationStore) error {
	last := min(p.next+purgeBatch, p.total)
	calls, owners := make([]registry.Invalidation, 0, last-p.next), make([]int, 0, last-p.next)
	for index := p.next; index < last; index++ {
		call, owner := p.calls(index)
		calls, owners = append(calls, call), append(owners, owner)
	}
	if len(calls) == 0 {
		return ctx.Err()
	}
	var ends error
	for i, invalidated := range store.InvalidateMany(ctx, calls) {
		p.targets[owners[i]].note(invalidated)
		if endsAttempt(ctx, invalidated.Err) {
			ends = cmp.Or(ends, invalidated.Err, ctx.Err())
		}
	}
	p.next = last
	return ends
}

func (t *targetProgress) note(invalidated registry.InvalidationResult) {
	if invalidated.Err != nil {
		t.trouble = worse(t.trouble, invalidated.Err)
		return
	}
	t.result.Modules++
	t.result.KeysInvalidated += invalidated.Keys
	t.result.KeysPending += invalidated.Pending
}

// resultsOf returns what is known of all targets.
func (p *purgeProgress) resultsOf(invalidation *v1.CacheInvalidation) []v1.TargetResult {
	results := resultsOf(invalidation)
	for i := range results {
		results[i] = further(results[i], p.targets[i].result)
	}
	return results
}
