// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"

	"github.com/cachewright/cachewright/cache/internal/gateway"
	"github.com/cachewright/cachewright/registry"
)

// errNoReturn is the error that an observer gets for a loader that panicked. The caller gets the
// panic.
var errNoReturn = errors.New("the loader did not return")

// observedLoad returns a loader whose calls the observer sees.
func observedLoad(observer Observer, key Key, load loadFunc) loadFunc {
	return func(ctx context.Context) (value any, err error) {
		ctx, done := observer.StartLoad(ctx, key.Module, key.Operation)
		err = errNoReturn
		defer func() { done(err) }()
		value, err = load(ctx)
		return value, err
	}
}

// observedFills returns the hook by which the observer, if there is one, sees each fill.
func observedFills(observer Observer) func(context.Context, registry.Key, registry.Outcome, error) {
	return func(ctx context.Context, key registry.Key, outcome registry.Outcome, err error) {
		if observer != nil {
			observer.Filled(ctx, key.Module, key.Operation, fillOf(outcome, err))
		}
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

// observed does an invalidation that the application asked for. The observer, if there is one, sees
// it.
func observed(
	ctx context.Context, observer Observer, invalidation Invalidation,
	invalidate func(context.Context) error,
) error {
	if observer == nil {
		return invalidate(ctx)
	}
	ctx, done := observer.StartInvalidation(ctx, invalidation)
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
	return Invalidation{
		Module: module, Operation: scope.Operation, Extent: extent, Soft: mode == registry.ModeSoft,
	}
}

func breakerFigures(states []gateway.BreakerState) []BreakerFigure {
	var figures []BreakerFigure
	for _, state := range states {
		figures = append(figures, BreakerFigure{
			Module: state.Module,
			Writes: state.Access == gateway.Writing,
			Fills:  state.Access == gateway.Filling,
			Open:   state.Open,
		})
	}
	return figures
}
