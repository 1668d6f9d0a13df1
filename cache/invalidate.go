// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cachewright/cachewright/cache/internal/gateway"
	"github.com/cachewright/cachewright/cache/internal/outbox"
	"github.com/cachewright/cachewright/cache/internal/redact"
	"github.com/cachewright/cachewright/registry"
)

// maxInvalidations bounds the connections that the invalidation of a user in all modules takes.
const maxInvalidations = 8

// Empty names are refused here. To the registry, an empty scope is the whole module.
var (
	errNoModule    = errors.New("cache: the module is empty; name one")
	errNoOperation = errors.New("cache: the operation is empty; name one, or invalidate the module")
	errNoUser      = errors.New("cache: the user is empty; name one, or invalidate the module")
)

var errCoalesced = fmt.Errorf("%w: %w: one that covers it waits already",
	ErrQueued, registry.ErrUnreachable)

// invalidator invalidates entries. What does not reach Redis goes to the outbox.
type invalidator struct {
	gateway  *gateway.Gateway
	outbox   *outbox.Outbox
	modules  *modules
	failures *failures
	observer Observer // nil: none
	timeout  time.Duration
}

func (i *invalidator) operation(ctx context.Context, module, operation string) error {
	if operation == "" {
		return errNoOperation
	}
	return i.invalidate(ctx, module, registry.Scope{Operation: operation}, registry.ModeHard)
}

// user invalidates a user in the given modules, or in all if there are none. Its error joins those
// of all modules that failed.
func (i *invalidator) user(ctx context.Context, user string, modules []string) error {
	if user == "" {
		return errNoUser
	}
	if len(modules) == 0 {
		return i.userEverywhere(ctx, user, registry.ModeHard)
	}
	return i.userIn(ctx, user, modules, registry.ModeHard)
}

func (i *invalidator) softly(ctx context.Context, scope Scope) error {
	if scope.Module == "" && scope.Operation == "" && scope.User != "" {
		return i.userEverywhere(ctx, scope.User, registry.ModeSoft)
	}
	covered := registry.Scope{Operation: scope.Operation, User: scope.User}
	return i.invalidate(ctx, scope.Module, covered, registry.ModeSoft)
}

func (i *invalidator) userEverywhere(ctx context.Context, user string, mode registry.Mode) error {
	modules, err := i.modulesOrQueue(ctx, outbox.Scope{User: user}, mode)
	return errors.Join(i.userIn(ctx, user, modules, mode), err)
}

// modulesOrQueue returns the modules of the namespace. If their list is out of reach, it queues the
// invalidation for every module and returns the modules that it knows.
func (i *invalidator) modulesOrQueue(
	ctx context.Context, scope outbox.Scope, mode registry.Mode,
) ([]string, error) {
	if i.modules.unlisted.Load() {
		if err := i.coalesce(outbox.EveryModule, scope, mode); err != nil {
			return i.modules.known(), err
		}
	}
	modules, err := i.modules.all(ctx)
	return modules, i.enqueue(err, outbox.EveryModule, scope, mode)
}

func (i *invalidator) userIn(
	ctx context.Context, user string, modules []string, mode registry.Mode,
) error {
	failed := make([]error, len(modules))
	var group errgroup.Group
	group.SetLimit(maxInvalidations)
	for n, module := range modules {
		group.Go(func() error {
			defer func() { // an observer must not panic where it has no caller
				if value := recover(); value != nil {
					failed[n] = redact.Panic("an invalidation was broken off", value)
				}
			}()
			failed[n] = i.invalidate(ctx, module, registry.Scope{User: user}, mode)
			return nil
		})
	}
	_ = group.Wait() // the errors of all modules are wanted, not only the first
	return errors.Join(failed...)
}

// invalidate tries Redis whatever the breakers say, because an invalidation must not be lost to
// save time. It does not try if one that covers it waits already.
func (i *invalidator) invalidate(
	ctx context.Context, module string, scope registry.Scope, mode registry.Mode,
) error {
	if module == "" {
		return errNoModule
	}
	invalidation := invalidationOf(module, scope, mode)
	return observed(ctx, i.observer, invalidation, func(ctx context.Context) error {
		queued := outbox.Scope{Operation: scope.Operation, User: scope.User}
		if err := i.coalesce(module, queued, mode); err != nil {
			return err
		}
		return i.enqueue(i.gateway.Invalidate(ctx, module, scope, mode), module, queued, mode)
	})
}

// entry invalidates one entry.
func (i *invalidator) entry(ctx context.Context, key Key) error {
	entry, err := entryKey(i.gateway.Slot(key.Module), key)
	if err != nil {
		i.failures.add(key.Module, key.Operation, err)
		return err
	}
	invalidation := Invalidation{Module: key.Module, Operation: key.Operation, Extent: ExtentEntry}
	return observed(ctx, i.observer, invalidation, func(ctx context.Context) error {
		queued := outbox.Scope{Operation: entry.Operation, User: entry.User, ID: entry.ID}
		if err := i.coalesce(entry.Module, queued, registry.ModeHard); err != nil {
			return err
		}
		err := i.gateway.Remove(ctx, i.timeout, entry)
		return i.enqueue(err, entry.Module, queued, registry.ModeHard)
	})
}

// enqueue has the outbox deliver an invalidation that failed, and adds ErrQueued to its error. It
// does not queue what Redis rejects, which would never succeed.
func (i *invalidator) enqueue(
	err error, module string, scope outbox.Scope, mode registry.Mode,
) error {
	if err == nil || errors.Is(err, registry.ErrRejected) {
		return err
	}
	i.outbox.Enqueue(module, scope, mode)
	return fmt.Errorf("%w: %w", ErrQueued, err)
}

// coalesce returns ErrQueued if an invalidation in the outbox covers this one. Redis was out of
// reach a moment ago, so the caller need not wait to find that out again. The outbox tries again
// soon.
func (i *invalidator) coalesce(module string, scope outbox.Scope, mode registry.Mode) error {
	if i.outbox.Coalesce(module, scope, mode) {
		return errCoalesced
	}
	return nil
}

// deliver is how the outbox reaches Redis.
func (i *invalidator) deliver(
	ctx context.Context, module string, scope outbox.Scope, mode registry.Mode,
) error {
	if scope.ID != "" {
		return i.gateway.RemoveUnguarded(ctx, registry.Key{
			Slot: i.gateway.Slot(module), Operation: scope.Operation, User: scope.User, ID: scope.ID,
		})
	}
	covered := registry.Scope{Operation: scope.Operation, User: scope.User}
	return i.gateway.Invalidate(ctx, module, covered, mode)
}
