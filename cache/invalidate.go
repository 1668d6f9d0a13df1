// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/cachewright/cachewright/cache/internal/outbox"
	"github.com/cachewright/cachewright/cache/internal/redact"
	"github.com/cachewright/cachewright/registry"
)

// invalidationsAtOnce bounds the connections that an invalidation of a user in all modules takes.
const invalidationsAtOnce = 8

// InvalidateModule implements Cache.
func (c *Client) InvalidateModule(ctx context.Context, module string) error {
	return c.invalidate(ctx, module, registry.Scope{}, registry.ModeHard)
}

// InvalidateOperation implements Cache.
func (c *Client) InvalidateOperation(ctx context.Context, module, operation string) error {
	if operation == "" {
		return errNoOperation
	}
	return c.invalidate(ctx, module, registry.Scope{Operation: operation}, registry.ModeHard)
}

// InvalidateUser implements Cache. The error joins those of all modules that failed.
func (c *Client) InvalidateUser(ctx context.Context, user string, modules ...string) error {
	if user == "" {
		return errNoUser
	}
	if len(modules) == 0 {
		return c.invalidateUserEverywhere(ctx, user, registry.ModeHard)
	}
	return c.invalidateUser(ctx, user, modules, registry.ModeHard)
}

// InvalidateSoftly implements Cache.
func (c *Client) InvalidateSoftly(ctx context.Context, scope Scope) error {
	if scope.Module == "" && scope.Operation == "" && scope.User != "" {
		return c.invalidateUserEverywhere(ctx, scope.User, registry.ModeSoft)
	}
	return c.invalidate(ctx, scope.Module, registry.Scope{Operation: scope.Operation, User: scope.User}, registry.ModeSoft)
}

func (c *Client) invalidateUserEverywhere(ctx context.Context, user string, mode registry.Mode) error {
	modules, unlisted := c.modules.list(), c.coalesceUnlisted(user, mode)
	if unlisted == nil {
		modules, unlisted = c.allModulesInTime(ctx)
		unlisted = c.enqueue(unlisted, outbox.EveryModule, outbox.Scope{User: user}, mode)
	}
	return errors.Join(c.invalidateUser(ctx, user, modules, mode), unlisted)
}

// coalesceUnlisted is coalesce for the modules that are not known, while their list cannot be reached.
func (c *Client) coalesceUnlisted(user string, mode registry.Mode) error {
	if !c.modules.unreachable.Load() {
		return nil
	}
	return c.coalesce(outbox.EveryModule, outbox.Scope{User: user}, mode)
}

func (c *Client) invalidateUser(ctx context.Context, user string, modules []string, mode registry.Mode) error {
	failures := make([]error, len(modules))
	var group errgroup.Group
	group.SetLimit(invalidationsAtOnce)
	for i, module := range modules {
		group.Go(func() error {
			defer func() { // an observer has no caller to panic in here
				if value := recover(); value != nil {
					failures[i] = redact.Panic("an invalidation was broken off", value)
				}
			}()
			failures[i] = c.invalidate(ctx, module, registry.Scope{User: user}, mode)
			return nil
		})
	}
	_ = group.Wait() // the failures are all wanted, not only the first
	return errors.Join(failures...)
}

func (c *Client) allModulesInTime(ctx context.Context) ([]string, error) {
	bounded, cancel := context.WithTimeout(ctx, c.invalidationTimeout)
	defer cancel()
	var modules []string
	err := contained(func() (err error) {
		modules, err = c.allModules(bounded)
		return err
	})
	c.modules.unreachable.Store(errors.Is(err, registry.ErrUnreachable))
	if err != nil && ctx.Err() == nil {
		c.failed("", "", err)
	}
	return modules, err
}

// invalidate asks Redis whatever the breaker says: an invalidation must not be lost to save time. One that is covered by
// another that waits is not.
func (c *Client) invalidate(ctx context.Context, module string, scope registry.Scope, mode registry.Mode) error {
	if module == "" {
		return errNoModule
	}
	return c.observeInvalidation(ctx, invalidationOf(module, scope, mode), func(ctx context.Context) error {
		return c.invalidateNow(ctx, module, scope, mode)
	})
}

func (c *Client) invalidateNow(ctx context.Context, module string, scope registry.Scope, mode registry.Mode) error {
	p := outbox.Scope{Operation: scope.Operation, User: scope.User}
	if err := c.coalesce(module, p, mode); err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, c.invalidationTimeout)
	defer cancel()
	var invalidated registry.Invalidated
	err := contained(func() (err error) {
		invalidated, err = c.store.Invalidate(bounded, c.slot(module), scope, mode, "")
		return err
	})
	if err != nil && ctx.Err() == nil {
		c.failed(module, scope.Operation, err)
	}
	c.reclaim(module, invalidated)
	c.near.Changed(c.slot(module), scope.Operation, scope.User)
	return c.enqueue(err, module, p, mode)
}

// enqueue has the outbox deliver an invalidation that failed, and adds ErrQueued to the error. An
// invalidation that Redis rejects would never succeed.
func (c *Client) enqueue(err error, module string, scope outbox.Scope, mode registry.Mode) error {
	if err == nil || errors.Is(err, registry.ErrRejected) {
		return err
	}
	c.outbox.Enqueue(module, scope, mode)
	return fmt.Errorf("%w: %w", ErrQueued, err)
}

// coalesce returns ErrQueued for an invalidation that is covered by one in the outbox. Redis was out of
// reach a moment ago, so the caller need not wait to find that out again. It is delivered with the
// other one, which is tried soon. Until then the near cache is not read either.
func (c *Client) coalesce(module string, scope outbox.Scope, mode registry.Mode) error {
	if c.outbox.Coalesce(module, scope, mode) {
		return errCoalesced
	}
	return nil
}

var errCoalesced = fmt.Errorf("%w: %w: one that covers it waits already", ErrQueued, registry.ErrUnreachable)

// deliver is how the outbox reaches Redis.
func (c *Client) deliver(ctx context.Context, module string, scope outbox.Scope, mode registry.Mode) error {
	bounded, cancel := context.WithTimeout(ctx, c.invalidationTimeout)
	defer cancel()
	user := scope.User
	var err error
	if scope.ID != "" {
		user = "" // a deletion changes the head of the operation
		_, err = c.store.Delete(bounded, registry.Key{
			Slot: c.slot(module), Operation: scope.Operation, User: scope.User, ID: scope.ID,
		})
	} else {
		var invalidated registry.Invalidated
		covered := registry.Scope{Operation: scope.Operation, User: scope.User}
		invalidated, err = c.store.Invalidate(bounded, c.slot(module), covered, mode, "")
		c.reclaim(module, invalidated)
	}
	c.near.Changed(c.slot(module), scope.Operation, user)
	if err != nil && ctx.Err() == nil {
		c.failed(module, scope.Operation, err)
	}
	return err
}
