// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"time"

	"github.com/cachewright/cachewright/cache/internal/dest"
	"github.com/cachewright/cachewright/cache/internal/flight"
	"github.com/cachewright/cachewright/cache/internal/gateway"
	"github.com/cachewright/cachewright/cache/internal/heads"
	"github.com/cachewright/cachewright/cache/internal/near"
	"github.com/cachewright/cachewright/cache/internal/outbox"
	"github.com/cachewright/cachewright/cache/internal/report"
	"github.com/cachewright/cachewright/registry"
)

// loader reads entries through the cache. It asks the near cache, then Redis, then the source.
type loader struct {
	gateway  *gateway.Gateway
	outbox   *outbox.Outbox
	near     *near.Cache // nil: none
	reports  *report.Reporter
	failures *failures
	observer Observer // nil: none
	codec    Codec

	loads     *loads
	refresher *refresher
	auditor   *auditor

	timeout  time.Duration // for all calls to Redis of one Fetch
	loadWait time.Duration
}

// fetch is Client.Fetch. It tells the observer, if there is one.
func (l *loader) fetch(ctx context.Context, key Key, out any, load loadFunc) (err error) {
	if l.observer == nil {
		_, err = l.serve(ctx, key, out, load)
		return err
	}
	request := Request{Verb: VerbFetch, Module: key.Module, Operation: key.Operation}
	ctx, done := l.observer.StartRequest(ctx, request)
	outcome, err := OutcomeMiss, errNoReturn
	defer func() { done(outcome, err) }()
	outcome, err = l.serve(ctx, key, out, observedLoad(l.observer, key, load))
	return err
}

// serve makes out hold the value of an entry, wherever it comes from.
func (l *loader) serve(ctx context.Context, key Key, out any, load loadFunc) (Outcome, error) {
	if err := dest.Check(out); err != nil {
		return OutcomeError, err
	}
	if err := ctx.Err(); err != nil {
		return OutcomeError, err
	}
	nearKey, plain := near.PlainKey(key.Module, key.Operation, key.User, key.Params)
	if plain {
		if found, err := l.getNear(nearKey, out); found {
			l.auditor.auditNear(ctx, key, nearKey, out, load)
			return OutcomeNearHit, err
		}
	}
	entry, err := entryKey(l.gateway.Slot(key.Module), key)
	if err != nil {
		l.failures.add(key.Module, key.Operation, err)
		return OutcomeError, loadUnnamed(ctx, out, load)
	}
	if !plain {
		nearKey = near.DigestKey(entry)
		if found, err := l.getNear(nearKey, out); found {
			l.auditor.auditNear(ctx, key, nearKey, out, load)
			return OutcomeNearHit, err
		}
	}
	if l.outbox.Covers(entry) {
		return OutcomeBypass, l.loads.alone(ctx, entry, out, load)
	}
	stamp := l.near.Stamp(entry)
	lookup, left, found := l.find(ctx, entry, out, load)
	if found {
		l.putNear(nearKey, entry, out, lookup, stamp)
		l.auditor.auditHit(ctx, key, entry, lookup, out, load)
		return outcomeOfHit(lookup), errorOf(lookup)
	}
	if err := ctx.Err(); err != nil {
		return OutcomeError, err
	}
	m := miss{key: entry, lookup: lookup, left: left}
	return outcomeOfMiss(lookup), l.load(ctx, m, out, load)
}

// load gets the value of an entry that neither the near cache nor Redis has. If the load of another
// caller takes too long, it looks for the entry again, and loads beside that caller.
func (l *loader) load(ctx context.Context, m miss, out any, load loadFunc) error {
	if !m.lookup.Cacheable {
		return l.loads.alone(ctx, m.key, out, load)
	}
	err := l.loads.shared(ctx, m, out, load)
	if !errors.Is(err, flight.ErrOverdue) {
		return err
	}
	lookup, left, found := l.find(ctx, m.key, out, load)
	switch {
	case found:
		return errorOf(lookup)
	case ctx.Err() != nil:
		return ctx.Err()
	case !lookup.Cacheable:
		return l.loads.alone(ctx, m.key, out, load)
	}
	err = l.loads.shared(ctx, miss{key: m.key, lookup: lookup, left: left}, out, load)
	if errors.Is(err, flight.ErrOverdue) {
		return l.loads.stuck(m.key)
	}
	return err
}

// find looks for an entry in Redis. If it is found, out holds its value, unless it is negative.
// Otherwise the lookup is a miss. It is cacheable only if Redis answered, with a token to fill the
// entry and perhaps the load lock. left is how much longer the caller may wait for Redis.
func (l *loader) find(
	ctx context.Context, key registry.Key, out any, load loadFunc,
) (lookup registry.Lookup, left time.Duration, found bool) {
	began := time.Now()
	lookup, err := l.gateway.Read(ctx, key)
	if err != nil {
		return registry.Lookup{}, 0, false
	}
	if lookup.Hit {
		if l.use(key, lookup, out) {
			l.countHit(ctx, key, lookup, load)
			return lookup, 0, true
		}
		// This version of the application cannot use it. Only an entry that is gone can be leased.
		if err := l.gateway.Remove(ctx, l.timeout-time.Since(began), key); err != nil {
			return registry.Lookup{}, 0, false
		}
	}
	lookup, err = l.gateway.Lease(ctx, l.timeout-time.Since(began), key, l.loadWait)
	if err != nil || !lookup.Hit {
		return lookup, l.timeout - time.Since(began), false
	}
	if lookup.Token != "" {
		l.refresher.refreshStale(ctx, key, lookup.Token, load)
	}
	if !l.use(key, lookup, out) {
		return registry.Lookup{}, 0, false
	}
	return lookup, 0, true
}

// use reports whether a hit serves the caller: out holds its value, or it is negative.
func (l *loader) use(key registry.Key, hit registry.Lookup, out any) bool {
	if hit.Negative {
		return true
	}
	if err := decode(l.codec, hit.Payload, out); err != nil {
		l.failures.add(key.Module, key.Operation, err)
		return false
	}
	return true
}

// countHit counts a hit, and refreshes an entry that is stale or close to its end. Redis counts a
// stale hit itself when it leases the entry for a refresh.
func (l *loader) countHit(
	ctx context.Context, key registry.Key, hit registry.Lookup, load loadFunc,
) {
	if !hit.Stale {
		l.refresher.refreshEarly(ctx, key, hit, load)
	}
	if !hit.Stale || !l.refresher.refreshStale(ctx, key, "", load) {
		l.reports.Add(key.Module, key.Operation, hitCounters(hit))
	}
}

// getNear reports whether the near cache has an entry. If so, out holds its value, or the error is
// ErrNotFound. While an invalidation waits for Redis, the near cache is not read.
func (l *loader) getNear(key near.Key, out any) (found bool, err error) {
	if l.near == nil || l.outbox.Waiting() {
		return false, nil
	}
	found, negative := l.near.Get(key, out)
	if negative {
		return true, ErrNotFound
	}
	return found, nil
}

// putNear keeps what out holds after a hit. It keeps an entry that is refreshed early for less time
// than it has left, so that this process reads Redis again before the end.
func (l *loader) putNear(
	key near.Key, entry registry.Key, out any, hit registry.Lookup, stamp heads.Stamp,
) {
	if l.near == nil {
		return
	}
	hit.Remaining -= l.refresher.early.headStart(entry.Module, entry.Operation)
	l.near.Put(key, entry.Slot, out, hit, stamp)
}
