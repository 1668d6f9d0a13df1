// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"

	"github.com/cachewright/cachewright/cache/internal/entries"
	"github.com/cachewright/cachewright/registry"
)

// Delete implements Cache.
func (c *Client) Delete(ctx context.Context, key Key) error {
	entry, err := c.entries.KeyOf(entries.Key(key))
	if err != nil {
		return err
	}
	return c.invalidator.Entry(ctx, entry)
}

// InvalidateModule implements Cache.
func (c *Client) InvalidateModule(ctx context.Context, module string) error {
	return c.invalidator.Module(ctx, module)
}

// InvalidateOperation implements Cache.
func (c *Client) InvalidateOperation(ctx context.Context, module, operation string) error {
	return c.invalidator.Operation(ctx, module, operation)
}

// InvalidateUser implements Cache. The error joins those of all modules that failed.
func (c *Client) InvalidateUser(ctx context.Context, user string, modules ...string) error {
	return c.invalidator.User(ctx, user, modules)
}

// InvalidateSoftly implements Cache.
func (c *Client) InvalidateSoftly(ctx context.Context, scope Scope) error {
	covered := registry.Scope{Operation: scope.Operation, User: scope.User}
	return c.invalidator.Softly(ctx, scope.Module, covered)
}
