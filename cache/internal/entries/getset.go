// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package entries

import (
	"context"

	"github.com/cachewright/cachewright/cache/internal/dest"
	"github.com/cachewright/cachewright/cache/internal/loads"
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

// Set stores a value in place of the one that is there, in three calls to Redis.
func (e *Entries) Set(ctx context.Context, key Key, value any) error {
	entry, err := e.KeyOf(key)
	if err != nil {
		return err
	}
	payload, err := e.config.Loads.Encode(entry, value, nil)
	if err != nil {
		return err
	}
	// Only an entry that is gone can be leased. The removal also keeps loads under way from
	// overwriting the value.
	if err := e.config.Gateway.Remove(ctx, e.config.Timeout, entry); err != nil {
		return err
	}
	lookup, err := e.config.Gateway.Lease(ctx, e.config.Timeout, entry, 0)
	if err != nil {
		return err
	}
	// A hit was stored after the removal, as if it had replaced the value a moment later.
	if lookup.Hit || !lookup.Cacheable {
		return nil
	}
	outcome, err := e.config.Gateway.Set(ctx, e.config.Timeout, entry, payload, lookup.Token)
	if err != nil {
		return err
	}
	if outcome == registry.Refused {
		err := loads.Refusal(entry, len(payload))
		e.config.Failures.Add(key.Module, key.Operation, err)
		return err
	}
	return nil // a fenced value was invalidated before it could be read
}
