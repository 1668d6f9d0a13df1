// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cachetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/registry"
)

var (
	_ cache.Holder = (*Fake)(nil)
	_ cache.Hold   = (*hold)(nil)
)

var (
	errHoldsNothing = errors.New("it covers nothing; name keys or scopes")
	errHoldOver     = errors.New("cachetest: the hold is over, so it cannot be renewed; " +
		"make another one")
)

// hold is one hold. f.mu guards what changes.
type hold struct {
	fake    *Fake
	id      holdID
	covered []cache.Covered
	places  []scope // what it covers

	released bool
	failed   bool  // it never held
	err      error // why it does not hold, or did not all the time
}

// Hold implements cache.Holder. The Fake's clock ends a hold.
func (f *Fake) Hold(
	ctx context.Context, ttl time.Duration, on ...cache.Covered,
) (cache.Hold, error) {
	failure := f.record(Call{Method: "Hold", Covered: slices.Clone(on)})
	h := &hold{fake: f, covered: slices.Clone(on)}
	refused := f.findPlaces(h)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.holds++
	h.id = f.holds
	if err := errors.Join(checkTTL(ttl), refused, ctx.Err(), failure); err != nil {
		h.failed = true
		h.err = fmt.Errorf("cachetest: nothing is held: %w: "+
			"make the change all the same, and call Release after it, which invalidates", err)
		return h, h.err
	}
	h.mark(ttl)
	return h, nil
}

func checkTTL(ttl time.Duration) error {
	if ttl <= 0 || ttl > registry.MaxHold {
		return fmt.Errorf("the ttl of a hold must be more than 0 and at most %s, not %s",
			registry.MaxHold, ttl)
	}
	return nil
}

// findPlaces finds out what a hold covers, and returns what it cannot cover.
func (f *Fake) findPlaces(h *hold) (refused error) {
	for _, thing := range h.covered {
		places, err := f.placesOf(thing)
		h.places = append(h.places, places...)
		refused = errors.Join(refused, err)
	}
	if len(h.covered) == 0 {
		return errHoldsNothing
	}
	return refused
}

// placesOf returns where a hold of a key or a scope has its marks.
func (f *Fake) placesOf(thing cache.Covered) ([]scope, error) {
	switch thing := thing.(type) {
	case cache.Key:
		entry, err := newEntryKey(thing)
		if err == nil && (thing.Module == "" || thing.Operation == "") {
			err = errEmptyName
		}
		return []scope{scope(entry)}, err
	case cache.Scope:
		return f.placesOfScope(thing)
	default:
		return nil, fmt.Errorf("a hold covers values of the types Key and Scope, not %T", thing)
	}
}

// placesOfScope marks all that a user has in the module for an operation of the user, too.
func (f *Fake) placesOfScope(s cache.Scope) ([]scope, error) {
	switch {
	case s.Module == "" && s.Operation == "" && s.User != "":
		var everywhere []scope
		for _, module := range f.allModules() {
			everywhere = append(everywhere, scope{module: module, user: s.User})
		}
		return everywhere, nil
	case s.Module == "":
		return nil, errEmptyName
	case s.User != "":
		return []scope{{module: s.Module, user: s.User}}, nil
	default:
		return []scope{{module: s.Module, operation: s.Operation}}, nil
	}
}

// Renew implements cache.Hold.
func (h *hold) Renew(ctx context.Context, ttl time.Duration) error {
	failure := h.fake.record(Call{Method: "Renew", Covered: slices.Clone(h.covered)})
	h.fake.mu.Lock()
	defer h.fake.mu.Unlock()
	if h.released || h.failed {
		return errHoldOver
	}
	if err := errors.Join(checkTTL(ttl), ctx.Err(), failure); err != nil {
		return fmt.Errorf("cachetest: the hold is not renewed: %w", err)
	}
	h.noteLoss()
	h.mark(ttl)
	return nil
}

// Release implements cache.Hold.
func (h *hold) Release(context.Context) error {
	failure := h.fake.record(Call{Method: "Release", Covered: slices.Clone(h.covered)})
	h.fake.mu.Lock()
	defer h.fake.mu.Unlock()
	if h.released {
		return nil
	}
	h.released = true
	h.noteLoss()
	for _, place := range h.places {
		delete(h.fake.held[place], h.id)
		h.fake.epochs[place]++
	}
	return queued(failure)
}

// Err implements cache.Hold.
func (h *hold) Err() error {
	h.fake.mu.Lock()
	defer h.fake.mu.Unlock()
	return h.err
}

// The methods below require f.mu.

// mark invalidates what a hold covers, and lets it last for a time from now on.
func (h *hold) mark(ttl time.Duration) {
	for _, place := range h.places {
		if h.fake.held[place] == nil {
			h.fake.held[place] = map[holdID]time.Time{}
		}
		h.fake.held[place][h.id] = h.fake.now().Add(ttl)
		h.fake.epochs[place]++
	}
}

// noteLoss records that a hold ended before it was renewed or released.
func (h *hold) noteLoss() {
	for _, place := range h.places {
		if h.err == nil && !h.fake.now().Before(h.fake.held[place][h.id]) {
			h.err = fmt.Errorf("cachetest: %w: it ended before that; "+
				"readers may have seen what was before the change", cache.ErrHoldLost)
		}
	}
}
