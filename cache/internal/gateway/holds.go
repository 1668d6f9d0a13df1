// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"time"

	"github.com/cachewright/cachewright/registry"
)

// freedAtOnce is how many entries a call that invalidates frees itself. The rest waits for reclaim.
const freedAtOnce = 128

// Thing is what a hold covers of a module: a scope or, with an ID, one entry.
type Thing struct{ Operation, User, ID string }

// Hold names things of a module that are held together.
type Hold struct {
	Module string
	ID     registry.HoldID
	Things []Thing
}

func (h Hold) targets() []registry.HoldTarget {
	targets := make([]registry.HoldTarget, 0, len(h.Things))
	for _, t := range h.Things {
		if t.ID == "" {
			scope := registry.Scope{Operation: t.Operation, User: t.User}
			targets = append(targets, registry.HoldScope(scope))
			continue
		}
		key := registry.Key{Operation: t.Operation, User: t.User, ID: t.ID}
		targets = append(targets, registry.HoldEntry(key))
	}
	return targets
}

// Hold begins a hold. A writer waits for it. So it does not call a Redis that did not serve lately,
// and leaves the writer at least half of its time.
func (g *Gateway) Hold(ctx context.Context, hold Hold, ttl time.Duration) error {
	within := use{hold.Module, Writing}
	var held registry.Held
	err := g.doWithin(ctx, g.config.InvalidationTimeout, within, func(ctx context.Context) error {
		var err error
		held, err = g.putMarks(ctx, hold, ttl)
		return err
	})
	if err != nil && ctx.Err() == nil {
		g.config.Hooks.Failed(hold.Module, "", err)
	}
	g.afterHold(hold, held.Keys > freedAtOnce)
	return err
}

// Renew sets another end for a hold, whatever the breakers say: a hold must not end early to save
// time. stood is how many of its things it covered until now.
func (g *Gateway) Renew(
	ctx context.Context, hold Hold, ttl time.Duration,
) (stood int64, err error) {
	var held registry.Held
	err = g.doUnguarded(ctx, hold.Module, "", func(ctx context.Context) (err error) {
		held, err = g.putMarks(ctx, hold, ttl)
		return err
	})
	g.afterHold(hold, held.Keys > freedAtOnce)
	return held.Stood, err
}

// Release ends a hold, whatever the breakers say, and invalidates what it did not cover any more.
// lifted is how many of its things it covered until now.
func (g *Gateway) Release(ctx context.Context, hold Hold) (lifted int64, err error) {
	err = g.doUnguarded(ctx, hold.Module, "", func(ctx context.Context) (err error) {
		lifted, err = g.config.Store.Release(ctx, g.Slot(hold.Module), hold.ID, hold.targets()...)
		return err
	})
	g.afterHold(hold, err == nil && lifted < int64(len(hold.Things)))
	return lifted, err
}

func (g *Gateway) putMarks(
	ctx context.Context, hold Hold, ttl time.Duration,
) (registry.Held, error) {
	return g.config.Store.Hold(ctx, g.Slot(hold.Module), hold.ID, ttl, hold.targets()...)
}

// afterHold reports what may have changed, also after a call that failed.
func (g *Gateway) afterHold(hold Hold, leavesMemory bool) {
	for _, t := range hold.Things {
		slot := g.Slot(hold.Module)
		if t.ID == "" {
			g.config.Hooks.Changed(slot, t.Operation, t.User)
			continue
		}
		g.config.Hooks.Deleted(registry.Key{
			Slot: slot, Operation: t.Operation, User: t.User, ID: t.ID,
		})
	}
	if leavesMemory {
		g.startReclaim(hold.Module)
	}
}
