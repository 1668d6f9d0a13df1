// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package entries

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/cachewright/cachewright/cache/internal/fence"
	"github.com/cachewright/cachewright/cache/internal/gateway"
	"github.com/cachewright/cachewright/cache/internal/loads"
	"github.com/cachewright/cachewright/registry"
)

// oldLibraryPause is how long a library that knows no puts is not asked for one again. The operator
// may replace it at any time.
const oldLibraryPause = time.Minute

// Set stores a value in place of the one that is there.
func (e *Entries) Set(ctx context.Context, key Key, value any) error {
	entry, err := e.KeyOf(key)
	if err != nil {
		return err
	}
	payload, err := e.config.Loads.Encode(entry, value, nil)
	if err != nil {
		return err
	}
	outcome, err := e.put(ctx, entry, payload)
	if err != nil {
		return err
	}
	if outcome == registry.Refused {
		err := loads.Refusal(entry, len(payload))
		e.config.Failures.Add(key.Module, key.Operation, err)
		return err
	}
	return nil // what a hold forbids to store was removed
}

// put stores a payload in one call, or in three if the library is older. If it cannot store the
// payload, what was there before must not stay either.
func (e *Entries) put(
	ctx context.Context, key registry.Key, payload []byte,
) (registry.Outcome, error) {
	if e.oldLibrary.isKnown() {
		return e.replace(ctx, key, payload)
	}
	outcome, err := e.config.Gateway.Put(ctx, e.config.Timeout, key, payload)
	switch {
	case errors.Is(err, registry.ErrLibraryTooOld):
		e.oldLibrary.note()
		return e.replace(ctx, key, payload)
	case errors.Is(err, registry.ErrOutOfMemory), errors.Is(err, gateway.ErrPaused),
		errors.Is(err, fence.ErrUnfenced):
		return 0, errors.Join(err, e.config.Gateway.Remove(ctx, e.config.Timeout, key))
	default:
		return outcome, err
	}
}

// replace removes an entry, leases it and fills it. In between, readers find nothing.
func (e *Entries) replace(
	ctx context.Context, key registry.Key, payload []byte,
) (registry.Outcome, error) {
	// Only an entry that is gone can be leased. The removal also keeps loads under way from
	// overwriting the value.
	if err := e.config.Gateway.Remove(ctx, e.config.Timeout, key); err != nil {
		return 0, err
	}
	lookup, err := e.config.Gateway.Lease(ctx, e.config.Timeout, key, 0)
	if err != nil {
		return 0, err
	}
	// A hit was stored after the removal, as if it had replaced the value a moment later.
	if lookup.Hit || !lookup.Cacheable {
		return registry.Disabled, nil
	}
	return e.config.Gateway.Fill(
		ctx, e.config.Timeout, key, payload, lookup.Token, registry.FillOptions{})
}

// oldLibrary remembers for a while that the library knows no puts.
type oldLibrary struct{ until atomic.Int64 }

func (o *oldLibrary) isKnown() bool { return time.Now().UnixNano() < o.until.Load() }

func (o *oldLibrary) note() { o.until.Store(time.Now().Add(oldLibraryPause).UnixNano()) }
