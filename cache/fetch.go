// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"fmt"
	"time"

	"github.com/cachewright/cachewright/cache/internal/dest"
	"github.com/cachewright/cachewright/cache/internal/near"
	"github.com/cachewright/cachewright/registry"
)

type loader = func(context.Context) (any, error)

// flightKey holds the heads of the lease beside the entry: who comes after an invalidation finds
// others in place, and so never joins a load that began before it, wherever the invalidation came from.
type flightKey struct {
	registry.Key

	heads string
}

// headsOf returns the part of a token that is the same for all who took theirs between the same
// invalidations: its first character says whether the load lock came with it.
func headsOf(token registry.Token) string {
	if token == "" {
		return ""
	}
	return string(token[1:])
}

// ticket is leave to fill an entry.
type ticket struct {
	token  registry.Token
	locked bool          // with the load lock
	left   time.Duration // of the time that the Fetch may wait for Redis
}

// loaded is what a flight brings: the value itself for the caller whose load it was, and bytes of
// which any other may decode a copy, if they are to be shared. What another process loaded is bytes alone.
type loaded struct {
	value   any
	payload []byte
	shared  bool
	foreign bool
	// storedNegative beside ErrNotFound: the cache has taken note.
	storedNegative bool
}

// Fetch implements Cache. It returns an error of its own only if dest is not a non-nil pointer, or
// not to a type that load's value can be assigned to.
func (c *Client) Fetch(ctx context.Context, key Key, out any, load func(context.Context) (any, error)) error {
	if c.observer != nil {
		return c.fetchObserved(ctx, key, out, load)
	}
	_, err := c.fetch(ctx, key, out, load)
	return err
}

func (c *Client) fetch(ctx context.Context, key Key, out any, load loader) (Outcome, error) {
	if err := dest.Check(out); err != nil {
		return OutcomeError, err
	}
	if err := ctx.Err(); err != nil {
		return OutcomeError, err
	}
	nearby, plain := near.PlainKey(key.Module, key.Operation, key.User, key.Params)
	if plain {
		if found, err := c.getNear(nearby, out); found {
			c.auditNear(ctx, key, nearby, out, load)
			return OutcomeNearHit, err
		}
	}
	entry, err := c.entry(key)
	if err != nil {
		c.failed(key.Module, key.Operation, err)
		return OutcomeError, loadUnnamed(ctx, out, load)
	}
	if !plain {
		nearby = near.DigestKey(entry)
		if found, err := c.getNear(nearby, out); found {
			c.auditNear(ctx, key, nearby, out, load)
			return OutcomeNearHit, err
		}
	}
	if c.outbox.Covers(entry) {
		return OutcomeBypass, c.loadAlone(ctx, entry, out, load)
	}
	stamp := c.near.Stamp(entry)
	lookup, left, found := c.find(ctx, entry, out, load)
	switch {
	case found:
		c.putNear(nearby, entry, out, lookup, stamp)
		c.auditHit(ctx, key, entry, lookup, out, load)
		return outcomeOfHit(lookup), errorOf(lookup)
	case ctx.Err() != nil:
		return OutcomeError, ctx.Err()
	case !lookup.Cacheable:
		return outcomeOfLoad(lookup), c.loadAlone(ctx, entry, out, load)
	default:
		return outcomeOfLoad(lookup), c.loadTogether(ctx, entry, lookup, left, out, load)
	}
}

// find reads the entry into out, or finds that the source has nothing, or returns a miss. Only if that is
// cacheable has Redis answered, with a token to fill the entry, and perhaps the load lock; left is how much longer the
// caller may wait for Redis.
func (c *Client) find(ctx context.Context, key registry.Key, out any, load loader) (lookup registry.Lookup, left time.Duration, found bool) {
	began := time.Now()
	lookup, err := c.read(ctx, key)
	if err != nil {
		return registry.Lookup{}, 0, false
	}
	if lookup.Hit {
		if c.give(key, lookup, out) {
			c.served(ctx, key, lookup, load)
			return lookup, 0, true
		}
		// Of no use to this version of the application. Only what is gone can be leased.
		if err := c.remove(ctx, c.timeout-time.Since(began), key); err != nil {
			return registry.Lookup{}, 0, false
		}
	}
	lookup, err = c.lease(ctx, c.timeout-time.Since(began), key, c.loadWait)
	if err != nil || !lookup.Hit {
		return lookup, c.timeout - time.Since(began), false
	}
	if lookup.Token != "" {
		c.refresh(ctx, key, lookup.Token, load)
	}
	if !c.give(key, lookup, out) {
		return registry.Lookup{}, 0, false
	}
	return lookup, 0, true
}

// give says whether a hit is of use to the caller: out now holds its value, or it is negative.
func (c *Client) give(key registry.Key, hit registry.Lookup, out any) bool {
	return hit.Negative || c.decode(key, hit.Payload, out)
}

// errorOf returns what a caller gets for a hit.
func errorOf(hit registry.Lookup) error {
	if hit.Negative {
		return ErrNotFound
	}
	return nil
}

// served counts a hit by a read, and sees to it that a stale one, or one near its end, is refreshed. The lease of a refresh
// is counted by Redis.
func (c *Client) served(ctx context.Context, key registry.Key, hit registry.Lookup, load loader) {
	if !hit.Stale {
		c.refreshEarly(ctx, key, hit, load)
	}
	if !hit.Stale || !c.refresh(ctx, key, "", load) {
		c.reports.Add(key.Module, key.Operation, hitCounters(hit))
	}
}

// fill encodes and stores a loaded value. It takes place even if all callers have left. The payload is nil
// if the value cannot be encoded, the outcome 0 if Redis could not say, or does not know yet of an invalidation.
func (c *Client) fill(ctx context.Context, key registry.Key, ticket ticket, value any) ([]byte, registry.Outcome) {
	payload, err := c.encode(value)
	if err != nil {
		c.failed(key.Module, key.Operation, err)
		return nil, 0
	}
	if c.outbox.Covers(key) {
		return payload, 0
	}
	filled, _ := c.set(context.WithoutCancel(ctx), ticket.left, key, payload, ticket.token) // a failure was told of
	if filled.Outcome == registry.Refused {
		c.failed(key.Module, key.Operation, refusal(key))
	}
	return payload, filled.Outcome
}

// passed says of a fill that the policy let it pass and, if it came too late, that only an invalidation
// kept it out.
func passed(outcome registry.Outcome) bool {
	return outcome == registry.Stored || outcome == registry.Fenced
}

// fillNegative takes note that the source has nothing, if the policy has a negativeTTL.
func (c *Client) fillNegative(ctx context.Context, key registry.Key, ticket ticket) registry.Outcome {
	if c.outbox.Covers(key) {
		return 0
	}
	filled, _ := c.setNegative(context.WithoutCancel(ctx), ticket.left, key, ticket.token) // a failure was told of
	return filled.Outcome
}

func refusal(key registry.Key) error {
	return fmt.Errorf("%w: an entry of %s, operation %s: it is larger than maxEntryBytes allows, or has no user although the operation's scope is User",
		ErrRefused, key.Slot, key.Operation)
}
