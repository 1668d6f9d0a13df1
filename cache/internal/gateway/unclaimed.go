// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"

	"github.com/cachewright/cachewright/internal/contain"
	"github.com/cachewright/cachewright/registry"
)

// FindPolicy returns the policy of a module, and whether there is one.
func (g *Gateway) FindPolicy(
	ctx context.Context, module string,
) (policy registry.Policy, found bool, err error) {
	err = g.quietly(ctx, func(ctx context.Context) error {
		policy, found, err = g.config.Store.Policy(ctx, g.Slot(module))
		return err
	})
	return policy, found, err
}

// ListModules returns the modules of the namespace that have policies.
func (g *Gateway) ListModules(ctx context.Context) (modules []string, err error) {
	err = g.quietly(ctx, func(ctx context.Context) error {
		modules, err = g.config.Store.Modules(ctx, g.config.Namespace)
		return err
	})
	return modules, err
}

// ReportUnclaimed adds to the counts of names that no policy lists.
func (g *Gateway) ReportUnclaimed(ctx context.Context, names []registry.Unclaimed) error {
	return g.quietly(ctx, func(ctx context.Context) error {
		return g.config.Store.ReportUnclaimed(ctx, g.config.Namespace, names)
	})
}

// quietly makes a call for which no caller waits, and on which nothing depends. It passes no
// breaker, and its failure is not reported.
func (g *Gateway) quietly(ctx context.Context, call func(context.Context) error) error {
	bounded, cancel := context.WithTimeout(ctx, g.config.Timeout)
	defer cancel()
	return contain.Call(registry.ErrMisbehaves, func() error { return call(bounded) })
}
