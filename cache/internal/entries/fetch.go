// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package entries reads entries through the cache, and writes them. It knows the order in which the
// near cache, the outbox, Redis and the source are asked.
package entries

import (
	"context"
	"errors"
	"time"

	"github.com/cachewright/cachewright/cache/internal/audit"
	"github.com/cachewright/cachewright/cache/internal/codec"
	"github.com/cachewright/cachewright/cache/internal/dest"
	"github.com/cachewright/cachewright/cache/internal/failure"
	"github.com/cachewright/cachewright/cache/internal/flight"
	"github.com/cachewright/cachewright/cache/internal/gateway"
	"github.com/cachewright/cachewright/cache/internal/heads"
	"github.com/cachewright/cachewright/cache/internal/loads"
	"github.com/cachewright/cachewright/cache/internal/near"
	"github.com/cachewright/cachewright/cache/internal/operations"
	"github.com/cachewright/cachewright/cache/internal/outbox"
	"github.com/cachewright/cachewright/cache/internal/params"
	"github.com/cachewright/cachewright/cache/internal/refresh"
	"github.com/cachewright/cachewright/cache/internal/report"
	"github.com/cachewright/cachewright/cache/internal/schema"
	"github.com/cachewright/cachewright/cache/internal/source"
	"github.com/cachewright/cachewright/registry"
)

// Key addresses an entry. It is a cache.Key.
type Key struct {
	Module    string
	Operation string
	Params    any
	User      string
}

// Config says how Entries are read and written. All fields are needed.
type Config struct {
	Gateway  *gateway.Gateway
	Outbox   *outbox.Outbox
	Near     *near.Cache // nil: none
	Reports  *report.Reporter
	Failures *failure.Reports
	Codec    codec.Codec
	Schemas  schema.Rules

	Loads     *loads.Loads
	Early     *refresh.HeadStarts
	Refresher *refresh.Refresher
	Auditor   *audit.Auditor
	// Missed is called for each Get that finds nothing.
	Missed func(module, operation string)

	Timeout  time.Duration // for all calls to Redis of one Fetch
	LoadWait time.Duration
}

// Entries are those of the namespace.
type Entries struct {
	config     Config
	oldLibrary oldLibrary
}

// New returns Entries.
func New(config Config) *Entries { return &Entries{config: config} }

// Fetch makes out hold the value of an entry, wherever it comes from.
func (e *Entries) Fetch(
	ctx context.Context, key Key, out any, load source.Load,
) (Outcome, error) {
	if err := dest.Check(out); err != nil {
		return Error, err
	}
	if err := ctx.Err(); err != nil {
		return Error, err
	}
	nearKey, plain := near.PlainKey(key.Module, key.Operation, key.User, key.Params)
	if plain {
		if found, err := e.getNear(nearKey, out); found {
			e.auditNear(ctx, key, nearKey, out, load)
			return NearHit, err
		}
	}
	entry, err := e.KeyOf(key)
	if err != nil {
		return Error, loads.Unnamed(ctx, out, load)
	}
	if !plain {
		nearKey = near.DigestKey(entry)
		if found, err := e.getNear(nearKey, out); found {
			e.auditNear(ctx, key, nearKey, out, load)
			return NearHit, err
		}
	}
	if e.config.Outbox.Covers(entry) {
		return Bypass, e.config.Loads.Alone(ctx, entry, out, load)
	}
	stamp := e.config.Near.Stamp(entry)
	lookup, remaining, found := e.find(ctx, entry, out, load)
	if found {
		e.putNear(nearKey, entry, out, lookup, stamp)
		e.config.Auditor.Hit(ctx, entry, lookup, out, load)
		return outcomeOfHit(lookup), errorOf(lookup)
	}
	if err := ctx.Err(); err != nil {
		return Error, err
	}
	m := loads.Miss{Key: entry, Lookup: lookup, Remaining: remaining}
	return outcomeOfMiss(lookup), e.load(ctx, m, out, load)
}

// load gets the value of an entry that neither the near cache nor Redis has. If the load of another
// caller takes too long, it looks for the entry again, and loads beside that caller.
func (e *Entries) load(ctx context.Context, m loads.Miss, out any, load source.Load) error {
	err := e.loadOnce(ctx, m, out, load)
	if !errors.Is(err, flight.ErrOverdue) {
		return err
	}
	lookup, remaining, found := e.find(ctx, m.Key, out, load)
	switch {
	case found:
		return errorOf(lookup)
	case ctx.Err() != nil:
		return ctx.Err()
	}
	err = e.loadOnce(ctx, loads.Miss{Key: m.Key, Lookup: lookup, Remaining: remaining}, out, load)
	if errors.Is(err, flight.ErrOverdue) {
		return e.config.Loads.Stuck(m.Key)
	}
	return err
}

// loadOnce loads an entry together with the callers that may have the same value.
func (e *Entries) loadOnce(ctx context.Context, m loads.Miss, out any, load source.Load) error {
	switch {
	case m.Lookup.Held > 0:
		return e.config.Loads.Held(ctx, m.Key, out, load)
	case !m.Lookup.Cacheable:
		return e.config.Loads.Alone(ctx, m.Key, out, load)
	default:
		return e.config.Loads.Shared(ctx, m, out, load)
	}
}

// find looks for an entry in Redis. If it is found, out holds its value, unless it is negative.
// Otherwise the lookup is a miss. It is cacheable only if Redis answered, with a token to fill the
// entry and perhaps the load lock. remaining is how much longer the caller may wait for Redis.
func (e *Entries) find(
	ctx context.Context, key registry.Key, out any, load source.Load,
) (lookup registry.Lookup, remaining time.Duration, found bool) {
	began := time.Now()
	lookup, err := e.config.Gateway.Read(ctx, key)
	if err != nil {
		return registry.Lookup{}, 0, false
	}
	if lookup.Hit {
		if e.use(key, lookup, out) {
			e.countHit(ctx, key, lookup, load)
			return lookup, 0, true
		}
		// This version of the application cannot use it. Only an entry that is gone can be leased.
		if err := e.config.Gateway.Remove(ctx, e.config.Timeout-time.Since(began), key); err != nil {
			return registry.Lookup{}, 0, false
		}
	}
	remaining = e.config.Timeout - time.Since(began)
	lookup, err = e.config.Gateway.Lease(ctx, remaining, key, e.config.LoadWait)
	if err != nil || !lookup.Hit {
		return lookup, e.config.Timeout - time.Since(began), false
	}
	if lookup.Token != "" {
		e.config.Refresher.Stale(ctx, key, lookup.Token, load)
	}
	if !e.use(key, lookup, out) {
		return registry.Lookup{}, 0, false
	}
	return lookup, 0, true
}

// use reports whether a hit serves the caller: out holds its value, or it is negative.
func (e *Entries) use(key registry.Key, hit registry.Lookup, out any) bool {
	if hit.Negative {
		return true
	}
	if err := codec.Decode(e.config.Codec, hit.Payload, out); err != nil {
		e.config.Failures.Add(key.Module, key.Operation, err)
		return false
	}
	return true
}

// countHit counts a hit, and refreshes an entry that is stale or close to its end. Redis counts a
// stale hit itself when it leases the entry for a refresh.
func (e *Entries) countHit(
	ctx context.Context, key registry.Key, hit registry.Lookup, load source.Load,
) {
	if !hit.Stale {
		e.config.Refresher.Early(ctx, key, hit, load)
	}
	if !hit.Stale || !e.config.Refresher.Stale(ctx, key, "", load) {
		e.config.Reports.Add(key.Module, key.Operation, hitCounters(hit))
	}
}

// KeyOf returns the key of an entry in Redis, and reports params that cannot name one.
func (e *Entries) KeyOf(key Key) (registry.Key, error) {
	id, err := params.Named(key.Params)
	if err != nil {
		e.config.Failures.Add(key.Module, key.Operation, err)
		return registry.Key{}, err
	}
	return registry.Key{
		Slot: e.config.Gateway.Slot(key.Module), Operation: key.Operation, ID: id, User: key.User,
		Schema: e.config.Schemas.Of(key.Module, key.Operation),
	}, nil
}

// auditNear audits a hit in the near cache.
func (e *Entries) auditNear(
	ctx context.Context, key Key, nearKey near.Key, out any, load source.Load,
) {
	operation := operations.Operation{Module: key.Module, Name: key.Operation}
	e.config.Auditor.NearHit(ctx, operation, nearKey, out, load)
}

// getNear reports whether the near cache has an entry. If so, out holds its value, or the error is
// ErrNotFound. While an invalidation waits for Redis, the near cache is not read.
func (e *Entries) getNear(key near.Key, out any) (found bool, err error) {
	if e.config.Near == nil || e.config.Outbox.Waiting() {
		return false, nil
	}
	found, negative := e.config.Near.Get(key, out)
	if negative {
		return true, source.ErrNotFound
	}
	return found, nil
}

// putNear keeps what out holds after a hit. It keeps an entry that is refreshed early for less time
// than it has left, so that this process reads Redis again before the end.
func (e *Entries) putNear(
	key near.Key, entry registry.Key, out any, hit registry.Lookup, stamp heads.Stamp,
) {
	if e.config.Near == nil {
		return
	}
	hit.Remaining -= e.config.Early.Of(entry.Module, entry.Operation)
	e.config.Near.Put(key, entry.Slot, out, hit, stamp)
}
