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
)

type flightKey struct {
	entryKey

	schema string
	token  token
}

type loaded struct {
	value   any
	payload []byte
	shared  bool
	// storedNegative says, beside cache.ErrNotFound, that the cache stored it.
	storedNegative bool
}

// Fetch implements cache.Cache.
func (f *Fake) Fetch(
	ctx context.Context, key cache.Key, out any, load func(context.Context) (any, error),
) error {
	failure := f.record(keyCall("Fetch", key))
	if err := dest.Check(out); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	entry, err := newEntryKey(key)
	if err != nil {
		return loadUnnamed(ctx, out, load)
	}
	if failure != nil {
		return f.loadAlone(ctx, entry, out, load)
	}
	if hit := f.read(entry, out); hit.found {
		if hit.stale {
			f.refresh(ctx, entry, load)
		}
		return hit.err()
	}
	token, cacheable := f.lease(entry)
	if !cacheable {
		return f.loadAlone(ctx, entry, out, load)
	}
	err = f.loadTogether(ctx, f.flightOf(entry, token), out, load)
	if errors.Is(err, flight.ErrOverdue) {
		if hit := f.read(entry, out); hit.found {
			return hit.err()
		}
		token, _ = f.lease(entry)
		err = f.loadTogether(ctx, f.flightOf(entry, token), out, load)
	}
	if errors.Is(err, flight.ErrOverdue) || errors.Is(err, flight.ErrStuck) {
		return fmt.Errorf("%w: an entry of %s, operation %s", cache.ErrLoadStuck, entry.module,
			entry.operation)
	}
	return err
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
	switch {
	case errors.Is(err, flight.ErrNothingToShare), errors.Is(err, flight.ErrCycle):
		return f.loadAlone(ctx, key.entryKey, out, load)
	case err != nil:
		return err
	case started:
		return dest.Set(out, result.value)
	case result.shared && decode(f.codec, result.payload, out) == nil:
		return nil
	default:
		return f.loadAlone(ctx, key.entryKey, out, load)
	}
}

// loadAndFill loads and stores a value. Readers decode it into a type, nil if that is not known.
func (f *Fake) loadAndFill(
	ctx context.Context, key flightKey, as reflect.Type, load func(context.Context) (any, error),
) (loaded, error) {
	value, err := f.load(ctx, key.entryKey, load)
	if errors.Is(err, cache.ErrNotFound) {
		return loaded{storedNegative: f.fillNegative(key)}, err
	}
	if err != nil {
		return loaded{}, err
	}
	payload, err := f.fill(key, value, as)
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

// load calls the loader, unless that loads its own entry within itself over and over.
func (f *Fake) load(
	ctx context.Context, key entryKey, load func(context.Context) (any, error),
) (any, error) {
	ctx, ok := flight.Nested(ctx, nestedKey{f, key})
	if !ok {
		return nil, fmt.Errorf("%w: an entry of %s, operation %s", cache.ErrLoadCycle, key.module,
			key.operation)
	}
	return load(ctx)
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
	value, err := load(ctx)
	if err != nil {
		return err
	}
	return dest.Set(out, value)
}

type hit struct{ found, stale, negative bool }

func (h hit) err() error {
	if h.negative {
		return cache.ErrNotFound
	}
	return nil
}

// read reads an entry and counts the hit. Unless the entry is negative, out holds its value. An
// entry of another type is removed.
func (f *Fake) read(key entryKey, out any) hit {
	f.mu.Lock()
	defer f.mu.Unlock()
	e, stale, live := f.live(key)
	if !live || e.schema != f.schemaOf(key) {
		return hit{}
	}
	if !e.negative {
		if err := decode(f.codec, e.payload, out); err != nil {
			f.count(key, counts{errors: 1})
			f.remove(key)
			return hit{}
		}
	}
	if stale {
		f.count(key, counts{stale: 1})
	} else {
		f.count(key, counts{hits: 1})
	}
	return hit{found: true, stale: stale, negative: e.negative}
}

// lease counts a miss and reports whether a fill would be stored.
func (f *Fake) lease(key entryKey) (token, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.modules[key.module] = true
	f.count(key, counts{misses: 1})
	return f.tokenOf(key), f.rule(key.module, key.operation).TTL > 0
}

// fill stores a loaded value. After an error, the value must not be shared either.
func (f *Fake) fill(key flightKey, value any, as reflect.Type) ([]byte, error) {
	payload, err := f.encoder.Encode(key.module, key.operation, value, as)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil {
		err = f.store(key.entryKey, payload, key.token)
	}
	if err != nil {
		f.count(key.entryKey, counts{errors: 1})
	}
	return payload, err
}

// fillNegative stores that the source has nothing, and reports whether the policy allows that.
func (f *Fake) fillNegative(key flightKey) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.storeNegative(key.entryKey, key.token)
}

// removeIf removes what the source does not have any more, unless it was invalidated meanwhile.
func (f *Fake) removeIf(key flightKey) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if key.token == f.tokenOf(key.entryKey) {
		f.remove(key.entryKey)
	}
}

func refusal(key entryKey, reason string) error {
	return fmt.Errorf("%w: an entry of %s, operation %s: %s", cache.ErrRefused, key.module,
		key.operation, reason)
}

// Get implements cache.Cache.
func (f *Fake) Get(_ context.Context, key cache.Key, out any) (bool, error) {
	failure := f.record(keyCall("Get", key))
	if err := dest.Check(out); err != nil {
		return false, err
	}
	entry, err := newEntryKey(key)
	if err = errors.Join(err, failure); err != nil {
		return false, err
	}
	if hit := f.read(entry, out); hit.found {
		return !hit.negative, hit.err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count(entry, counts{misses: 1})
	return false, nil
}

// Set implements cache.Cache.
func (f *Fake) Set(_ context.Context, key cache.Key, value any) error {
	failure := f.record(keyCall("Set", key))
	entry, err := newEntryKey(key)
	if err != nil {
		return err
	}
	payload, err := f.encoder.Encode(key.Module, key.Operation, value, nil)
	if err = errors.Join(err, failure); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.modules[key.Module] = true
	f.remove(entry)
	return f.store(entry, payload, f.tokenOf(entry))
}

// Delete implements cache.Cache.
func (f *Fake) Delete(_ context.Context, key cache.Key) error {
	failure := f.record(keyCall("Delete", key))
	entry, err := newEntryKey(key)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.remove(entry)
	return queued(failure)
}
