// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/resource"
	"github.com/cachewright/cachewright/controllers/internal/status"
	"github.com/cachewright/cachewright/registry"
)

// fenceTimeout bounds what is done about one loss of data.
const fenceTimeout = time.Minute

// Store is what a Fencer needs of a store.
type Store interface {
	HoldStore
	// Serving asks no server.
	Serving(ctx context.Context, health registry.Health,
		slots []registry.Slot) ([]registry.Incarnation, error)
	Fences(ctx context.Context, slots []registry.Slot) ([]registry.Fence, error)
	Fence(ctx context.Context, fences []registry.Fence) error
	MarkFenced(ctx context.Context, fences []registry.Fence) error
	Heartbeat(ctx context.Context, slots map[registry.Incarnation]registry.Slot,
		now time.Time) error
	LastHeartbeat(ctx context.Context, slot registry.Slot) (time.Time, error)
	Modules(ctx context.Context, namespace string) ([]string, error)
	PolicyHashes(ctx context.Context, slots []registry.Slot) ([]string, error)
	InvalidateMany(ctx context.Context, calls []registry.Invalidation) []registry.InvalidationResult
}

// Fencer invalidates what an older state of a store brought back. That happens after a restart with
// a snapshot, a failover to a replica that lagged, or a reshard.
type Fencer struct {
	FencerConfig

	known knownFences
}

// FencerConfig is what a Fencer needs.
type FencerConfig struct {
	Referrers resource.Referrers
	Journal   *Journal
	// LostMarks notes the marks of holds that are put back; nil: nothing is noted.
	LostMarks *LostMarks
	Metrics   LossCounter
	// Events are recorded for the CacheStore and the policies whose entries were invalidated.
	Events events.EventRecorder
	Clock  clock.PassiveClock
	Log    logr.Logger
	// ReplayMargin before the last heartbeat is replayed, too: clocks differ.
	ReplayMargin time.Duration
}

// LossCounter counts the losses of data of a store.
type LossCounter interface{ CountLoss() }

// Target is a store as the last probe found it.
type Target struct {
	Store      Store
	Location   status.Location
	Health     registry.Health
	OnDataLoss v1.DataLossPolicy
}

// pass is one pass of a Fencer over a store. An error of one slot goes to broken and stops no
// other.
type pass struct {
	*Fencer
	Target

	policies []v1.CachePolicy
	broken   registry.SlotErrors
}

// Fence puts the fences in place that the incarnations of the store's primaries lack, and leaves a
// heartbeat. A module whose fence cannot be put in place holds up no other.
func (f *Fencer) Fence(ctx context.Context, target Target) error {
	ctx, cancel := context.WithTimeout(ctx, fenceTimeout)
	defer cancel()
	policies, err := f.Referrers.Policies(ctx)
	if err != nil {
		return err
	}
	p := &pass{Fencer: f, Target: target, policies: policies, broken: registry.SlotErrors{}}
	if err := p.run(ctx); err != nil {
		return err
	}
	return p.broken.OrNil()
}

func (p *pass) run(ctx context.Context) error {
	slots := resource.SlotsUnder(p.policies)
	serving, err := p.Store.Serving(ctx, p.Health, slots)
	if err != nil {
		return err
	}
	pending := p.known.pending(slots, serving)
	if err := p.markNew(ctx, pending.new); err != nil {
		return err
	}
	if err := p.restoreHolds(ctx, append(pending.uncovered, pending.suspect...)); err != nil {
		return err
	}
	if err := p.fenceUncovered(ctx, pending.uncovered); err != nil {
		return err
	}
	if err := p.fenceSuspect(ctx, pending.suspect); err != nil {
		return err
	}
	p.known.remember(p.Health, slots, serving, p.broken)
	return p.broken.Take(p.heartbeat(ctx, slots, serving))
}

// restoreHolds comes before all else that makes modules usable again. It reads the invalidations
// of each namespace once.
func (p *pass) restoreHolds(ctx context.Context, slots []registry.Slot) error {
	holding := map[string][]v1.CacheInvalidation{}
	for _, slot := range slots {
		err := p.restoreHoldsOf(ctx, slot, holding)
		if registry.ConcernsStore(err) || ctx.Err() != nil {
			return err
		}
		if err != nil {
			p.broken[slot] = err
		}
	}
	return nil
}

func (p *pass) restoreHoldsOf(
	ctx context.Context, slot registry.Slot, holding map[string][]v1.CacheInvalidation,
) error {
	if p.Health.LibraryVersion < registry.HoldsLibrary {
		return nil // it knows no holds
	}
	known, isRead := holding[slot.Namespace]
	if !isRead {
		var err error
		known, err = resource.HoldingIn(ctx, p.Referrers.Reader, slot.Namespace, p.Referrers.Store)
		if err != nil {
			return err
		}
		holding[slot.Namespace] = known
	}
	holds := Holds{Store: p.Store, Now: p.Clock.Now(), Lost: p.LostMarks}
	return holds.putBack(ctx, known, slot)
}

func (p *pass) markNew(ctx context.Context, slots []registry.Slot) error {
	open, err := p.openFences(ctx, slots)
	if err != nil || len(open) == 0 {
		return err
	}
	return p.broken.Take(p.Store.MarkFenced(ctx, open))
}

func (p *pass) fenceUncovered(ctx context.Context, slots []registry.Slot) error {
	open, err := p.openFences(ctx, slots)
	if err != nil || len(open) == 0 {
		return err
	}
	if err := p.broken.Take(p.Store.Fence(ctx, open)); err != nil {
		return err
	}
	open = without(open, p.broken)
	p.Log.Info("Invalidated modules without a known fence",
		"modules", len(open), "entries", dataLoss{invalidated: open}.keys())
	return nil
}

func (p *pass) fenceSuspect(ctx context.Context, slots []registry.Slot) error {
	if len(slots) == 0 {
		return nil
	}
	retained, err := p.retained(ctx)
	if err != nil {
		return err
	}
	open, err := p.openFences(ctx, resource.Distinct(append(slots, retained...)))
	if err != nil || len(open) == 0 {
		return err
	}
	if p.OnDataLoss == v1.DataLossReplay {
		return p.replay(ctx, open)
	}
	if err := p.broken.Take(p.Store.Fence(ctx, open)); err != nil {
		return err
	}
	p.report(ctx, dataLoss{invalidated: without(open, p.broken)})
	return nil
}

// without leaves out the fences of slots that met an error.
func without(fences []registry.Fence, broken registry.SlotErrors) []registry.Fence {
	isBroken := func(fence registry.Fence) bool { return broken[fence.Slot] != nil }
	return slices.DeleteFunc(slices.Clone(fences), isBroken)
}

// openFences returns those of the slots' fences that are not in place yet, without those that
// cannot be read.
func (p *pass) openFences(ctx context.Context, slots []registry.Slot) ([]registry.Fence, error) {
	if len(slots) == 0 {
		return nil, nil
	}
	fences, err := p.Store.Fences(ctx, slots)
	if err := p.broken.Take(err); err != nil {
		return nil, err
	}
	isInPlace := func(fence registry.Fence) bool { return fence.InPlace }
	return slices.DeleteFunc(without(fences, p.broken), isInPlace), nil
}

// retained lists the modules that the store lists in the namespaces of the policies. Some have a
// policy there and none here, as after a deletion with deletionPolicy Retain.
func (p *pass) retained(ctx context.Context) ([]registry.Slot, error) {
	var slots []registry.Slot
	for namespace := range resource.GovernedModules(p.policies) {
		modules, err := p.Store.Modules(ctx, namespace)
		switch {
		case err == nil || errors.Is(err, registry.ErrModulesUnknown):
		case registry.ConcernsStore(err) || ctx.Err() != nil:
			return nil, err
		default:
			p.broken[registry.Slot{Namespace: namespace}] = err
		}
		for _, module := range modules {
			slots = append(slots, registry.Slot{Namespace: namespace, Module: module})
		}
	}
	return slots, nil
}

// heartbeat leaves the time in one slot of each primary. A replay learns from it how far the store
// went back.
func (p *pass) heartbeat(
	ctx context.Context, slots []registry.Slot, serving []registry.Incarnation,
) error {
	if p.OnDataLoss != v1.DataLossReplay {
		return nil
	}
	first := map[registry.Incarnation]registry.Slot{}
	for i, slot := range slots {
		if _, found := first[serving[i]]; !found && serving[i] != "" &&
			p.known.inPlace[slot] == serving[i] {
			first[serving[i]] = slot
		}
	}
	if len(first) == 0 {
		return nil
	}
	return p.Store.Heartbeat(ctx, first, p.Clock.Now())
}
