// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"

	"github.com/cachewright/cachewright/cache/internal/dest"
	"github.com/cachewright/cachewright/cache/internal/near"
	"github.com/cachewright/cachewright/registry"
)

// get is Client.Get. It tells the observer, if there is one.
func (l *loader) get(ctx context.Context, key Key, out any) (found bool, err error) {
	if l.observer == nil {
		_, found, err = l.read(ctx, key, out)
		return found, err
	}
	request := Request{Verb: VerbGet, Module: key.Module, Operation: key.Operation}
	ctx, done := l.observer.StartRequest(ctx, request)
	outcome, found, err := l.read(ctx, key, out)
	done(outcome, err)
	return found, err
}

// read reads an entry without loading it.
func (l *loader) read(
	ctx context.Context, key Key, out any,
) (outcome Outcome, found bool, err error) {
	if err := dest.Check(out); err != nil {
		return OutcomeError, false, err
	}
	entry, err := entryKey(l.gateway.Slot(key.Module), key)
	if err != nil {
		l.failures.add(key.Module, key.Operation, err)
		return OutcomeError, false, err
	}
	nearKey, plain := near.PlainKey(key.Module, key.Operation, key.User, key.Params)
	if !plain {
		nearKey = near.DigestKey(entry)
	}
	if found, err := l.getNear(nearKey, out); found {
		return OutcomeNearHit, err == nil, err
	}
	if l.outbox.Covers(entry) {
		return OutcomeBypass, false, ErrQueued
	}
	stamp := l.near.Stamp(entry)
	lookup, err := l.gateway.Read(ctx, entry)
	if err != nil {
		return OutcomeError, false, err
	}
	if lookup.Hit && l.use(entry, lookup, out) {
		l.putNear(nearKey, entry, out, lookup, stamp)
		l.reports.Add(key.Module, key.Operation, hitCounters(lookup))
		return outcomeOfHit(lookup), !lookup.Negative, errorOf(lookup)
	}
	l.reports.Add(key.Module, key.Operation, registry.Counters{Misses: 1})
	return OutcomeMiss, false, nil
}

// set stores a value in place of the one that is there, in three calls to Redis.
func (l *loader) set(ctx context.Context, key Key, value any) error {
	entry, err := entryKey(l.gateway.Slot(key.Module), key)
	if err != nil {
		l.failures.add(key.Module, key.Operation, err)
		return err
	}
	payload, err := encode(l.codec, value)
	if err != nil {
		l.failures.add(key.Module, key.Operation, err)
		return err
	}
	// Only an entry that is gone can be leased. The removal also keeps loads under way from
	// overwriting the value.
	if err := l.gateway.Remove(ctx, l.timeout, entry); err != nil {
		return err
	}
	lookup, err := l.gateway.Lease(ctx, l.timeout, entry, 0)
	if err != nil {
		return err
	}
	// A hit was stored after the removal, as if it had replaced the value a moment later.
	if lookup.Hit || !lookup.Cacheable {
		return nil
	}
	outcome, err := l.gateway.Set(ctx, l.timeout, entry, payload, lookup.Token)
	if err != nil {
		return err
	}
	if outcome == registry.Refused {
		err := refusal(entry, len(payload))
		l.failures.add(key.Module, key.Operation, err)
		return err
	}
	return nil // a fenced value was invalidated before it could be read
}
