// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/cachewright/cachewright/registry"
)

const (
	// loadTimesKnown bounds the operations whose loads are timed. The entries of more are not refreshed early.
	loadTimesKnown = 1000
	// loadTimesWeight is how many loads, about, the time that is known is the mean of.
	loadTimesWeight = 8
	// turnPrefix makes of an entry's id that under which the turn to refresh it early is locked: the entry
	// itself is there, so Redis has no lease to give. No id begins with it: they are letters, digits, '-' and '_'.
	turnPrefix = "\x00"
)

// loadTimes are how long loads of operations take.
type loadTimes struct {
	mu          sync.RWMutex
	byOperation map[Operation]time.Duration
}

func (l *loadTimes) add(operation Operation, took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	mean, known := l.byOperation[operation]
	switch {
	case known:
		l.byOperation[operation] = mean + (took-mean)/loadTimesWeight
	case len(l.byOperation) < loadTimesKnown:
		if l.byOperation == nil {
			l.byOperation = make(map[Operation]time.Duration)
		}
		l.byOperation[operation] = took
	}
}

func (l *loadTimes) of(operation Operation) time.Duration {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.byOperation[operation]
}

// headStart is how long before its end a reader takes an entry for ended: at random, exponentially distributed
// (optimal probabilistic cache stampede prevention, Vattani, Chierichetti and Lowenstein, 2015). 0 where it is not to.
func (c *Client) headStart(module, operation string) time.Duration {
	if c.earlyRefresh == 0 {
		return 0
	}
	scale := c.earlyRefresh * float64(c.loadTimes.of(Operation{module, operation}))
	return time.Duration(min(rand.ExpFloat64()*scale, float64(maxTTL)))
}

// timed measures loads, where that is of use.
func (c *Client) timed(key registry.Key, load loader) loader {
	if c.earlyRefresh == 0 {
		return load
	}
	return func(ctx context.Context) (any, error) {
		began := time.Now()
		value, err := load(ctx)
		if err == nil {
			c.loadTimes.add(Operation{key.Module, key.Operation}, time.Since(began))
		}
		return value, err
	}
}

// refreshEarly loads an entry anew in the background that is there and fresh, if it is near its end.
func (c *Client) refreshEarly(ctx context.Context, key registry.Key, hit registry.Lookup, load loader) {
	if c.earlyRefresh == 0 || hit.Negative || hit.Remaining > c.headStart(key.Module, key.Operation) {
		return
	}
	lock := key
	lock.ID = turnPrefix + key.ID
	c.refreshInTurn(ctx, key, lock, load, func(ctx context.Context) (registry.Token, refreshOutcome) {
		lookup, err := c.lease(ctx, c.timeout, lock, c.refreshTimeout)
		if err != nil || lookup.Wait > 0 || !lookup.Cacheable {
			return "", refreshNotOurs
		}
		return lookup.Token, refreshDone
	})
}
