// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cachewright/cachewright/cache/internal/dest"
	"github.com/cachewright/cachewright/cache/internal/flight"
	"github.com/cachewright/cachewright/registry"
)

// loadTogether joins the load of other callers that found the same heads, or lets them join. Where that takes too long
// to wait for it looks at the entry again, and loads next to it.
func (c *Client) loadTogether(
	ctx context.Context, key registry.Key, miss registry.Lookup, left time.Duration, out any, load loader,
) error {
	err := c.share(ctx, key, miss, left, out, load)
	if !errors.Is(err, flight.ErrOverdue) {
		return err
	}
	miss, left, found := c.find(ctx, key, out, load)
	switch {
	case found:
		return errorOf(miss)
	case ctx.Err() != nil:
		return ctx.Err()
	case !miss.Cacheable:
		return c.loadAlone(ctx, key, out, load)
	}
	if err = c.share(ctx, key, miss, left, out, load); errors.Is(err, flight.ErrOverdue) {
		return c.stuck(key)
	}
	return err
}

// share joins the load of other callers, or lets them join. The error is flight.ErrOverdue if the caller is to look again.
func (c *Client) share(
	ctx context.Context, key registry.Key, miss registry.Lookup, left time.Duration, out any, load loader,
) error {
	patience := c.patience(ctx, miss.Wait)
	result, started, err := c.flights.Do(ctx, flightKey{key, headsOf(miss.Token)}, func(ctx context.Context) (loaded, error) {
		lookup := c.await(ctx, key, miss, patience)
		if lookup.Hit {
			return loaded{payload: lookup.Payload, shared: true, foreign: true}, errorOf(lookup)
		}
		return c.loadAndFill(ctx, key, ticket{lookup.Token, c.loadWait > 0 && lookup.Wait == 0, left}, load)
	})
	switch {
	case errors.Is(err, flight.ErrNothingToShare), errors.Is(err, flight.ErrCycle):
		return c.loadAlone(ctx, key, out, load)
	case errors.Is(err, flight.ErrStuck):
		return c.stuck(key)
	case err != nil:
		return err
	case started && !result.foreign:
		return dest.Set(out, result.value)
	case result.shared && c.decode(key, result.payload, out):
		return nil
	default:
		return c.loadAlone(ctx, key, out, load)
	}
}

// loadAndFill gives the load lock back, if it is held, however the load ends. A fill that Redis
// takes or fences has done so by itself.
func (c *Client) loadAndFill(ctx context.Context, key registry.Key, ticket ticket, load loader) (result loaded, err error) {
	defer func() {
		if ticket.locked {
			c.background.Start(ctx, func(ctx context.Context) { c.unlock(ctx, key) })
		}
	}()
	value, err := c.load(ctx, key, c.timed(key, load))
	if errors.Is(err, ErrNotFound) {
		stored := passed(c.fillNegative(ctx, key, ticket))
		ticket.locked = ticket.locked && !stored
		return loaded{storedNegative: stored}, err
	}
	if err != nil {
		return loaded{}, err
	}
	payload, outcome := c.fill(ctx, key, ticket, value)
	ticket.locked = ticket.locked && !passed(outcome)
	// A value without a user is shared only once the policy has let it pass: it may be refused because
	// the operation's entries are users' own, and then one caller's must not be given to another.
	return loaded{value: value, payload: payload, shared: passed(outcome) || key.User != "" && payload != nil}, nil
}

// load calls the loader, unless its own entry is being loaded by it over and over: each load within the one before.
func (c *Client) load(ctx context.Context, key registry.Key, load loader) (any, error) {
	ctx, ok := flight.Nested(ctx, nestedKey{c, key})
	if !ok {
		err := fmt.Errorf("%w: an entry of %s, operation %s: give one of them another operation or other params, or read the source in the loader",
			ErrLoadCycle, key.Slot, key.Operation)
		c.failed(key.Module, key.Operation, err)
		return nil, err
	}
	return load(ctx)
}

// nestedKey names what is loaded, over all Clients.
type nestedKey struct {
	client *Client
	key    registry.Key
}

// loadAlone is what the application would do without a cache. Callers without a token come here too:
// they cannot know whether a load that is under way began before an invalidation, or whether the
// operation, if it is not cached, may be done once for two callers.
func (c *Client) loadAlone(ctx context.Context, key registry.Key, out any, load loader) error {
	value, err := c.load(ctx, key, load)
	if err != nil {
		return err
	}
	return dest.Set(out, value)
}

// loadUnnamed is loadAlone for what has no key.
func loadUnnamed(ctx context.Context, out any, load loader) error {
	value, err := load(ctx)
	if err != nil {
		return err
	}
	return dest.Set(out, value)
}

// stuck returns what a caller gets who has waited for two loads of others that do not end.
func (c *Client) stuck(key registry.Key) error {
	err := fmt.Errorf("%w: an entry of %s, operation %s: give the load a deadline; if its loader uses the cache, pass on the context that it gets; "+
		"if loads take longer than %s, raise WithSharedLoadWait", ErrLoadStuck, key.Slot, key.Operation, c.sharedLoadWait)
	c.failed(key.Module, key.Operation, err)
	return err
}
