// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"time"

	"github.com/cachewright/cachewright/registry/internal/fencing"
)

// Fence says whether the content of a slot from before the current incarnation of its data has been
// invalidated.
type Fence struct {
	Slot

	// Incarnation that serves the slot.
	Incarnation Incarnation
	// InPlace says that the slot was fenced in this incarnation: nothing that came back with an older
	// state is live.
	InPlace bool
	// Covered by the call of Registry.Fence that put the fence in place.
	Covered Invalidated
}

// Fences reads the fences of slots, in their order, in few round trips per primary. Its user needs
// INFO. SlotErrors are of slots whose fences could not be read.
func (r *Registry) Fences(ctx context.Context, slots []Slot) ([]Fence, error) {
	fences := make([]Fence, len(slots))
	for i, slot := range slots {
		fences[i].Slot = slot
	}
	return fences, r.fences.Read(ctx, pointersTo(fences))
}

// Fence invalidates the modules of fences, once per incarnation however many callers there are. It
// records in each that it is in place and what it covered. If another incarnation serves a slot by
// now, it fails with ErrUnreachable; retry from Fences. SlotErrors are of slots whose fence is not
// in place.
func (r *Registry) Fence(ctx context.Context, fences []Fence) error {
	return r.fences.Put(ctx, pointersTo(fences))
}

// FenceState is the answer of EnsureFenced and CheckFence.
type FenceState struct {
	// Incarnation that serves the slot.
	Incarnation Incarnation
	// InPlace says that the slot is fenced in this incarnation.
	InPlace bool
	// Put says that this call fenced the slot: it invalidated the module.
	Put bool
}

// EnsureFenced fences one slot, unless it is fenced already. It is one call to the primary that
// serves the slot, so it needs no connection of its own. A client that cannot ask each server for
// its incarnation uses it in place of Fences and Fence. All of them see the same fences. Its user
// needs INFO. ErrUnauthorized, ErrAnonymous: nothing is fenced, because INFO is forbidden or says
// too little. ErrLibraryTooOld: the library lacks it: see PutLibrary.
func (r *Registry) EnsureFenced(ctx context.Context, slot Slot) (FenceState, error) {
	state, err := r.fences.Ensure(ctx, slot)
	return FenceState(state), err
}

// CheckFence is EnsureFenced that puts no fence in place.
func (r *Registry) CheckFence(ctx context.Context, slot Slot) (FenceState, error) {
	state, err := r.fences.Check(ctx, slot)
	return FenceState(state), err
}

// MarkFenced records that the fences are in place: the content that came back was invalidated
// otherwise, or there can be none. Errors are as those of Fence.
func (r *Registry) MarkFenced(ctx context.Context, fences []Fence) error {
	return r.fences.Mark(ctx, pointersTo(fences))
}

// pointersTo lets package fencing write to fences.
func pointersTo(fences []Fence) []*fencing.Fence {
	pointers := make([]*fencing.Fence, len(fences))
	for i := range fences {
		pointers[i] = (*fencing.Fence)(&fences[i])
	}
	return pointers
}

// Heartbeat writes the time to a slot of each primary, given by the incarnation that serves it. If
// a primary goes back in time, LastHeartbeat tells how far. So each is written on the connection on
// which its incarnation was checked: on an older state, it would claim that nothing was lost.
// ErrUnreachable: another incarnation serves the slot by now. SlotErrors are of slots where it was
// not written.
func (r *Registry) Heartbeat(
	ctx context.Context, slots map[Incarnation]Slot, now time.Time,
) error {
	return r.fences.Heartbeat(ctx, slots, now)
}

// LastHeartbeat returns the time of the last heartbeat in a slot; the zero time if there is none,
// or something else.
func (r *Registry) LastHeartbeat(ctx context.Context, slot Slot) (time.Time, error) {
	return r.fences.LastHeartbeat(ctx, slot)
}
