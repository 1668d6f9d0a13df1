// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/cachewright/cachewright/registry"
)

const (
	// breakerFailures in a row, without a success between, make a breaker open.
	breakerFailures = 3
	// breakerPause is how long Redis is then left alone before one caller tries again.
	breakerPause = 500 * time.Millisecond
	// breakerTrial is the least time in which Redis should have answered. That a caller had less of it left
	// is not Redis' fault.
	breakerTrial = 10 * time.Millisecond
)

var errPaused = fmt.Errorf("%w: it did not answer lately, and is not asked again for up to %s", registry.ErrUnreachable, breakerPause)

// What a call says about Redis. Any answer, be it an error, is none of these.
var (
	errNoAnswer   = errors.New("no answer")
	errNoEvidence = errors.New("the caller did not wait for an answer")
)

// breaker keeps a Redis that does not answer from costing each caller a timeout.
type breaker = gobreaker.TwoStepCircuitBreaker[struct{}]

func newBreaker() *breaker {
	return gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests: 1,
		Timeout:     breakerPause,
		ReadyToTrip: func(counts gobreaker.Counts) bool { return counts.ConsecutiveFailures >= breakerFailures },
		IsExcluded:  func(err error) bool { return errors.Is(err, errNoEvidence) },
	})
}

// access is what a call does to Redis.
type access bool

const (
	reading access = false
	writing access = true
)

// breakers has a breaker for each module, since modules are spread over the nodes of a cluster, which
// fail one by one; and one for reads and one for writes, since a replica, or a primary that has become
// one, answers the former only.
type breakers struct {
	byUse sync.Map
}

type breakerUse struct {
	module string
	access access
}

func (b *breakers) of(use breakerUse) *breaker {
	if found, ok := b.byUse.Load(use); ok {
		return found.(*breaker)
	}
	found, _ := b.byUse.LoadOrStore(use, newBreaker())
	return found.(*breaker)
}

// ask makes one call to Redis that concerns a module, within the timeout, unless the breaker is open.
func (c *Client) ask(ctx context.Context, access access, module string, call func(context.Context) error) error {
	done, err := c.breakers.of(breakerUse{module, access}).Allow()
	if err != nil {
		return errPaused
	}
	evidence := errNoEvidence
	defer func() { done(evidence) }()
	budget := c.budget(ctx)
	bounded, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	err = call(bounded)
	switch {
	case !errors.Is(err, registry.ErrUnreachable) && !errors.Is(err, context.Canceled):
		evidence = nil
	case ctx.Err() == nil && budget >= min(breakerTrial, c.timeout):
		evidence = errNoAnswer
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
