// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"

	"github.com/cachewright/cachewright/cache/internal/dest"
	"github.com/cachewright/cachewright/cache/internal/near"
	"github.com/cachewright/cachewright/cache/internal/outbox"
	"github.com/cachewright/cachewright/registry"
)

// Get implements Cache.
func (c *Client) Get(ctx context.Context, key Key, out any) (bool, error) {
	if c.observer != nil {
		return c.getObserved(ctx, key, out)
	}
	_, found, err := c.get(ctx, key, out)
	return found, err
}

func (c *Client) get(ctx context.Context, key Key, out any) (outcome Outcome, found bool, err error) {
	if err := dest.Check(out); err != nil {
		return OutcomeError, false, err
	}
	entry, err := c.entry(key)
	if err != nil {
		c.failed(key.Module, key.Operation, err)
		return OutcomeError, false, err
	}
	nearby, plain := near.PlainKey(key.Module, key.Operation, key.User, key.Params)
	if !plain {
		nearby = near.DigestKey(entry)
	}
	if kept, err := c.getNear(nearby, out); kept {
		return OutcomeNearHit, err == nil, err
	}
	if c.outbox.Covers(entry) {
		return OutcomeBypass, false, ErrQueued
	}
	stamp := c.near.Stamp(entry)
	lookup, err := c.read(ctx, entry)
	if err != nil {
		return OutcomeError, false, err
	}
	if lookup.Hit && c.give(entry, lookup, out) {
		c.putNear(nearby, entry, out, lookup, stamp)
		c.reports.Add(key.Module, key.Operation, hitCounters(lookup))
		return outcomeOfHit(lookup), !lookup.Negative, errorOf(lookup)
	}
	c.reports.Add(key.Module, key.Operation, registry.Counters{Misses: 1})
	return OutcomeMiss, false, nil
}

func hitCounters(hit registry.Lookup) registry.Counters {
	if hit.Stale {
		return registry.Counters{Stale: 1}
	}
	return registry.Counters{Hits: 1}
}

// Set implements Cache, in three calls to Redis.
func (c *Client) Set(ctx context.Context, key Key, value any) error {
	entry, err := c.entry(key)
	if err != nil {
		c.failed(key.Module, key.Operation, err)
		return err
	}
	payload, err := c.encode(value)
	if err != nil {
		c.failed(key.Module, key.Operation, err)
		return err
	}
	// The deletion makes room for a lease, and keeps loads that are under way from overwriting the value.
	if err := c.remove(ctx, c.timeout, entry); err != nil {
		return err
	}
	lookup, err := c.lease(ctx, c.timeout, entry, 0)
	if err != nil {
		return err
	}
	// A hit was stored after the deletion: as if it had replaced the value a moment later.
	if lookup.Hit || !lookup.Cacheable {
		return nil
	}
	filled, err := c.set(ctx, c.timeout, entry, payload, lookup.Token)
	if err != nil {
		return err
	}
	if filled.Outcome == registry.Refused {
		err := refusal(entry)
		c.failed(key.Module, key.Operation, err)
		return err
	}
	return nil // a fenced value was invalidated before it could be read
}

// Delete implements Cache.
func (c *Client) Delete(ctx context.Context, key Key) error {
	entry, err := c.entry(key)
	if err != nil {
		c.failed(key.Module, key.Operation, err)
		return err
	}
	invalidation := Invalidation{Module: key.Module, Operation: key.Operation, Extent: ExtentEntry}
	return c.observeInvalidation(ctx, invalidation, func(ctx context.Context) error {
		p := outbox.Scope{Operation: entry.Operation, User: entry.User, ID: entry.ID}
		if err := c.coalesce(entry.Module, p, registry.ModeHard); err != nil {
			return err
		}
		return c.enqueue(c.remove(ctx, c.timeout, entry), entry.Module, p, registry.ModeHard)
	})
}
