// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package invalidate invalidates entries. What does not reach Redis goes to the outbox.
package invalidate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cachewright/cachewright/cache/internal/catalog"
	"github.com/cachewright/cachewright/cache/internal/gateway"
	"github.com/cachewright/cachewright/cache/internal/outbox"
	"github.com/cachewright/cachewright/cache/internal/parallel"
	"github.com/cachewright/cachewright/registry"
)

// Empty names are refused here. To the registry, an empty scope is the whole module.
var (
	ErrNoModule    = errors.New("cache: the module is empty; name one")
	errNoOperation = errors.New("cache: the operation is empty; name one, or invalidate the module")
	errNoUser      = errors.New("cache: the user is empty; name one, or invalidate the module")
)

var errCoalesced = fmt.Errorf("%w: %w: one that covers it waits already",
	outbox.ErrQueued, registry.ErrUnreachable)

// Invalidation is what is about to be invalidated in a module. With an ID it is one entry.
type Invalidation struct {
	Module string
	Scope  registry.Scope
	ID     string
	Mode   registry.Mode
}

// Config says how an Invalidator reaches Redis, and whom it informs.
type Config struct {
	Gateway *gateway.Gateway
	Modules *catalog.Modules
	// Started, unless it is nil, is called for each invalidation. It returns the context to go on
	// with, and a function for the end.
	Started func(context.Context, Invalidation) (context.Context, func(error))
	// Invalidated is called with the module and, unless it is empty, the operation of each
	// invalidation that the application asks for.
	Invalidated func(module, operation string)
	Timeout     time.Duration // for one entry
}

// Invalidator invalidates entries.
type Invalidator struct {
	config Config
	outbox *outbox.Outbox
}

// New returns an Invalidator. Call QueueTo before its first invalidation.
func New(config Config) *Invalidator { return &Invalidator{config: config} }

// QueueTo sets the outbox, which needs Deliver.
func (i *Invalidator) QueueTo(queue *outbox.Outbox) { i.outbox = queue }

// Module invalidates a module.
func (i *Invalidator) Module(ctx context.Context, module string) error {
	return i.invalidate(ctx, module, registry.Scope{}, registry.ModeHard)
}

// Operation invalidates an operation of a module.
func (i *Invalidator) Operation(ctx context.Context, module, operation string) error {
	if operation == "" {
		return errNoOperation
	}
	return i.invalidate(ctx, module, registry.Scope{Operation: operation}, registry.ModeHard)
}

// User invalidates a user in the given modules, or in all if there are none. Its error joins those
// of all modules that failed.
func (i *Invalidator) User(ctx context.Context, user string, modules []string) error {
	if user == "" {
		return errNoUser
	}
	if len(modules) == 0 {
		return i.userEverywhere(ctx, user, registry.ModeHard)
	}
	return i.userIn(ctx, user, modules, registry.ModeHard)
}

// Softly makes what a scope covers stale. A user alone is one in every module.
func (i *Invalidator) Softly(ctx context.Context, module string, scope registry.Scope) error {
	if module == "" && scope.Operation == "" && scope.User != "" {
		return i.userEverywhere(ctx, scope.User, registry.ModeSoft)
	}
	return i.invalidate(ctx, module, scope, registry.ModeSoft)
}

func (i *Invalidator) userEverywhere(ctx context.Context, user string, mode registry.Mode) error {
	modules, err := i.modulesOrQueue(ctx, outbox.Scope{User: user}, mode)
	return errors.Join(i.userIn(ctx, user, modules, mode), err)
}

// modulesOrQueue returns the modules of the namespace. If their list is out of reach, it queues the
// invalidation for every module and returns the modules that it knows.
func (i *Invalidator) modulesOrQueue(
	ctx context.Context, scope outbox.Scope, mode registry.Mode,
) ([]string, error) {
	if i.config.Modules.Unlisted() {
		if err := i.coalesce(outbox.EveryModule, scope, mode); err != nil {
			return i.config.Modules.Known(), err
		}
	}
	modules, err := i.config.Modules.All(ctx)
	return modules, i.enqueue(err, outbox.EveryModule, scope, mode)
}

func (i *Invalidator) userIn(
	ctx context.Context, user string, modules []string, mode registry.Mode,
) error {
	failed := parallel.Each(modules, "an invalidation", func(module string) error {
		return i.invalidate(ctx, module, registry.Scope{User: user}, mode)
	})
	return errors.Join(failed...)
}

// invalidate tries Redis whatever the breakers say, because an invalidation must not be lost to
// save time. It does not try if one that covers it waits already.
func (i *Invalidator) invalidate(
	ctx context.Context, module string, scope registry.Scope, mode registry.Mode,
) error {
	if module == "" {
		return ErrNoModule
	}
	invalidation := Invalidation{Module: module, Scope: scope, Mode: mode}
	return i.observed(ctx, invalidation, func(ctx context.Context) error {
		queued := outbox.Scope{Operation: scope.Operation, User: scope.User}
		if err := i.coalesce(module, queued, mode); err != nil {
			return err
		}
		return i.enqueue(i.config.Gateway.Invalidate(ctx, module, scope, mode), module, queued, mode)
	})
}

// Entry invalidates one entry.
func (i *Invalidator) Entry(ctx context.Context, entry registry.Key) error {
	return i.Entries(ctx, []registry.Key{entry})[0]
}

// observed does an invalidation that the application asked for.
func (i *Invalidator) observed(
	ctx context.Context, invalidation Invalidation, invalidate func(context.Context) error,
) error {
	ctx, done := i.start(ctx, invalidation)
	err := invalidate(ctx)
	done(err)
	return err
}

// start tells that an invalidation begins. It returns the context to go on with, and what tells its
// end.
func (i *Invalidator) start(
	ctx context.Context, invalidation Invalidation,
) (context.Context, func(error)) {
	i.config.Invalidated(invalidation.Module, invalidation.Scope.Operation)
	if i.config.Started == nil {
		return ctx, func(error) {}
	}
	return i.config.Started(ctx, invalidation)
}

// enqueue has the outbox deliver an invalidation that failed, and adds ErrQueued to its error. It
// does not queue what Redis rejects, which would never succeed.
func (i *Invalidator) enqueue(
	err error, module string, scope outbox.Scope, mode registry.Mode,
) error {
	if err == nil || errors.Is(err, registry.ErrRejected) {
		return err
	}
	i.outbox.Enqueue(module, scope, mode)
	return fmt.Errorf("%w: %w", outbox.ErrQueued, err)
}

// coalesce returns ErrQueued if an invalidation in the outbox covers this one. Redis was out of
// reach a moment ago, so the caller need not wait to find that out again. The outbox tries again
// soon.
func (i *Invalidator) coalesce(module string, scope outbox.Scope, mode registry.Mode) error {
	if i.outbox.Coalesce(module, scope, mode) {
		return errCoalesced
	}
	return nil
}

// Deliver is how the outbox reaches Redis.
func (i *Invalidator) Deliver(
	ctx context.Context, module string, scope outbox.Scope, mode registry.Mode,
) error {
	if scope.ID != "" {
		return i.config.Gateway.RemoveUnguarded(ctx, registry.Key{
			Slot: i.config.Gateway.Slot(module), Operation: scope.Operation, User: scope.User, ID: scope.ID,
		})
	}
	covered := registry.Scope{Operation: scope.Operation, User: scope.User}
	return i.config.Gateway.Invalidate(ctx, module, covered, mode)
}
