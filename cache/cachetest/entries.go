// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cachetest

import (
	"context"
	"errors"
	"reflect"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/cache/internal/dest"
	"github.com/cachewright/cachewright/cache/internal/limit"
	"github.com/cachewright/cachewright/registry"
)

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

// leased says whether a fill would be stored.
type leased struct {
	token     token
	cacheable bool
	held      bool // by a hold: the policy would cache it
}

// lease counts a miss, or a read that a hold forbids to store.
func (f *Fake) lease(key entryKey) leased {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.modules[key.module] = true
	rule := f.rule(key.module, key.operation)
	switch {
	case rule.TTL <= 0:
		return leased{}
	case !f.isHeld(key):
		f.count(key, counts{misses: 1})
		return leased{token: f.tokenOf(key), cacheable: true}
	case rule.Scope == registry.ScopeUser && key.user == "":
		return leased{}
	default:
		f.count(key, counts{heldReads: 1})
		return leased{held: true}
	}
}

// errNotKept says that the loader asked to keep its value for no time.
var errNotKept = errors.New("the loader asked to keep nothing")

// fill stores a loaded value. After an error, the value must not be shared either.
func (f *Fake) fill(
	key flightKey, value any, as reflect.Type, asked *limit.TTL,
) ([]byte, error) {
	payload, err := f.encode(key.entryKey, value, as)
	if err != nil {
		return nil, err
	}
	ttl, forbids := asked.Get()
	if forbids {
		return payload, errNotKept
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err = f.store(key.entryKey, payload, key.token, ttl); err != nil {
		f.count(key.entryKey, counts{errors: 1})
	}
	return payload, err
}

// encode encodes a value and counts that it cannot be stored.
func (f *Fake) encode(key entryKey, value any, as reflect.Type) ([]byte, error) {
	payload, err := f.encoder.Encode(key.module, key.operation, value, as)
	if err != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.count(key, counts{errors: 1})
	}
	return payload, err
}

// fillNegative stores that the source has nothing, and reports whether the policy allows that.
func (f *Fake) fillNegative(key flightKey, asked *limit.TTL) bool {
	ttl, forbids := asked.Get()
	if forbids {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.storeNegative(key.entryKey, key.token, ttl)
}

// removeIf removes what the source does not have any more, unless it was invalidated meanwhile.
func (f *Fake) removeIf(key flightKey) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if key.token == f.tokenOf(key.entryKey) {
		f.remove(key.entryKey)
	}
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
	payload, err := f.encode(entry, value, nil)
	if err = errors.Join(err, failure); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.modules[key.Module] = true
	f.remove(entry)
	if f.isHeld(entry) {
		return f.refuse(entry, payload)
	}
	return f.store(entry, payload, f.tokenOf(entry), 0)
}

// Delete implements cache.Cache.
func (f *Fake) Delete(_ context.Context, key cache.Key) error {
	return f.delete(key, f.record(keyCall("Delete", key)))
}

func (f *Fake) delete(key cache.Key, failure error) error {
	entry, err := newEntryKey(key)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.remove(entry)
	return queued(failure)
}
