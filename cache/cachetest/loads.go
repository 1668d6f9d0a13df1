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
)

// loadOnce loads an entry together with the callers that may have the same value.
func (f *Fake) loadOnce(
	ctx context.Context, key entryKey, out any, load func(context.Context) (any, error),
) error {
	leased := f.lease(key)
	switch {
	case leased.held:
		return f.loadHeld(ctx, key, out, load)
	case !leased.cacheable:
		return f.loadAlone(ctx, key, out, load)
	default:
		return f.loadTogether(ctx, f.flightOf(key, leased.token), out, load)
	}
}

func (f *Fake) flightOf(key entryKey, t token) flightKey {
	return flightKey{key, f.schemaOf(key), t}
}

func (f *Fake) loadTogether(
	ctx context.Context, key flightKey, out any, load func(context.Context) (any, error),
) error {
	result, started, err := f.flights.Do(ctx, key, func(ctx context.Context) (loaded, error) {
		return f.loadAndFill(ctx, key, reflect.TypeOf(out).Elem(), load)
	})
	if err == nil && started {
		return dest.Set(out, result.value)
	}
	return f.land(ctx, key.entryKey, result, err, out, load)
}

// loadHeld loads what a hold forbids to store. Callers share only a load that began after they
// came.
func (f *Fake) loadHeld(
	ctx context.Context, key entryKey, out any, load func(context.Context) (any, error),
) error {
	of := f.flightOf(key, token{})
	result, started, err := f.trailing.Do(ctx, of, func(ctx context.Context) (loaded, error) {
		value, err := f.load(ctx, key, load)
		if err != nil {
			return loaded{}, err
		}
		payload, err := f.encode(key, value, reflect.TypeOf(out).Elem())
		return loaded{value: value, payload: payload, shared: err == nil}, nil
	})
	if err == nil && started {
		return dest.Set(out, result.value)
	}
	return f.land(ctx, key, result, err, out, load)
}

// land gives a caller the result of a load that was not its own, or lets it load for itself.
func (f *Fake) land(
	ctx context.Context, key entryKey, result loaded, err error, out any,
	load func(context.Context) (any, error),
) error {
	switch {
	case errors.Is(err, flight.ErrNothingToShare), errors.Is(err, flight.ErrCycle):
		return f.loadAlone(ctx, key, out, load)
	case err != nil:
		return err
	case result.shared && decode(f.codec, result.payload, out) == nil:
		return nil
	default:
		return f.loadAlone(ctx, key, out, load)
	}
}

// loadAndFill loads and stores a value. Readers decode it into a type, nil if that is not known.
func (f *Fake) loadAndFill(
	ctx context.Context, key flightKey, as reflect.Type, load func(context.Context) (any, error),
) (loaded, error) {
	value, ttl, err := f.loadLimited(ctx, key.entryKey, load)
	if errors.Is(err, cache.ErrNotFound) {
		return loaded{storedNegative: f.fillNegative(key, ttl)}, err
	}
	if err != nil {
		return loaded{}, err
	}
	payload, err := f.fill(key, value, as, ttl)
	return loaded{value: value, payload: payload, shared: err == nil}, nil
}

// refresh replaces a stale entry, unless another caller does. If that fails, the entry stays.
func (f *Fake) refresh(ctx context.Context, key entryKey, load func(context.Context) (any, error)) {
	token, begun := f.beginRefresh(key)
	if !begun {
		return
	}
	var err error
	defer func() {
		f.endRefresh(key, err != nil && !errors.Is(err, cache.ErrNotFound) || recover() != nil)
	}()
	flown := f.flightOf(key, token)
	result, started, err := f.flights.Do(context.WithoutCancel(ctx), flown,
		func(ctx context.Context) (loaded, error) { return f.loadAndFill(ctx, flown, nil, load) })
	if errors.Is(err, cache.ErrNotFound) && started && !result.storedNegative {
		f.removeIf(flown)
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

// load is loadLimited for what is not stored.
func (f *Fake) load(
	ctx context.Context, key entryKey, load func(context.Context) (any, error),
) (any, error) {
	value, _, err := f.loadLimited(ctx, key, load)
	return value, err
}

// loadLimited calls the loader, unless that loads its own entry within itself over and over. The
// loader may say for how long to keep the value.
func (f *Fake) loadLimited(
	ctx context.Context, key entryKey, load func(context.Context) (any, error),
) (any, *limit.TTL, error) {
	ctx, ok := flight.Nested(ctx, nestedKey{f, key})
	if !ok {
		return nil, nil, fmt.Errorf("%w: an entry of %s, operation %s", cache.ErrLoadCycle, key.module,
			key.operation)
	}
	ctx, ttl := limit.With(ctx)
	value, err := load(ctx)
	return value, ttl, err
}

// nestedKey names what is loaded, across all Fakes.
type nestedKey struct {
	fake *Fake
	key  entryKey
}

func (f *Fake) loadAlone(
	ctx context.Context, key entryKey, out any, load func(context.Context) (any, error),
) error {
	return loadUnnamed(ctx, out, func(ctx context.Context) (any, error) {
		return f.load(ctx, key, load)
	})
}

func loadUnnamed(ctx context.Context, out any, load func(context.Context) (any, error)) error {
	ctx, _ = limit.With(ctx) // what is loaded is not what an outer loader loads
	value, err := load(ctx)
	if err != nil {
		return err
	}
	return dest.Set(out, value)
}
