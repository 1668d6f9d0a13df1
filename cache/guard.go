// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cachewright/cachewright/registry"
)

const (
	// guardFailures in a row, without a success between, make a guard close.
	guardFailures = 3
	// guardPause is how long Redis is then left alone before one caller tries again.
	guardPause = 500 * time.Millisecond
	// guardTrial is the least time in which Redis should have answered. That a caller had less of it left
	// is not Redis' fault.
	guardTrial = 10 * time.Millisecond
)

var errPaused = fmt.Errorf("%w: it did not answer lately, and is not asked again for up to %s", registry.ErrUnreachable, guardPause)

// guard keeps a Redis that does not answer from costing each caller a timeout.
type guard struct {
	failures    atomic.Int32
	closedUntil atomic.Int64 // in nanoseconds; 0: open
}

// allows says whether to call Redis. When a closed guard's time is over, it lets one caller try.
func (g *guard) allows(now time.Time) bool {
	until := g.closedUntil.Load()
	if until == 0 {
		return true
	}
	return now.UnixNano() >= until && g.closedUntil.CompareAndSwap(until, now.Add(guardPause).UnixNano())
}

func (g *guard) answered() {
	if g.failures.Load() != 0 {
		g.failures.Store(0)
		g.closedUntil.Store(0)
	}
}

func (g *guard) failed(now time.Time) {
	if g.failures.Add(1) >= guardFailures {
		g.closedUntil.Store(now.Add(guardPause).UnixNano())
	}
}

// access is what a call does to Redis.
type access bool

const (
	reading access = false
	writing access = true
)

// guards has a guard for each module, since modules are spread over the nodes of a cluster, which
// fail one by one; and one for reads and one for writes, since a replica, or a primary that has become
// one, answers the former only.
type guards struct {
	byUse sync.Map
}

type guardUse struct {
	module string
	access access
}

func (g *guards) of(use guardUse) *guard {
	if found, ok := g.byUse.Load(use); ok {
		return found.(*guard)
	}
	found, _ := g.byUse.LoadOrStore(use, &guard{})
	return found.(*guard)
}

// ask makes one call to Redis that concerns a module, within the timeout, unless the guard is closed.
func (c *Client) ask(ctx context.Context, access access, module string, call func(context.Context) error) error {
	guard := c.guards.of(guardUse{module, access})
	if !guard.allows(time.Now()) {
		return errPaused
	}
	budget := c.budget(ctx)
	bounded, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	err := call(bounded)
	switch {
	case !errors.Is(err, registry.ErrUnreachable) && !errors.Is(err, context.Canceled):
		guard.answered()
	case ctx.Err() == nil && budget >= min(guardTrial, c.timeout):
		guard.failed(time.Now())
	}
	return err
}

// budget leaves the caller at least half of its time.
func (c *Client) budget(ctx context.Context) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return min(c.timeout, time.Until(deadline)/2)
	}
	return c.timeout
}
