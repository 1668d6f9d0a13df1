// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package fence

import (
	"context"
	"errors"
	"time"

	"github.com/cachewright/cachewright/registry"
)

// oldLibraryPause is how long a library that lacks the call to fence is not asked for it again. The
// operator may load a newer one at any time.
const oldLibraryPause = time.Minute

// Fences is what a Guard needs of the registry.
type Fences interface {
	CheckFence(ctx context.Context, slot registry.Slot) (registry.FenceState, error)
	EnsureFenced(ctx context.Context, slot registry.Slot) (registry.FenceState, error)
	Fences(ctx context.Context, slots []registry.Slot) ([]registry.Fence, error)
	Fence(ctx context.Context, fences []registry.Fence) error
}

// ensureFenced checks the fence of a slot and puts it in place. It does so again if another
// incarnation appeared meanwhile.
func (g *Guard) ensureFenced(ctx context.Context, slot registry.Slot) error {
	for range maxChecks {
		generation := g.generation.Load()
		node, err := g.node(ctx, slot)
		if err != nil {
			return err
		}
		if node != nil {
			g.watch(node)
		}
		err = g.fenceAt(ctx, addrOf(node), slot)
		if errors.Is(err, registry.ErrUnauthorized) || errors.Is(err, registry.ErrAnonymous) {
			g.disable(err)
			return nil
		}
		if err != nil {
			return err
		}
		if g.setClean(slot, &clean{generation: generation, node: node}) {
			return nil
		}
	}
	return ErrUnfenced
}

// fenceAt puts the fence of a slot in place, after others had the time to do so. The node at an
// address serves the slot.
func (g *Guard) fenceAt(ctx context.Context, addr string, slot registry.Slot) error {
	if time.Now().UnixNano() < g.oldLibrary.Load() {
		return g.fenceByCommands(ctx, addr, slot)
	}
	err := g.fenceByCall(ctx, addr, slot)
	if errors.Is(err, registry.ErrLibraryTooOld) {
		g.oldLibrary.Store(time.Now().Add(oldLibraryPause).UnixNano())
		return g.fenceByCommands(ctx, addr, slot)
	}
	return err
}

// fenceByCall lets the library look for the fence and put it in place.
func (g *Guard) fenceByCall(ctx context.Context, addr string, slot registry.Slot) error {
	if g.wait > 0 {
		found, err := g.fences.CheckFence(ctx, slot)
		if err != nil {
			return err
		}
		if found.InPlace || !g.hasWaited(slot) {
			return g.seen(addr, found.Incarnation, found.InPlace)
		}
	}
	found, err := g.fences.EnsureFenced(ctx, slot)
	if err != nil {
		return err
	}
	return g.seen(addr, found.Incarnation, found.InPlace)
}

// seen records which incarnation answered, and whether the slot may be read in it.
func (g *Guard) seen(addr string, incarnation registry.Incarnation, inPlace bool) error {
	if err := g.observe(addr, incarnation, false); err != nil {
		return err
	}
	if !inPlace {
		return ErrUnfenced
	}
	return nil
}

// fenceByCommands does the same with a library that lacks the call.
func (g *Guard) fenceByCommands(ctx context.Context, addr string, slot registry.Slot) error {
	fences, err := g.fences.Fences(ctx, []registry.Slot{slot})
	if err != nil {
		return err
	}
	if err := g.observe(addr, fences[0].Incarnation, false); err != nil {
		return err
	}
	switch {
	case fences[0].InPlace:
		return nil
	case !g.hasWaited(slot):
		return ErrUnfenced
	default:
		return g.fences.Fence(ctx, fences)
	}
}

// hasWaited reports whether others had the time to fence a slot.
func (g *Guard) hasWaited(slot registry.Slot) bool {
	return g.wait <= 0 || time.Since(g.unfencedSince(slot)) >= g.wait
}

func (g *Guard) unfencedSince(slot registry.Slot) time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	state := g.stateOf(slot)
	if state.unfencedSince.IsZero() {
		state.unfencedSince = time.Now()
	}
	return state.unfencedSince
}
