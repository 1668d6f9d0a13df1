// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"

	"github.com/cachewright/cachewright/cache/internal/audit"
	"github.com/cachewright/cachewright/cache/internal/gateway"
	"github.com/cachewright/cachewright/cache/internal/invalidate"
	"github.com/cachewright/cachewright/cache/internal/operations"
	"github.com/cachewright/cachewright/cache/internal/source"
	"github.com/cachewright/cachewright/registry"
)

// errNoReturn is the error that an observer gets for a loader that panicked. The caller gets the
// panic.
var errNoReturn = errors.New("the loader did not return")

// observedLoad returns a loader whose calls the observer sees.
func observedLoad(observer Observer, key Key, load source.Load) source.Load {
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

// observedAudits returns the hook by which the observer sees each audit, nil without an observer.
func observedAudits(observer Observer) func(context.Context, operations.Operation, audit.Result) {
	if observer == nil {
		return nil
	}
	return func(ctx context.Context, operation operations.Operation, result audit.Result) {
		observer.Audited(ctx, operation.Module, operation.Name, AuditResult(result))
	}
}

// observedInvalidations returns the hook by which the observer sees each invalidation that the
// application asked for, nil without an observer.
func observedInvalidations(
	observer Observer,
) func(context.Context, invalidate.Invalidation) (context.Context, func(error)) {
	if observer == nil {
		return nil
	}
	return func(ctx context.Context, i invalidate.Invalidation) (context.Context, func(error)) {
		return observer.StartInvalidation(ctx, Invalidation{
			Module: i.Module, Operation: i.Scope.Operation, Extent: extentOf(i),
			Soft: i.Mode == registry.ModeSoft,
		})
	}
}

func extentOf(i invalidate.Invalidation) Extent {
	switch {
	case i.ID != "":
		return ExtentEntry
	case i.Scope.User != "":
		return ExtentUser
	case i.Scope.Operation != "":
		return ExtentOperation
	default:
		return ExtentModule
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
