// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package outbox

import (
	"context"
	"errors"
	"time"

	"github.com/cachewright/cachewright/internal/contain"
	"github.com/cachewright/cachewright/registry"
)

// maxReleases may wait. The marks of further ones stand until their deadlines.
const maxReleases = 10_000

// Hold is a hold whose release did not reach Redis.
type Hold struct {
	ID registry.HoldID
	// Ends is when all its marks have expired.
	Ends time.Time
}

// SendRelease sends the release of a hold to Redis. It reports its failures itself.
type SendRelease func(ctx context.Context, module string, id registry.HoldID, of []Scope) error

// ReleaseWith sets the function that releases holds. Call it before EnqueueRelease.
func (o *Outbox) ReleaseWith(send SendRelease) { o.sendRelease = send }

// EnqueueRelease adds the release of a hold that did not reach Redis. It is an invalidation of what
// the hold covered, which is never lost: without a mark, older values may have been stored. Until
// its marks have expired, it also takes them away.
func (o *Outbox) EnqueueRelease(module string, of []Scope, hold Hold) {
	if o.addRelease(module, of, hold) && !o.background.Start(context.Background(), o.deliver) {
		o.stopIfEmpty()
	}
}

func (o *Outbox) addRelease(module string, of []Scope, hold Hold) (start bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, scope := range of {
		start = o.addLocked(module, scope, registry.ModeHard) || start
	}
	o.note(module, of, hold)
	return start
}

// CoalesceRelease joins a release to invalidations that wait and cover it, as Coalesce does.
func (o *Outbox) CoalesceRelease(module string, of []Scope, hold Hold) bool {
	if o.background.Closed() || !o.isWaiting.Load() || !o.joinRelease(module, of, hold) {
		return false
	}
	o.Hurry()
	return true
}

func (o *Outbox) joinRelease(module string, of []Scope, hold Hold) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	covering := make([]Scope, 0, len(of))
	for _, scope := range of {
		wider, found := o.covering(module, scope, registry.ModeHard)
		if !found {
			return false
		}
		covering = append(covering, wider)
	}
	for _, scope := range covering {
		o.renewLocked(module, scope)
	}
	o.note(module, of, hold)
	return true
}

// note remembers the marks of a hold, as long as an invalidation of their module waits. It requires
// o.mu.
func (o *Outbox) note(module string, of []Scope, hold Hold) {
	if len(o.byModule[module]) == 0 {
		return // too many modules wait
	}
	for _, scope := range of {
		o.requests++
		o.releases.add(module, mark{scope, hold.ID}, noted{ends: hold.Ends, requested: o.requests})
	}
}

// deliverReleases tries to take away the marks of all holds in a module, and reports whether Redis
// answered.
func (o *Outbox) deliverReleases(ctx context.Context, module string) bool {
	byHold := map[registry.HoldID]map[mark]noted{}
	for of, n := range o.notedIn(module) {
		if byHold[of.hold] == nil {
			byHold[of.hold] = map[mark]noted{}
		}
		byHold[of.hold][of] = n
	}
	for id, marks := range byHold {
		scopes := make([]Scope, 0, len(marks))
		for of, n := range marks {
			if time.Now().Before(n.ends) {
				scopes = append(scopes, of.scope)
			}
		}
		if len(scopes) > 0 {
			err := o.deliverRelease(ctx, module, id, scopes)
			if err != nil && !errors.Is(err, registry.ErrRejected) {
				return false
			}
		}
		o.removeNoted(module, marks)
	}
	return true
}

// deliverRelease contains panics, as deliverItem does.
func (o *Outbox) deliverRelease(
	ctx context.Context, module string, id registry.HoldID, of []Scope,
) (err error) {
	defer contain.Panic(&err, registry.ErrMisbehaves)
	return o.sendRelease(ctx, module, id, of)
}

func (o *Outbox) notedIn(module string) map[mark]noted {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.releases.of(module)
}

// removeNoted forgets marks that are taken away, unless that was requested again in the meantime.
func (o *Outbox) removeNoted(module string, marks map[mark]noted) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for of, n := range marks {
		o.releases.remove(module, of, n)
	}
}
