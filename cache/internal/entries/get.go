// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package entries

import (
	"context"

	"github.com/cachewright/cachewright/cache/internal/dest"
	"github.com/cachewright/cachewright/cache/internal/near"
	"github.com/cachewright/cachewright/cache/internal/outbox"
	"github.com/cachewright/cachewright/registry"
)

// Get reads an entry without loading it.
func (e *Entries) Get(
	ctx context.Context, key Key, out any,
) (outcome Outcome, found bool, err error) {
	if err := dest.Check(out); err != nil {
		return Error, false, err
	}
	entry, err := e.KeyOf(key)
	if err != nil {
		return Error, false, err
	}
	nearKey, plain := near.PlainKey(key.Module, key.Operation, key.User, key.Params)
	if !plain {
		nearKey = near.DigestKey(entry)
	}
	if found, err := e.getNear(nearKey, out); found {
		return NearHit, err == nil, err
	}
	if e.config.Outbox.Covers(entry) {
		return Bypass, false, outbox.ErrQueued
	}
	stamp := e.config.Near.Stamp(entry)
	lookup, err := e.config.Gateway.Read(ctx, entry)
	if err != nil {
		return Error, false, err
	}
	if lookup.Hit && e.use(entry, lookup, out) {
		e.putNear(nearKey, entry, out, lookup, stamp)
		e.config.Reports.Add(key.Module, key.Operation, hitCounters(lookup))
		return outcomeOfHit(lookup), !lookup.Negative, errorOf(lookup)
	}
	e.config.Reports.Add(key.Module, key.Operation, registry.Counters{Misses: 1})
	e.config.Missed(key.Module, key.Operation)
	return Miss, false, nil
}
