// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/registry"
)

// fenceTimeout bounds what is done about one loss of data.
const fenceTimeout = time.Minute

// FenceStore is what Monitor needs of a store to keep what an older state brought back from being read.
type FenceStore interface {
	// Serving asks no server.
	Serving(ctx context.Context, health registry.Health, slots []registry.Slot) ([]registry.Incarnation, error)
	Fences(ctx context.Context, slots []registry.Slot) ([]registry.Fence, error)
	Fence(ctx context.Context, fences []registry.Fence) error
	MarkFenced(ctx context.Context, fences []registry.Fence) error
	Alive(ctx context.Context, slots []registry.Slot, now time.Time) error
	LastAlive(ctx context.Context, slot registry.Slot) (time.Time, error)
}

// fenced is what a monitor knows of the fences of its store. They are themselves in the store, so a start of the
// operator forgets nothing that matters.
type fenced struct {
	inPlace map[registry.Slot]registry.Incarnation
	// known are the incarnations that the last look found, and whether they began with nothing.
	known map[registry.Incarnation]bool
}

// due are the modules whose fences are to be looked at.
type due struct {
	// young modules are there since the last look, on a server that was there before and began with nothing: nothing of
	// theirs can have come back.
	young []registry.Slot
	// late modules are like young ones, but on a server that began with something: nobody asked for them then, so what
	// it brought back of theirs is there still.
	late []registry.Slot
	// doubtful modules are served by an incarnation that was not there before.
	doubtful []registry.Slot
}

// due compares what serves each slot with what did when it was fenced. At rest this asks nobody.
func (f *fenced) due(slots []registry.Slot, serving []registry.Incarnation) due {
	var found due
	for i, slot := range slots {
		was, fenced := f.inPlace[slot]
		empty, known := f.known[serving[i]]
		switch {
		case serving[i] == "" || was == serving[i]:
		case !fenced && known && empty:
			found.young = append(found.young, slot)
		case !fenced && known:
			found.late = append(found.late, slot)
		default:
			found.doubtful = append(found.doubtful, slot)
		}
	}
	return found
}

// never is the incarnation in which a slot was fenced whose fence never got in place.
const never registry.Incarnation = "never"

// remember replaces what was known by what serves the slots now, but for those whose fences are not in place. Where
// that is not known, it stays.
func (f *fenced) remember(
	health registry.Health, slots []registry.Slot, serving []registry.Incarnation, broken registry.SlotErrors,
) {
	f.known = make(map[registry.Incarnation]bool, len(health.Primaries))
	for _, primary := range health.Primaries {
		f.known[primary.Incarnation()] = primary.BeganEmpty()
	}
	inPlace := make(map[registry.Slot]registry.Incarnation, len(slots))
	for i, slot := range slots {
		incarnation := cmp.Or(serving[i], f.inPlace[slot])
		if broken[slot] != nil {
			incarnation = cmp.Or(f.inPlace[slot], never)
		}
		if incarnation != "" {
			inPlace[slot] = incarnation
		}
	}
	f.inPlace = inPlace
}

// fence makes sure that nothing is live that an older state of the store brought back: after a restart with a snapshot,
// a failover to a replica that lagged, or a reshard. A module whose fence cannot be put in place holds up no other.
func (m *Monitor) fence(ctx context.Context, health registry.Health) error {
	ctx, cancel := context.WithTimeout(ctx, fenceTimeout)
	defer cancel()
	policies, err := m.listPolicies(ctx)
	if err != nil {
		return err
	}
	slots := modulesUnder(policies)
	serving, err := m.link.store.Serving(ctx, health, slots)
	if err != nil {
		return err
	}
	due, broken := m.fenced.due(slots, serving), registry.SlotErrors{}
	if err := m.markYoung(ctx, due.young, broken); err != nil {
		return err
	}
	if err := m.fenceLate(ctx, due.late, broken); err != nil {
		return err
	}
	if err := m.fenceDoubtful(ctx, policies, due.doubtful, broken); err != nil {
		return err
	}
	m.fenced.remember(health, slots, serving, broken)
	if err := broken.Take(m.leaveSign(ctx, slots, serving)); err != nil {
		return err
	}
	return broken.OrNil()
}

func (m *Monitor) markYoung(ctx context.Context, young []registry.Slot, broken registry.SlotErrors) error {
	open, err := m.openFences(ctx, young, broken)
	if err != nil || len(open) == 0 {
		return err
	}
	return broken.Take(m.link.store.MarkFenced(ctx, open))
}

func (m *Monitor) fenceLate(ctx context.Context, late []registry.Slot, broken registry.SlotErrors) error {
	open, err := m.openFences(ctx, late, broken)
	if err != nil || len(open) == 0 {
		return err
	}
	if err := broken.Take(m.link.store.Fence(ctx, open)); err != nil {
		return err
	}
	open = without(open, broken)
	m.Log.Info("Invalidated modules that came after the store may have gone back to an older state",
		"modules", len(open), "entries", dataLoss{invalidated: open}.keys())
	return nil
}

func (m *Monitor) fenceDoubtful(
	ctx context.Context, policies []v1.CachePolicy, doubtful []registry.Slot, broken registry.SlotErrors,
) error {
	if len(doubtful) == 0 {
		return nil
	}
	retained, err := m.retained(ctx, policies, broken)
	if err != nil {
		return err
	}
	open, err := m.openFences(ctx, distinct(append(doubtful, retained...)), broken)
	if err != nil || len(open) == 0 {
		return err
	}
	if m.connector.onDataLoss() == v1.DataLossReplay {
		return broken.Take(m.replay(ctx, policies, open))
	}
	if err := broken.Take(m.link.store.Fence(ctx, open)); err != nil {
		return err
	}
	m.tellLoss(ctx, policies, dataLoss{invalidated: without(open, broken)})
	return nil
}

// without leaves out the fences of slots that met an error.
func without(fences []registry.Fence, broken registry.SlotErrors) []registry.Fence {
	return slices.DeleteFunc(slices.Clone(fences), func(fence registry.Fence) bool { return broken[fence.Slot] != nil })
}

// openFences returns those of the slots' fences that nobody has put in place yet, but for those that cannot be looked at.
func (m *Monitor) openFences(
	ctx context.Context, slots []registry.Slot, broken registry.SlotErrors,
) ([]registry.Fence, error) {
	if len(slots) == 0 {
		return nil, nil
	}
	fences, err := m.link.store.Fences(ctx, slots)
	if err := broken.Take(err); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(without(fences, broken), func(fence registry.Fence) bool { return fence.InPlace }), nil
}

// retained lists the modules that the store knows of in the namespaces of the policies: some have a policy there and
// none here, as after a deletion with deletionPolicy Retain.
func (m *Monitor) retained(ctx context.Context, policies []v1.CachePolicy, broken registry.SlotErrors) ([]registry.Slot, error) {
	var slots []registry.Slot
	for namespace := range governedModules(policies) {
		modules, err := m.link.store.Modules(ctx, namespace)
		switch {
		case err == nil || errors.Is(err, registry.ErrModulesUnknown):
		case registry.ConcernsStore(err) || ctx.Err() != nil:
			return nil, err
		default:
			broken[registry.Slot{Namespace: namespace}] = err
		}
		for _, module := range modules {
			slots = append(slots, registry.Slot{Namespace: namespace, Module: module})
		}
	}
	return slots, nil
}

// modulesUnder lists the modules of policies, each once and in order.
func modulesUnder(policies []v1.CachePolicy) []registry.Slot {
	slots := make([]registry.Slot, len(policies))
	for i := range policies {
		slots[i] = slotOf(&policies[i])
	}
	return distinct(slots)
}

// leaveSign leaves the time in one slot of each primary, by which a replay knows how far the store went back.
func (m *Monitor) leaveSign(ctx context.Context, slots []registry.Slot, serving []registry.Incarnation) error {
	if m.connector.onDataLoss() != v1.DataLossReplay {
		return nil
	}
	first := map[registry.Incarnation]registry.Slot{}
	for i, slot := range slots {
		if _, found := first[serving[i]]; !found && serving[i] != "" && m.fenced.inPlace[slot] == serving[i] {
			first[serving[i]] = slot
		}
	}
	if len(first) == 0 {
		return nil
	}
	return m.link.store.Alive(ctx, slices.Collect(maps.Values(first)), m.Clock.Now())
}
