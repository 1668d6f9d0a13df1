// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"fmt"

	"github.com/cachewright/cachewright/cache/internal/dest"
	"github.com/cachewright/cachewright/cache/internal/flight"
	"github.com/cachewright/cachewright/registry"
)

type loader = func(context.Context) (any, error)

// flightKey holds the lease's token beside the entry: who comes after an invalidation has another
// token, and so never joins a load that began before it, wherever the invalidation came from.
type flightKey struct {
	registry.Key

	token registry.Token
}

// loaded is what a flight brings: the value itself for the caller whose load it was, and bytes of
// which any other may decode a copy, if they are to be shared.
type loaded struct {
	value   any
	payload []byte
	shared  bool
}

// Fetch implements Cache. It returns an error of its own only if dest is not a non-nil pointer, or
// not to a type that load's value can be assigned to.
func (c *Client) Fetch(ctx context.Context, key Key, out any, load func(context.Context) (any, error)) error {
	if err := dest.Check(out); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	entry, err := c.entry(key)
	if err != nil {
		c.failed(key.Module, key.Operation, err)
		return loadAlone(ctx, out, load)
	}
	token, found := c.find(ctx, entry, out)
	switch {
	case found:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case token == "":
		return loadAlone(ctx, out, load)
	default:
		return c.loadTogether(ctx, flightKey{entry, token}, out, load)
	}
}

// find reads the entry into out or, if it is not there and may be filled, returns the token to do so.
func (c *Client) find(ctx context.Context, key registry.Key, out any) (token registry.Token, found bool) {
	lookup, err := c.read(ctx, key)
	if err != nil {
		return "", false
	}
	if lookup.Hit {
		if c.decode(key, lookup.Payload, out) {
			c.reports.add(key.Module, key.Operation, registry.Counters{Hits: 1})
			return "", true
		}
		// Of no use to this version of the application. Only what is gone can be leased.
		if err := c.remove(ctx, key); err != nil {
			return "", false
		}
	}
	lookup, err = c.lease(ctx, key)
	switch {
	case err != nil:
		return "", false
	case lookup.Hit:
		return "", c.decode(key, lookup.Payload, out)
	case !lookup.Cacheable:
		return "", false
	default:
		return lookup.Token, false
	}
}

// loadTogether joins the load of other callers that hold the same token, or lets them join.
func (c *Client) loadTogether(ctx context.Context, key flightKey, out any, load loader) error {
	result, started, err := c.flights.Do(ctx, key, func(ctx context.Context) (loaded, error) {
		value, err := load(ctx)
		if err != nil {
			return loaded{}, err
		}
		payload, shared := c.fill(ctx, key, value)
		return loaded{value: value, payload: payload, shared: shared}, nil
	})
	switch {
	case errors.Is(err, flight.ErrNothingToShare):
		return loadAlone(ctx, out, load)
	case err != nil:
		return err
	case started:
		return dest.Set(out, result.value)
	case result.shared && c.decode(key.Key, result.payload, out):
		return nil
	default:
		return loadAlone(ctx, out, load)
	}
}

// loadAlone is what the application would do without a cache. Callers without a token come here too:
// they cannot know whether a load that is under way began before an invalidation, or whether the
// operation, if it is not cached, may be done once for two callers.
func loadAlone(ctx context.Context, out any, load loader) error {
	value, err := load(ctx)
	if err != nil {
		return err
	}
	return dest.Set(out, value)
}

// fill stores a loaded value and says whether it may be shared with those who wait for it. It takes
// place even if all callers have left.
//
// A value without a user is shared only once the policy has let it pass: it may be refused because the
// operation's entries are users' own, and then one caller's must not be given to another.
func (c *Client) fill(ctx context.Context, key flightKey, value any) (payload []byte, shared bool) {
	payload, err := c.encode(value)
	if err != nil {
		c.failed(key.Module, key.Operation, err)
		return nil, false
	}
	filled, _ := c.set(context.WithoutCancel(ctx), key.Key, payload, key.token) // a failure was told of
	if filled.Outcome == registry.Refused {
		c.failed(key.Module, key.Operation, refusal(key.Key))
	}
	passed := filled.Outcome == registry.Stored || filled.Outcome == registry.Fenced
	return payload, passed || key.User != ""
}

func refusal(key registry.Key) error {
	return fmt.Errorf("%w: an entry of %s, operation %s: it is larger than maxEntryBytes allows, or has no user although the operation's scope is User",
		ErrRefused, key.Slot, key.Operation)
}
