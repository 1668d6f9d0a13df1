// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"time"

	"github.com/cachewright/cachewright/registry"
)

// Fill stores an entry within a timeout. If the options ask for more time than the policy allows,
// the policy decides.
func (g *Gateway) Fill(
	ctx context.Context, timeout time.Duration, key registry.Key, payload []byte,
	token registry.Token, options registry.FillOptions,
) (registry.Outcome, error) {
	filled, err := g.fill(ctx, timeout, key, func(ctx context.Context) (registry.Filled, error) {
		filled, err := g.config.Store.Fill(ctx, key, payload, token, options)
		if errors.Is(err, registry.ErrTTLTooLong) {
			options.TTL = 0
			return g.config.Store.Fill(ctx, key, payload, token, options)
		}
		return filled, err
	})
	if errors.Is(err, registry.ErrLibraryTooOld) { // it would keep the entry for too long
		g.config.Hooks.Failed(key.Module, key.Operation, err)
	}
	g.config.Hooks.Filled(ctx, key, filled.Outcome, err)
	return filled.Outcome, err
}

// Put stores an entry in place of the one that is there, within a timeout. It does not report
// registry.ErrLibraryTooOld: the caller has another way.
func (g *Gateway) Put(
	ctx context.Context, timeout time.Duration, key registry.Key, payload []byte,
) (registry.Outcome, error) {
	filled, err := g.fill(ctx, timeout, key, func(ctx context.Context) (registry.Filled, error) {
		return g.config.Store.Put(ctx, key, payload, registry.FillOptions{})
	})
	if errors.Is(err, registry.ErrLibraryTooOld) {
		return 0, err
	}
	g.config.Hooks.Changed(key.Slot, key.Operation, "")
	g.config.Hooks.Filled(ctx, key, filled.Outcome, err)
	switch {
	case err != nil:
	case filled.Outcome == registry.Disabled:
		g.config.Hooks.Bypassed(key.Module, key.Operation)
	default:
		g.config.Hooks.Leased(key.Module)
	}
	return filled.Outcome, err
}

// fill makes a call that takes memory. A library that is too old for it is not a Redis that fails,
// although its user may not replace it.
func (g *Gateway) fill(
	ctx context.Context, timeout time.Duration, key registry.Key,
	call func(context.Context) (registry.Filled, error),
) (filled registry.Filled, err error) {
	var tooOld error
	err = g.doKey(ctx, timeout, Filling, key, func(ctx context.Context) (err error) {
		filled, err = call(ctx)
		if errors.Is(err, registry.ErrLibraryTooOld) {
			tooOld = err
			return nil
		}
		return err
	})
	if tooOld != nil {
		return registry.Filled{}, tooOld
	}
	return filled, err
}
