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

	"github.com/sony/gobreaker/v2"

	"github.com/cachewright/cachewright/cache/internal/outbox"
	"github.com/cachewright/cachewright/registry"
)

const (
	// breakerFailures in a row, without a success between, make a breaker open.
	breakerFailures = 3
	// breakerPause is how long Redis is then left alone before it is tried again.
	breakerPause = 500 * time.Millisecond
	// breakerTrial is the least time in which Redis should have answered. That a caller had less of it left
	// is not Redis' fault.
	breakerTrial = 10 * time.Millisecond
	// maxBreakers that are kept. Modules beyond them share one for each access: somebody makes their names up.
	maxBreakers = 3000
)

var errPaused = fmt.Errorf("%w: it did not serve lately, and is not asked again for up to %s", registry.ErrUnreachable, breakerPause)

// What a call says about Redis, if it does not say that all is well.
var (
	errNoAnswer   = errors.New("no answer")
	errRefusesAll = errors.New("an answer that any other caller would get")
	errSlow       = errors.New("an answer that took more than half of the timeout")
	errNoEvidence = errors.New("the caller did not wait for an answer, or it says nothing new")
)

// breaker keeps a Redis that does not serve from costing each caller a timeout, or a call in vain.
type breaker struct {
	gate *gobreaker.TwoStepCircuitBreaker[struct{}]
	// open from the last failure in a row until a trial succeeds.
	open atomic.Bool
	// trying lets one trial at a time run.
	trying atomic.Bool
	// slow is when the last slow answer was counted.
	slow atomic.Pointer[time.Time]
}

func newBreaker() *breaker {
	b := &breaker{}
	b.gate = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests:   1,
		Timeout:       breakerPause,
		ReadyToTrip:   func(counts gobreaker.Counts) bool { return counts.ConsecutiveFailures >= breakerFailures },
		IsExcluded:    func(err error) bool { return errors.Is(err, errNoEvidence) },
		OnStateChange: func(_ string, _, to gobreaker.State) { b.open.Store(to != gobreaker.StateClosed) },
	})
	return b
}

// paused says that Redis is left alone, and has not been for long enough to be tried again.
func (b *breaker) paused() bool { return b.open.Load() && b.gate.State() == gobreaker.StateOpen }

// isAnotherStall says of a slow answer that it was asked for after the last one was counted. Else one stall, be it of this
// process, would count once for each caller that it held up.
func (b *breaker) isAnotherStall(began time.Time) bool {
	last := b.slow.Load()
	if last != nil && !began.After(*last) {
		return false
	}
	now := time.Now()
	return b.slow.CompareAndSwap(last, &now)
}

// access is what a call does to Redis.
type access int

const (
	reading access = iota
	// writing is all writes but fills: leases, and what frees memory.
	writing
	// filling is what takes memory. A Redis that is full refuses no other write.
	filling
)

// breakers has breakers for each module, since modules are spread over the nodes of a cluster, which fail one by one;
// and one for each access, since a replica, or a primary that has become one, answers reads only, and one that is full
// all but fills.
type breakers struct {
	byUse sync.Map
	size  atomic.Int64
}

type breakerUse struct {
	module string
	access access
}

func (b *breakers) of(use breakerUse) *breaker {
	if found, ok := b.byUse.Load(use); ok {
		return found.(*breaker)
	}
	if b.size.Load() >= maxBreakers {
		use.module = outbox.EveryModule
	}
	found, known := b.byUse.LoadOrStore(use, newBreaker())
	if !known {
		b.size.Add(1)
	}
	return found.(*breaker)
}

// ask makes one call to Redis that concerns a module, within the timeout, unless the breaker is open.
func (c *Client) ask(ctx context.Context, access access, module string, call func(context.Context) error) error {
	return c.askWithin(ctx, c.timeout, access, module, call)
}

func (c *Client) askWithin(
	ctx context.Context, most time.Duration, access access, module string, call func(context.Context) error,
) error {
	breaker, err := c.admit(breakerUse{module, access})
	if err != nil {
		return err
	}
	return c.weigh(ctx, breaker, most, call)
}

// admit returns the breaker that lets a call pass. One that is open does not: when it is time to try again, the first
// caller has that done in the background, and is turned away as others are until the trial has succeeded.
func (c *Client) admit(use breakerUse) (*breaker, error) {
	breaker := c.breakers.of(use)
	if !breaker.open.Load() {
		return breaker, nil
	}
	if !breaker.paused() && !c.startTrial(use, breaker) {
		return breaker, nil // the client is closed: the caller makes the trial
	}
	return nil, errPaused
}

// startTrial says whether a trial runs.
func (c *Client) startTrial(use breakerUse, breaker *breaker) bool {
	if !breaker.trying.CompareAndSwap(false, true) {
		return true
	}
	started := c.background.Start(context.Background(), func(ctx context.Context) {
		defer breaker.trying.Store(false)
		err := c.weigh(ctx, breaker, c.timeout, func(ctx context.Context) error { return c.trial(ctx, use) })
		if err != nil && !errors.Is(err, registry.ErrRejected) && ctx.Err() == nil {
			c.tell(use.module, "", err)
		}
	})
	if !started {
		breaker.trying.Store(false)
	}
	return started
}

// trial is a call of the access that changes nothing, for it names no operation: a read finds nothing, and the library
// rejects the others (cw_get, cw_set) where Redis lets them come so far. What stands in the way of a lease or a fill
// stands in its way, and the user who may do those may do it.
func (c *Client) trial(ctx context.Context, use breakerUse) (err error) {
	nothing := registry.Key{Slot: c.slot(use.module)}
	switch use.access {
	case reading:
		_, err = c.store.Read(ctx, nothing)
	case writing:
		_, err = c.store.Lease(ctx, nothing)
	case filling:
		_, err = c.store.Set(ctx, nothing, nil, "")
	}
	return err
}

// weigh makes a call and lets the breaker know what it says about Redis.
func (c *Client) weigh(ctx context.Context, breaker *breaker, most time.Duration, call func(context.Context) error) error {
	done, err := breaker.gate.Allow()
	if err != nil {
		return errPaused
	}
	evidence := errNoEvidence
	defer func() { done(evidence) }()
	began, budget := time.Now(), budget(ctx, most)
	bounded, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	err = contained(func() error { return call(bounded) })
	evidence = c.evidence(ctx, breaker, budget, began, err)
	return err
}

func (c *Client) evidence(ctx context.Context, breaker *breaker, budget time.Duration, began time.Time, err error) error {
	switch {
	case errors.Is(err, registry.ErrUnreachable) || errors.Is(err, context.Canceled):
		if ctx.Err() == nil && budget >= min(breakerTrial, c.timeout) {
			return errNoAnswer
		}
		return errNoEvidence
	case refusesAll(err):
		return errRefusesAll
	case time.Since(began) <= c.timeout/2:
		return nil
	case breaker.isAnotherStall(began):
		return errSlow
	default:
		return errNoEvidence
	}
}

// refusesAll tells what is wrong with Redis, or with what we may do there, from what is wrong with a call.
func refusesAll(err error) bool {
	return errors.Is(err, registry.ErrOutOfMemory) || errors.Is(err, registry.ErrUnauthorized) || errors.Is(err, registry.ErrUnsupported) ||
		errors.Is(err, registry.ErrMisbehaves)
}

// budget leaves the caller at least half of its time.
func budget(ctx context.Context, most time.Duration) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return min(most, time.Until(deadline)/2)
	}
	return most
}
