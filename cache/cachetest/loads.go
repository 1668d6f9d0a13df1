// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cachetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/cache/internal/dest"
	"github.com/cachewright/cachewright/cache/internal/flight"
	"github.com/cachewright/cachewright/cache/internal/limit"
	src "github.com/cachewright/cachewright/cache/internal/source"
)

// loadOnce loads entries together with the callers that may have the same values. It returns those
// whose load takes too long to wait for.
func (f *Fake) loadOnce(
	ctx context.Context, wants []*want, load src.Many,
) (overdue []*want) {
	var together, held []*want
	var wanted []flight.Wanted[flightKey]
	shared := false
	for _, w := range wants {
		switch {
		case w.done:
			continue
		case !w.alone:
			leased := f.lease(w.key)
			w.token, w.alone = leased.token, !leased.cacheable && !leased.held
			if leased.held {
				held = append(held, w)
				continue
			}
		}
		together = append(together, w)
		wanted = append(wanted, flight.Wanted[flightKey]{Key: f.flightOf(w.key, w.token), Alone: w.alone})
		shared = shared || !w.alone
	}
	if shared {
		f.loadTogether(ctx, together, wanted, load)
	}
	f.loadHeld(ctx, held, load)
	f.loadAlone(ctx, wants, load)
	for _, w := range wants {
		if w.done && errors.Is(w.err, flight.ErrOverdue) {
			w.done = false
			overdue = append(overdue, w)
		}
	}
	return overdue
}

func (f *Fake) flightOf(key entryKey, t token) flightKey {
	return flightKey{key, f.schemaOf(key), t}
}

func (f *Fake) loadTogether(
	ctx context.Context, wants []*want, wanted []flight.Wanted[flightKey], load src.Many,
) {
	results := f.flights.DoMany(ctx, wanted,
		func(ctx context.Context, own []int, land func(int, loaded, error)) {
			all, ttl := f.load(ctx, pick(wants, own), load)
			for i, of := range all {
				w := wants[own[i]]
				result := loaded{value: of.Value}
				if !w.alone {
					result = f.keep(wanted[own[i]].Key, of, reflect.TypeOf(w.out).Elem(), ttl)
				}
				land(own[i], result, of.Err)
			}
		})
	for i, w := range wants {
		f.land(w, results[i])
	}
}

// loadHeld loads what a hold forbids to store. Callers share only a load that began after they
// came.
func (f *Fake) loadHeld(ctx context.Context, wants []*want, load src.Many) {
	if len(wants) == 0 {
		return
	}
	keys := make([]flightKey, len(wants))
	for i, w := range wants {
		keys[i] = f.flightOf(w.key, token{})
	}
	results := f.trailing.DoMany(ctx, keys,
		func(ctx context.Context, own []int, land func(int, loaded, error)) {
			all, _ := f.load(ctx, pick(wants, own), load)
			for i, of := range all {
				w := wants[own[i]]
				result := loaded{value: of.Value}
				if of.Err == nil {
					payload, err := f.encode(w.key, of.Value, reflect.TypeOf(w.out).Elem())
					result.payload, result.shared = payload, err == nil
				}
				land(own[i], result, of.Err)
			}
		})
	for i, w := range wants {
		f.land(w, results[i])
	}
}

func pick(wants []*want, at []int) []*want {
	picked := make([]*want, len(at))
	for i, position := range at {
		picked[i] = wants[position]
	}
	return picked
}

// land gives a caller the result of a load, or has it load for itself.
func (f *Fake) land(w *want, r flight.Result[loaded]) {
	switch {
	case r.Err == nil && r.Started:
		w.end(dest.Set(w.out, r.Value.value))
	case errors.Is(r.Err, flight.ErrNothingToShare), errors.Is(r.Err, flight.ErrCycle):
		w.alone = true
	case errors.Is(r.Err, flight.ErrStuck):
		w.end(stuck(w.key))
	case r.Err != nil:
		w.end(r.Err)
	case r.Value.shared && decode(f.codec, r.Value.payload, w.out) == nil:
		w.end(nil)
	default:
		w.alone = true
	}
}

// keep stores what was loaded, or that the source has nothing. Readers decode it into a type, nil
// if that is not known.
func (f *Fake) keep(key flightKey, of src.Loaded, as reflect.Type, ttl *limit.TTL) loaded {
	if errors.Is(of.Err, cache.ErrNotFound) {
		return loaded{storedNegative: f.fillNegative(key, ttl)}
	}
	if of.Err != nil {
		return loaded{}
	}
	payload, err := f.fill(key, of.Value, as, ttl)
	return loaded{value: of.Value, payload: payload, shared: err == nil}
}

// refresh replaces stale entries, unless other callers do. What fails stays.
func (f *Fake) refresh(ctx context.Context, stale []*want, load src.Many) {
	var begun []*want
	var wanted []flight.Wanted[flightKey]
	for _, w := range stale {
		if token, begins := f.beginRefresh(w.key); begins {
			begun = append(begun, w)
			wanted = append(wanted, flight.Wanted[flightKey]{Key: f.flightOf(w.key, token)})
		}
	}
	if len(begun) == 0 {
		return
	}
	var results []flight.Result[loaded]
	defer func() {
		panicked := recover() != nil
		for i, w := range begun {
			failed := panicked ||
				results[i].Err != nil && !errors.Is(results[i].Err, cache.ErrNotFound)
			f.endRefresh(w.key, failed)
		}
	}()
	results = f.flights.DoMany(context.WithoutCancel(ctx), wanted,
		func(ctx context.Context, own []int, land func(int, loaded, error)) {
			all, ttl := f.load(ctx, pick(begun, own), load)
			for i, of := range all {
				land(own[i], f.keep(wanted[own[i]].Key, of, nil, ttl), of.Err)
			}
		})
	for i, r := range results {
		if errors.Is(r.Err, cache.ErrNotFound) && r.Started && !r.Value.storedNegative {
			f.removeIf(wanted[i].Key)
		}
	}
}

func (f *Fake) beginRefresh(key entryKey) (token, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refreshing[key] {
		return token{}, false
	}
	f.refreshing[key] = true
	return f.tokenOf(key), true
}

func (f *Fake) endRefresh(key entryKey, failed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.refreshing, key)
	if failed {
		f.count(key, counts{errors: 1})
	}
}

// loadAlone loads what nobody else may share.
func (f *Fake) loadAlone(ctx context.Context, wants []*want, load src.Many) {
	var alone []*want
	for _, w := range wants {
		if w.alone && !w.done {
			alone = append(alone, w)
		}
	}
	all, _ := f.load(ctx, alone, load)
	for i, of := range all {
		w := alone[i]
		w.end(of.Err)
		if of.Err == nil {
			w.err = dest.Set(w.out, of.Value)
		}
	}
}

// load calls the loader, except for what it loads already, over and over, within itself. It returns
// what the source has of each entry. The loader may say for how long to keep that.
func (f *Fake) load(
	ctx context.Context, wants []*want, load src.Many,
) ([]src.Loaded, *limit.TTL) {
	all := make([]src.Loaded, len(wants))
	var ids []any
	for _, w := range wants {
		if !w.unnamed {
			ids = append(ids, nestedKey{f, w.key})
		}
	}
	ctx, may := flight.NestedMany(ctx, ids)
	var positions, of []int
	for i, w := range wants {
		if !w.unnamed {
			allowed := may[0]
			if may = may[1:]; !allowed {
				all[i].Err = cycle(w.key)
				continue
			}
		}
		positions, of = append(positions, w.at), append(of, i)
	}
	if len(of) == 0 {
		return all, nil
	}
	ctx, ttl := limit.With(ctx) // what is loaded is not what an outer loader loads
	for n, one := range load.Load(ctx, positions) {
		all[of[n]] = one
	}
	return all, ttl
}

func cycle(key entryKey) error {
	return fmt.Errorf("%w: an entry of %s, operation %s", cache.ErrLoadCycle, key.module,
		key.operation)
}

// nestedKey names what is loaded, across all Fakes.
type nestedKey struct {
	fake *Fake
	key  entryKey
}
