// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"time"

	"github.com/cachewright/cachewright/registry"
)

// Fill is FillMany of one entry.
func (g *Gateway) Fill(
	ctx context.Context, timeout time.Duration, key registry.Key, payload []byte,
	token registry.Token, options registry.FillOptions,
) (registry.Outcome, error) {
	filled := g.FillMany(ctx, timeout, []registry.Fill{
		{Key: key, Payload: payload, Token: token, Options: options},
	})[0]
	return filled.Outcome, filled.Err
}

// FillMany stores entries within a timeout, or that the source has nothing. If the options ask for
// more time than the policy allows, the policy decides. An outcome is 0 if Redis failed, or if an
// older library refused the token of a read.
func (g *Gateway) FillMany(
	ctx context.Context, timeout time.Duration, fills []registry.Fill,
) []registry.FillResult {
	all := callMany(ctx, g, fills, manyCall[registry.Fill, registry.FillResult]{
		access: Filling, timeout: timeout,
		keyOf:   func(fill registry.Fill) registry.Key { return fill.Key },
		failure: func(filled *registry.FillResult) *error { return &filled.Err },
		do: func(ctx context.Context, fills []registry.Fill) ([]registry.FillResult, error) {
			return g.fillByPolicy(ctx, fills), nil
		},
	})
	for i, fill := range fills {
		g.config.Hooks.Filled(ctx, fill.Key, all[i].Outcome, all[i].Err)
	}
	return all
}

// fillByPolicy repeats fills that ask for more time than the policy allows.
func (g *Gateway) fillByPolicy(ctx context.Context, fills []registry.Fill) []registry.FillResult {
	filled := g.fillOnce(ctx, fills)
	var again []registry.Fill
	var at []int
	for i, result := range filled {
		if errors.Is(result.Err, registry.ErrTTLTooLong) {
			fill := fills[i]
			fill.Options.TTL = 0
			again, at = append(again, fill), append(at, i)
		}
	}
	if len(again) > 0 {
		for n, result := range g.fillOnce(ctx, again) {
			filled[at[n]] = result
		}
	}
	g.forgive(fills, filled)
	return filled
}

func (g *Gateway) fillOnce(ctx context.Context, fills []registry.Fill) []registry.FillResult {
	if len(fills) > 1 {
		return g.config.Store.SetMany(ctx, fills)
	}
	fill := fills[0]
	filled, err := g.config.Store.Fill(ctx, fill.Key, fill.Payload, fill.Token, fill.Options)
	return []registry.FillResult{{Filled: filled, Err: err}}
}

// Put stores an entry in place of the one that is there, within a timeout. It does not report
// registry.ErrLibraryTooOld: the caller has another way. A library that is too old is not a Redis
// that fails, although its user may not replace it.
func (g *Gateway) Put(
	ctx context.Context, timeout time.Duration, key registry.Key, payload []byte,
) (registry.Outcome, error) {
	var filled registry.Filled
	var tooOld error
	err := g.doKey(ctx, timeout, Filling, key, func(ctx context.Context) (err error) {
		filled, err = g.config.Store.Put(ctx, key, payload, registry.FillOptions{})
		if errors.Is(err, registry.ErrLibraryTooOld) {
			tooOld, err = err, nil
		}
		return err
	})
	if tooOld != nil {
		return 0, tooOld
	}
	g.config.Hooks.Deleted(key)
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
