// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"time"

	"github.com/cachewright/cachewright/registry"
)

// Read reads an entry.
func (g *Gateway) Read(ctx context.Context, key registry.Key) (lookup registry.Lookup, err error) {
	err = g.doKey(ctx, g.config.Timeout, Reading, key, func(ctx context.Context) error {
		lookup, err = g.config.Store.Read(ctx, key)
		return err
	})
	return lookup, err
}

// Inspect reads an entry for an audit. It reports no failure, because no caller is affected.
func (g *Gateway) Inspect(
	ctx context.Context, key registry.Key,
) (lookup registry.Lookup, version registry.Version, err error) {
	err = g.do(ctx, Reading, key.Module, func(ctx context.Context) error {
		lookup, version, err = g.config.Store.Inspect(ctx, key)
		return err
	})
	return lookup, version, err
}

// Lease is LeaseMany of one entry.
func (g *Gateway) Lease(
	ctx context.Context, timeout time.Duration, key registry.Key, lock time.Duration,
) (registry.Lookup, error) {
	leased := g.LeaseMany(ctx, timeout, []registry.Key{key}, lock)[0]
	return leased.Lookup, leased.Err
}

// Remove is RemoveMany of one entry.
func (g *Gateway) Remove(ctx context.Context, timeout time.Duration, key registry.Key) error {
	return g.RemoveMany(ctx, timeout, []registry.Key{key})[0]
}

// RemoveUnguarded removes an entry whatever the breakers say.
func (g *Gateway) RemoveUnguarded(ctx context.Context, key registry.Key) error {
	err := g.doUnguarded(ctx, key.Module, key.Operation, func(ctx context.Context) error {
		_, err := g.config.Store.Delete(ctx, key)
		return err
	})
	g.config.Hooks.Deleted(key)
	return err
}

// Invalidate invalidates a scope of a module, whatever the breakers say. The memory is freed in the
// background.
func (g *Gateway) Invalidate(
	ctx context.Context, module string, scope registry.Scope, mode registry.Mode,
) error {
	slot := g.Slot(module)
	var invalidated registry.Invalidated
	err := g.doUnguarded(ctx, module, scope.Operation, func(ctx context.Context) (err error) {
		invalidated, err = g.config.Store.Invalidate(ctx, slot, scope, mode, "")
		return err
	})
	if invalidated.Pending > 0 {
		g.startReclaim(module)
	}
	g.config.Hooks.Changed(slot, scope.Operation, scope.User)
	return err
}

// Modules lists the modules of the namespace, whatever the breakers say. With an error, the list
// may be incomplete.
func (g *Gateway) Modules(ctx context.Context) (modules []string, err error) {
	err = g.doUnguarded(ctx, "", "", func(ctx context.Context) error {
		modules, err = g.config.Store.Modules(ctx, g.config.Namespace)
		return err
	})
	return modules, err
}

// Policy reads the policy of a module, the zero one if there is none. It reports no failure.
func (g *Gateway) Policy(ctx context.Context, module string) (policy registry.Policy, err error) {
	err = g.do(ctx, Reading, module, func(ctx context.Context) error {
		policy, err = g.PolicyUnguarded(ctx, g.Slot(module))
		return err
	})
	return policy, err
}

// PolicyUnguarded reads a policy whatever the breakers say, and sets no time limit. The near cache
// calls it, for which no caller waits.
func (g *Gateway) PolicyUnguarded(
	ctx context.Context, slot registry.Slot,
) (registry.Policy, error) {
	policy, _, err := g.config.Store.Policy(ctx, slot)
	return policy, err
}

// Report adds to the counts of an operation. It reports no failure.
func (g *Gateway) Report(
	ctx context.Context, module, operation string, counters registry.Counters,
) error {
	return g.do(ctx, Writing, module, func(ctx context.Context) error {
		return g.config.Store.Report(ctx, g.Slot(module), operation, counters)
	})
}

// Stats reads the statistics of a module. It reports no failure.
func (g *Gateway) Stats(ctx context.Context, module string) (stats registry.Stats, err error) {
	err = g.do(ctx, Reading, module, func(ctx context.Context) error {
		stats, err = g.config.Store.Stats(ctx, g.Slot(module))
		return err
	})
	return stats, err
}
