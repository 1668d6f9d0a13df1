// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package gateway is the only way of a Client to Redis. Each call passes a circuit breaker, is
// bounded in time, and has its panics turned into errors. Hooks tell the Client what happened.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cachewright/cachewright/cache/internal/background"
	"github.com/cachewright/cachewright/internal/contain"
	"github.com/cachewright/cachewright/registry"
)

// ErrPaused says that an open breaker let a call not pass.
var ErrPaused = fmt.Errorf("%w: it did not serve lately, and is not asked again for up to %s",
	registry.ErrUnreachable, pause)

// Config says how a Gateway works, and whom it informs. All fields are needed.
type Config struct {
	Store     Store
	Namespace string
	// Timeout bounds each call, and the time in which Redis should answer twice over.
	Timeout time.Duration
	// InvalidationTimeout bounds each invalidation.
	InvalidationTimeout time.Duration
	// Background runs trials of a Redis that did not serve, and frees memory.
	Background *background.Runner
	Hooks      Hooks
}

// Hooks are called on the goroutine of the call, so they must be quick.
type Hooks struct {
	// Failed reports a call that failed while its caller waited. The operation is empty if the call
	// concerns the whole module, the module if it concerns the namespace.
	Failed func(module, operation string, err error)
	// Recovered reports that Redis serves a module again, after it did not for a while.
	Recovered func()
	// Filled reports what became of an attempt to store an entry.
	Filled func(ctx context.Context, key registry.Key, outcome registry.Outcome, err error)
	// Leased reports that the policy of a module caches something, so there may be entries.
	Leased func(module string)
	// Bypassed reports that Redis does not cache an operation that was to be read or written.
	Bypassed func(module, operation string)
	// Changed reports that this process may have changed the head of an operation or a user or, if
	// both are empty, of the module.
	Changed func(slot registry.Slot, operation, user string)
	// Deleted reports that this process may have deleted, replaced or held an entry.
	Deleted func(key registry.Key)
}

// Gateway calls Redis for the entries of one namespace.
type Gateway struct {
	config   Config
	breakers breakers
	reclaims reclaims
	unleased unleased
}

// New returns a Gateway. It makes no call yet.
func New(config Config) *Gateway { return &Gateway{config: config} }

// Slot returns the slot of a module.
func (g *Gateway) Slot(module string) registry.Slot {
	return registry.Slot{Namespace: g.config.Namespace, Module: module}
}

// BreakerState is the state of one breaker.
type BreakerState struct {
	Module string
	Access Access
	Open   bool
}

// Breakers returns the states of all breakers, in no order.
func (g *Gateway) Breakers() []BreakerState {
	var states []BreakerState
	g.breakers.byUse.Range(func(key, found any) bool {
		u := key.(use)
		open := found.(*breaker).paused()
		states = append(states, BreakerState{Module: u.module, Access: u.access, Open: open})
		return true
	})
	return states
}

// doKey makes a call about one entry, and reports a failure.
func (g *Gateway) doKey(
	ctx context.Context, timeout time.Duration, access Access, key registry.Key,
	call func(context.Context) error,
) error {
	err := g.doWithin(ctx, timeout, use{key.Module, access}, call)
	if err != nil && ctx.Err() == nil {
		g.config.Hooks.Failed(key.Module, key.Operation, err)
	}
	return err
}

// do makes a call about a module. The caller reports a failure.
func (g *Gateway) do(
	ctx context.Context, access Access, module string, call func(context.Context) error,
) error {
	return g.doWithin(ctx, g.config.Timeout, use{module, access}, call)
}

func (g *Gateway) doWithin(
	ctx context.Context, timeout time.Duration, u use, call func(context.Context) error,
) error {
	breaker, err := g.admit(u)
	if err != nil {
		return err
	}
	return g.execute(ctx, breaker, timeout, call)
}

// execute makes a call and tells the breaker its outcome.
func (g *Gateway) execute(
	ctx context.Context, breaker *breaker, timeout time.Duration, do func(context.Context) error,
) error {
	done, err := breaker.gate.Allow()
	if err != nil {
		return ErrPaused
	}
	outcome := errNoOutcome
	defer func() { done(outcome) }()
	c := call{
		began: time.Now(), budget: budget(ctx, timeout), timeout: max(timeout, g.config.Timeout),
	}
	bounded, cancel := context.WithTimeout(ctx, c.budget)
	defer cancel()
	err = contain.Call(registry.ErrMisbehaves, func() error { return do(bounded) })
	outcome = breaker.outcome(ctx, c, err)
	return err
}

// budget leaves the caller at least half of its time.
func budget(ctx context.Context, timeout time.Duration) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return min(timeout, time.Until(deadline)/2)
	}
	return timeout
}

// doUnguarded makes a call whatever the breakers say, in the time for an invalidation, and reports
// a failure. An invalidation must not be lost to save time.
func (g *Gateway) doUnguarded(
	ctx context.Context, module, operation string, call func(context.Context) error,
) error {
	bounded, cancel := context.WithTimeout(ctx, g.config.InvalidationTimeout)
	defer cancel()
	err := contain.Call(registry.ErrMisbehaves, func() error { return call(bounded) })
	if err != nil && ctx.Err() == nil {
		g.config.Hooks.Failed(module, operation, err)
	}
	return err
}

// admit returns the breaker that lets a call pass. When an open one is due for a trial, the first
// caller starts it in the background. It gets ErrPaused, as all others do until a trial succeeds.
func (g *Gateway) admit(u use) (*breaker, error) {
	breaker := g.breakers.of(u)
	if !breaker.open.Load() {
		return breaker, nil
	}
	if !breaker.paused() && !g.startTrial(u, breaker) {
		return breaker, nil // the client is closed, so the call itself is the trial
	}
	return nil, ErrPaused
}

// startTrial reports whether a trial runs.
func (g *Gateway) startTrial(u use, breaker *breaker) bool {
	if !breaker.trying.CompareAndSwap(false, true) {
		return true
	}
	started := g.config.Background.Start(context.Background(), func(ctx context.Context) {
		defer breaker.trying.Store(false)
		try := func(ctx context.Context) error { return g.trial(ctx, u) }
		err := g.execute(ctx, breaker, g.config.Timeout, try)
		if !breaker.open.Load() {
			g.config.Hooks.Recovered()
		}
		if err != nil && !errors.Is(err, registry.ErrRejected) && ctx.Err() == nil {
			g.config.Hooks.Failed(u.module, "", err)
		}
	})
	if !started {
		breaker.trying.Store(false)
	}
	return started
}

// trial makes a call of the access that changes nothing, because it names no operation. A read
// finds nothing, and the library rejects the others (cw_get, cw_set). Whatever stops leases or
// fills in Redis stops this call, too, and a user that may make those may make this one.
func (g *Gateway) trial(ctx context.Context, u use) (err error) {
	nothing := registry.Key{Slot: g.Slot(u.module)}
	switch u.access {
	case Reading:
		_, err = g.config.Store.Read(ctx, nothing)
	case Writing:
		_, err = g.config.Store.Lease(ctx, nothing)
	case Filling:
		_, err = g.config.Store.Fill(ctx, nothing, nil, "", registry.FillOptions{})
	}
	return err
}
