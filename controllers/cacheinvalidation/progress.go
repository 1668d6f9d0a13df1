// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cacheinvalidation

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/convert"
	"github.com/cachewright/cachewright/controllers/internal/resource"
	"github.com/cachewright/cachewright/controllers/stores/calls"
	"github.com/cachewright/cachewright/registry"
)

const (
	// turnTime is how long an invalidation works before others have their turn. It makes at least one
	// call.
	turnTime = 250 * time.Millisecond
	// callBatch is the number of calls between two reads of the clock. They take at most two round
	// trips.
	callBatch = 100
	// maxUnderWay bounds the invalidations whose progress is remembered. One that is forgotten begins
	// again, and gets its first answers.
	maxUnderWay = 1000
)

// underWay remembers the progress of invalidations that take more than one turn; nil: nothing.
type underWay struct {
	mu       sync.Mutex
	progress map[client.ObjectKey]*callProgress
}

func newUnderWay() *underWay { return &underWay{progress: map[client.ObjectKey]*callProgress{}} }

// callProgress is the progress of one invalidation.
type callProgress struct {
	uid   types.UID
	began time.Time
	// calls are those of all targets, in order. The first ones, up to next, were made.
	calls       func(index int) (registry.Invalidation, int)
	modules     []string
	next, total int
	targets     []targetProgress
	// blocked says why calls are missing, from the first target on that needs the modules.
	blocked error
	// left are the slots that still have to be reclaimed, once all targets took effect.
	left []registry.Slot
}

// targetProgress is what became of one target so far.
type targetProgress struct {
	result  v1.TargetResult
	trouble error
}

// of returns what is remembered of an invalidation; nil: nothing.
func (u *underWay) of(invalidation *v1.CacheInvalidation) *callProgress {
	if u == nil {
		return nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	known := u.progress[client.ObjectKeyFromObject(invalidation)]
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

// reclaimed remembers the slots that are left to reclaim; none: the invalidation is forgotten.
func (u *underWay) reclaimed(invalidation *v1.CacheInvalidation, left []registry.Slot) {
	if len(left) == 0 {
		u.end(invalidation)
		return
	}
	u.remember(invalidation, &callProgress{uid: invalidation.UID, left: left})
}

func (u *underWay) remember(invalidation *v1.CacheInvalidation, progress *callProgress) {
	if u == nil {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for key := range u.progress {
		if len(u.progress) < maxUnderWay {
			break
		}
		delete(u.progress, key)
	}
	u.progress[client.ObjectKeyFromObject(invalidation)] = progress
}

func (u *underWay) end(invalidation *v1.CacheInvalidation) {
	u.forget(client.ObjectKeyFromObject(invalidation))
}

func (u *underWay) forget(key client.ObjectKey) {
	if u == nil {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.progress, key)
}

// callTargets makes the calls of an invalidation, from where it stopped, until all are made or its
// turn is over. It returns the progress also with an error, which all other calls would meet, too.
func (a *attempt) callTargets(ctx context.Context) (*callProgress, error) {
	progress, err := a.progress(ctx)
	if err != nil {
		return progress, err
	}
	a.Journal.Begin(a.invalidation, a.found.began)
	for {
		if err := progress.makeCalls(ctx, a.store); err != nil {
			return progress, err
		}
		if progress.next == progress.total {
			return progress, progress.blocked
		}
		if a.Clock.Since(a.found.began) >= turnTime {
			a.underWay.remember(a.invalidation, progress)
			return progress, nil
		}
	}
}

// progress returns the progress of an invalidation in earlier turns. Where the modules are not
// known, the targets that need them wait; where the store is lost, those behind them, too.
func (a *attempt) progress(ctx context.Context) (*callProgress, error) {
	listed := a.invalidation.Spec.Targets
	progress := &callProgress{
		uid: a.invalidation.UID, began: a.found.began, targets: make([]targetProgress, len(listed)),
	}
	if slices.ContainsFunc(listed, reachesAll) {
		known, err := a.view()
		switch {
		case ctx.Err() != nil:
			return progress, ctx.Err()
		case registry.ConcernsStore(err):
			progress.blocked = err
		case err != nil:
			progress.miss(listed, err)
		default:
			progress.modules = known.Modules
		}
	}
	if former := a.underWay.of(a.invalidation); former != nil &&
		slices.Equal(former.modules, progress.modules) {
		return former, nil
	}
	progress.plan(a.invalidation)
	return progress, nil
}

// reachesAll reports whether a target is for all modules of its namespace.
func reachesAll(target v1.InvalidationTarget) bool { return target.Module == "" }

// miss notes the error for all targets that reach all modules: these are not known.
func (p *callProgress) miss(listed []v1.InvalidationTarget, err error) {
	for i, target := range listed {
		if reachesAll(target) {
			p.targets[i].trouble = err
		}
	}
}

// plan lays out the calls of all targets, one after the other, without making them all at once.
func (p *callProgress) plan(invalidation *v1.CacheInvalidation) {
	listed := invalidation.Spec.Targets
	ends := make([]int, len(listed)) // where the calls of each target end
	for i, target := range listed {
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
		module := listed[i].Module
		if reachesAll(listed[i]) {
			module = p.modules[index-ends[i]+len(p.modules)]
		}
		return registry.Invalidation{
			Slot:  registry.Slot{Namespace: invalidation.Namespace, Module: module},
			Scope: convert.Scope(listed[i]),
			Mode:  convert.Mode(invalidation.Spec), RequestID: resource.RequestID(invalidation, i),
		}, i
	}
}

// makeCalls makes the next calls. By their request ids, a repetition after a crash or a failed
// write of status returns the first answers and changes nothing.
func (p *callProgress) makeCalls(ctx context.Context, store calls.InvalidationStore) error {
	last := min(p.next+callBatch, p.total)
	made, owners := make([]registry.Invalidation, 0, last-p.next), make([]int, 0, last-p.next)
	for index := p.next; index < last; index++ {
		call, owner := p.calls(index)
		made, owners = append(made, call), append(owners, owner)
	}
	if len(made) == 0 {
		return ctx.Err()
	}
	var ends error
	for i, invalidated := range store.InvalidateMany(ctx, made) {
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
func (p *callProgress) resultsOf(invalidation *v1.CacheInvalidation) []v1.TargetResult {
	results := resultsOf(invalidation)
	for i := range results {
		results[i] = further(results[i], p.targets[i].result)
	}
	return results
}
