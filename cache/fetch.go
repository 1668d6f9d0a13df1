// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"time"

	"github.com/cachewright/cachewright/cache/internal/entries"
)

// Fetch implements Cache. It returns an error of its own only if dest is not a non-nil pointer, or
// the value of load cannot be assigned to it.
func (c *Client) Fetch(
	ctx context.Context, key Key, out any, load func(context.Context) (any, error),
) (err error) {
	if c.observer == nil {
		_, err = c.entries.Fetch(ctx, entries.Key(key), out, load)
		return err
	}
	request := Request{Verb: VerbFetch, Module: key.Module, Operation: key.Operation}
	ctx, done := c.observer.StartRequest(ctx, request)
	outcome, err := entries.Miss, errNoReturn
	defer func() { done(Outcome(outcome), err) }()
	load = observedLoad(c.observer, key, load)
	outcome, err = c.entries.Fetch(ctx, entries.Key(key), out, load)
	return err
}

// Get implements Cache.
func (c *Client) Get(ctx context.Context, key Key, out any) (found bool, err error) {
	if c.observer == nil {
		_, found, err = c.entries.Get(ctx, entries.Key(key), out)
		return found, err
	}
	request := Request{Verb: VerbGet, Module: key.Module, Operation: key.Operation}
	ctx, done := c.observer.StartRequest(ctx, request)
	outcome, found, err := c.entries.Get(ctx, entries.Key(key), out)
	done(Outcome(outcome), err)
	return found, err
}

// Set implements Cache, in one call to Redis. With a function library from before version 5, which
// its user may not replace, it takes three. Then readers may find nothing for a moment.
func (c *Client) Set(ctx context.Context, key Key, value any) error {
	return c.entries.Set(ctx, entries.Key(key), value)
}

// TTL implements Cache. It may be a second behind the policy. Jitter is not subtracted.
func (c *Client) TTL(ctx context.Context, module, operation string) (time.Duration, error) {
	return c.policies.TTL(ctx, module, operation)
}
