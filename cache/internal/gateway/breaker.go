// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/cachewright/cachewright/registry"
)

const (
	// maxFailures in a row, without a success in between, open a breaker.
	maxFailures = 3
	// pause is how long an open breaker lets no call pass before Redis is tried again.
	pause = 500 * time.Millisecond
	// minTrial is the least time in which Redis should answer. A caller that has less time left
	// says nothing about Redis.
	minTrial = 10 * time.Millisecond
	// maxBreakers bounds their number. Further modules share one breaker for each access, because
	// an application that has so many makes their names up.
	maxBreakers = 3000
	// anyModule is the name under which they share it.
	anyModule = ""
)

// What a call says about Redis, unless it says that all is well.
var (
	errNoAnswer   = errors.New("no answer")
	errRefusesAll = errors.New("an answer that any other caller would get")
	errSlow       = errors.New("an answer that took more than half of the timeout")
	errNoOutcome  = errors.New("the caller did not wait for an answer, or it says nothing new")
)

// breaker stops calls to a Redis that does not serve, so that they do not cost each caller a
// timeout.
type breaker struct {
	gate *gobreaker.TwoStepCircuitBreaker[struct{}]
	// open is true from the last failure in a row until a trial succeeds.
	open atomic.Bool
	// trying is true while a trial runs. There is one at a time.
	trying atomic.Bool
	// slow is when the last slow answer was counted.
	slow atomic.Pointer[time.Time]
}

func newBreaker() *breaker {
	b := &breaker{}
	b.gate = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests: 1,
		Timeout:     pause,
		ReadyToTrip: func(counts gobreaker.Counts) bool {
			return counts.ConsecutiveFailures >= maxFailures
		},
		IsExcluded: func(err error) bool { return errors.Is(err, errNoOutcome) },
		OnStateChange: func(_ string, _, to gobreaker.State) {
			b.open.Store(to != gobreaker.StateClosed)
		},
	})
	return b
}

// paused reports whether the breaker is open and it is too early for a trial.
func (b *breaker) paused() bool { return b.open.Load() && b.gate.State() == gobreaker.StateOpen }

// call is one call to Redis, as a breaker judges it.
type call struct {
	began   time.Time
	budget  time.Duration // what the caller could wait
	timeout time.Duration // what Redis may take
}

// outcome returns what a call that ended with err says about Redis, nil if it is well. ctx is that
// of the caller.
func (b *breaker) outcome(ctx context.Context, c call, err error) error {
	switch {
	case errors.Is(err, registry.ErrUnreachable) || errors.Is(err, context.Canceled):
		if ctx.Err() == nil && c.budget >= min(minTrial, c.timeout) {
			return errNoAnswer
		}
		return errNoOutcome
	case refusesAll(err):
		return errRefusesAll
	case time.Since(c.began) <= c.timeout/2:
		return nil
	case b.isAnotherStall(c.began):
		return errSlow
	default:
		return errNoOutcome
	}
}

// refusesAll reports whether Redis, or what its user may do there, is at fault, and not the call.
func refusesAll(err error) bool {
	return errors.Is(err, registry.ErrOutOfMemory) || errors.Is(err, registry.ErrUnauthorized) ||
		errors.Is(err, registry.ErrUnsupported) || errors.Is(err, registry.ErrMisbehaves)
}

// isAnotherStall reports whether a call with a slow answer began after the last slow answer was
// counted. Otherwise one stall, even of this process, would count for each caller that it delayed.
func (b *breaker) isAnotherStall(began time.Time) bool {
	last := b.slow.Load()
	if last != nil && !began.After(*last) {
		return false
	}
	now := time.Now()
	return b.slow.CompareAndSwap(last, &now)
}

// Access is what a call does to Redis.
type Access int

// Kinds of access.
const (
	Reading Access = iota
	// Writing is all writes except fills: leases, and what frees memory.
	Writing
	// Filling is what takes memory. A Redis that is full refuses no other write.
	Filling
)

// breakers has breakers for each module, since modules are spread over the nodes of a cluster,
// which fail one by one. It has one for each access, since a replica answers reads only, and a full
// Redis answers everything except fills.
type breakers struct {
	byUse sync.Map
	size  atomic.Int64
}

type use struct {
	module string
	access Access
}

func (b *breakers) of(u use) *breaker {
	if found, ok := b.byUse.Load(u); ok {
		return found.(*breaker)
	}
	if b.size.Load() >= maxBreakers {
		u.module = anyModule
	}
	found, known := b.byUse.LoadOrStore(u, newBreaker())
	if !known {
		b.size.Add(1)
	}
	return found.(*breaker)
}
