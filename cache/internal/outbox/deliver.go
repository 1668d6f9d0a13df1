// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package outbox

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cachewright/cachewright/cache/internal/background"
	"github.com/cachewright/cachewright/internal/contain"
	"github.com/cachewright/cachewright/registry"
)

// Pauses between attempts to deliver. Each is jittered, and the next one is longer, for a Redis
// that stays away.
const (
	firstPause = 50 * time.Millisecond
	maxPause   = 5 * time.Second
)

// maxDeliveries bounds the modules that are delivered to at the same time.
const maxDeliveries = 8

// Send sends an invalidation to Redis. It reports its failures itself.
type Send func(ctx context.Context, module string, scope Scope, mode registry.Mode) error

// item is a scope on its way to Redis.
type item struct {
	module string
	scope  Scope
	waiting
}

// Close tries once more to deliver everything. Its error says which modules have entries that
// should have been invalidated. Close the background first.
func (o *Outbox) Close(ctx context.Context) error {
	if !o.isWaiting.Load() {
		return nil
	}
	o.deliverOnce(ctx)
	scopes, modules := o.summary()
	if scopes == 0 {
		return nil
	}
	for i, module := range modules {
		if module == EveryModule {
			modules[i] = "all of the namespace"
		}
	}
	return fmt.Errorf("cache: %d invalidations did not reach Redis, for these modules: %s; "+
		"their entries may be out of date until they expire: invalidate the modules",
		scopes, strings.Join(modules, ", "))
}

// deliver tries until the outbox is empty.
func (o *Outbox) deliver(ctx context.Context) {
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		o.backoff(ctx, pause/2+rand.N(pause))
		if ctx.Err() != nil {
			return
		}
		if progress := o.deliverOnce(ctx); progress {
			pause = firstPause
		}
		if o.stopIfEmpty() {
			return
		}
	}
}

// backoff waits for a pause. A wakeup shortens it, though not below the first one: Redis may be
// back.
func (o *Outbox) backoff(ctx context.Context, pause time.Duration) {
	first := min(pause, firstPause)
	background.Sleep(ctx, first)
	timer := time.NewTimer(pause - first)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-o.wakeup:
	case <-ctx.Done():
	}
}

// deliverOnce tries to deliver every item, and reports whether any arrived. It tries each module on
// its own, because modules fail one by one, with their nodes.
func (o *Outbox) deliverOnce(ctx context.Context) (progress bool) {
	var arrived atomic.Bool
	var group errgroup.Group
	group.SetLimit(maxDeliveries)
	for module, items := range o.items() {
		group.Go(func() error {
			if !o.deliverReleases(ctx, module) {
				return nil // the items of the module wait for the next attempt, too
			}
			for _, it := range items {
				if err := o.deliverItem(ctx, it); err != nil && !errors.Is(err, registry.ErrRejected) {
					return nil // the other items of the module wait for the next attempt, too
				}
				o.remove(it)
				arrived.Store(true)
			}
			return nil
		})
	}
	_ = group.Wait() // it returns no error
	return arrived.Load()
}

// deliverItem contains panics, such as those of the application's failure hook: the other items
// must still be delivered.
func (o *Outbox) deliverItem(ctx context.Context, it item) (err error) {
	defer contain.Panic(&err, registry.ErrMisbehaves)
	if it.module != EveryModule {
		return o.send(ctx, it.module, it.scope, it.mode)
	}
	modules, err := o.modules(ctx)
	if err != nil {
		return err
	}
	for _, module := range modules {
		if err := o.send(ctx, module, it.scope, it.mode); err != nil &&
			!errors.Is(err, registry.ErrRejected) {
			return err
		}
	}
	return nil
}

// items returns what waits, by module.
func (o *Outbox) items() map[string][]item {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := make(map[string][]item, len(o.byModule))
	for module, scopes := range o.byModule {
		for scope, w := range scopes {
			all[module] = append(all[module], item{module: module, scope: scope, waiting: w})
		}
	}
	return all
}

// remove forgets an item that was delivered, unless it was requested again in the meantime.
func (o *Outbox) remove(it item) {
	o.mu.Lock()
	defer o.mu.Unlock()
	scopes := o.byModule[it.module]
	if scopes[it.scope] != it.waiting {
		return
	}
	delete(scopes, it.scope)
	if len(scopes) == 0 {
		delete(o.byModule, it.module)
		o.releases.forget(it.module)
	}
	o.isWaiting.Store(len(o.byModule) > 0)
}

// stopIfEmpty reports whether nothing waits any more. Then the next Enqueue starts a new delivery.
func (o *Outbox) stopIfEmpty() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.delivering = len(o.byModule) > 0
	return !o.delivering
}
