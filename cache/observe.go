// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"

	"github.com/cachewright/cachewright/registry"
)

// errNoReturn is what an observer is told of a loader that panicked: the caller gets the panic.
var errNoReturn = errors.New("the loader did not return")

// watch lets the observer, if there is one, ask for the figures until the function returned is called.
func (c *Client) watch() (stop func()) {
	if c.observer == nil {
		return func() {}
	}
	return c.observer.Watch(c.namespace, c.figures)
}

func (c *Client) fetchObserved(ctx context.Context, key Key, out any, load loader) (err error) {
	request := Request{Verb: VerbFetch, Module: key.Module, Operation: key.Operation}
	ctx, done := c.observer.StartRequest(ctx, request)
	outcome, err := OutcomeMiss, errNoReturn
	defer func() { done(outcome, err) }()
	outcome, err = c.fetch(ctx, key, out, c.observeLoad(key, load))
	return err
}

func (c *Client) observeLoad(key Key, load loader) loader {
	return func(ctx context.Context) (value any, err error) {
		ctx, done := c.observer.StartLoad(ctx, key.Module, key.Operation)
		err = errNoReturn
		defer func() { done(err) }()
		value, err = load(ctx)
		return value, err
	}
}

func (c *Client) getObserved(ctx context.Context, key Key, out any) (found bool, err error) {
	request := Request{Verb: VerbGet, Module: key.Module, Operation: key.Operation}
	ctx, done := c.observer.StartRequest(ctx, request)
	outcome, found, err := c.get(ctx, key, out)
	done(outcome, err)
	return found, err
}

// observeFill tells the observer, if there is one, what became of a fill.
func (c *Client) observeFill(ctx context.Context, key registry.Key, outcome registry.Outcome, err error) {
	if c.observer != nil {
		c.observer.Filled(ctx, key.Module, key.Operation, fillOf(outcome, err))
	}
}

func fillOf(outcome registry.Outcome, err error) Fill {
	switch {
	case err != nil:
		return FillError
	case outcome == registry.Stored:
		return FillStored
	case outcome == registry.Fenced:
		return FillFenced
	case outcome == registry.Refused:
		return FillRefused
	default:
		return FillDisabled
	}
}

// observeInvalidation does what the application asked for, before the eyes of the observer, if there is one.
func (c *Client) observeInvalidation(ctx context.Context, invalidation Invalidation, invalidate func(context.Context) error) error {
	if c.observer == nil {
		return invalidate(ctx)
	}
	ctx, done := c.observer.StartInvalidation(ctx, invalidation)
	err := invalidate(ctx)
	done(err)
	return err
}

func invalidationOf(module string, scope registry.Scope, mode registry.Mode) Invalidation {
	extent := ExtentModule
	switch {
	case scope.User != "":
		extent = ExtentUser
	case scope.Operation != "":
		extent = ExtentOperation
	}
	return Invalidation{Module: module, Operation: scope.Operation, Extent: extent, Soft: mode == registry.ModeSoft}
}

// outcomeOfHit is that of an entry that was read from Redis.
func outcomeOfHit(hit registry.Lookup) Outcome {
	if hit.Stale {
		return OutcomeStale
	}
	return OutcomeHit
}

// outcomeOfLoad is that of a request that Redis gave no entry for. Without a token it gave no answer.
func outcomeOfLoad(miss registry.Lookup) Outcome {
	switch {
	case miss.Cacheable:
		return OutcomeMiss
	case miss.Token != "":
		return OutcomeBypass
	default:
		return OutcomeError
	}
}

func (c *Client) figures() Figures {
	var figures Figures
	figures.NearEntries, figures.NearBytes = c.near.Size()
	figures.QueuedInvalidations = c.outbox.Len()
	c.breakers.byUse.Range(func(use, found any) bool {
		figures.Breakers = append(figures.Breakers, BreakerFigure{
			Module: use.(breakerUse).module,
			Writes: use.(breakerUse).access == writing,
			Fills:  use.(breakerUse).access == filling,
			Open:   found.(*breaker).paused(),
		})
		return true
	})
	return figures
}
