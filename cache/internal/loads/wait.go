// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package loads

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/cachewright/cachewright/cache/internal/gateway"
	"github.com/cachewright/cachewright/registry"
)

// Pauses between reads of an entry that another process loads. Each is jittered, and the next one
// is longer.
const (
	firstWait = 4 * time.Millisecond
	maxWait   = 64 * time.Millisecond
)

// waiter waits for other processes that load entries.
type waiter struct {
	gateway  *gateway.Gateway
	loadWait time.Duration // 0: processes do not wait for each other
	timeout  time.Duration // for a lease
}

// limit returns how long a caller waits for another process, which holds the load lock for the
// given time. It is at most half of the caller's time, so that there is time to load after all.
func (w waiter) limit(ctx context.Context, lock time.Duration) time.Duration {
	limit := min(lock, w.loadWait)
	if deadline, ok := ctx.Deadline(); ok {
		return min(limit, time.Until(deadline)/2)
	}
	return limit
}

// isLocked reports whether a miss was leased with the load lock.
func (w waiter) isLocked(miss registry.Lookup) bool { return w.loadWait > 0 && miss.Wait == 0 }

// wait waits until another process has stored an entry, or the limit is reached. It returns the
// hit, or the lease to load with: that of the caller, or a later one with the load lock. Another
// caller in this process may offer that. Or the waiter takes it itself, if the other process stored
// nothing that can be read.
func (w waiter) wait(
	ctx context.Context, key registry.Key, miss registry.Lookup, limit time.Duration,
	locks *handover,
) registry.Lookup {
	if lease, found := locks.take(); found {
		return lease
	}
	end := time.Now().Add(limit)
	for pause := firstWait; ; pause = min(2*pause, maxWait) {
		remaining := time.Until(end)
		if remaining <= 0 || ctx.Err() != nil {
			return miss
		}
		if lease, found := locks.await(ctx, min(remaining, pause/2+rand.N(pause))); found {
			return lease
		}
		lookup, locked, err := w.gateway.ReadLocked(ctx, key)
		if err != nil {
			return miss
		}
		if lookup.Hit {
			return lookup // Redis counted it as a miss when it leased the entry
		}
		if locked {
			continue
		}
		if lookup, ended := w.takeOver(ctx, key, miss); ended {
			return lookup
		}
	}
}

// takeOver asks for the load lock, which no process seemed to hold. The wait goes on if another
// process was faster.
func (w waiter) takeOver(
	ctx context.Context, key registry.Key, miss registry.Lookup,
) (lookup registry.Lookup, ended bool) {
	lookup, err := w.gateway.Lease(ctx, w.timeout, key, w.loadWait)
	switch {
	case err != nil:
		return miss, true
	case lookup.Hit && lookup.Token != "":
		w.gateway.Unlock(ctx, key) // it is stale already: its next reader refreshes it
		return lookup, true
	case lookup.Hit:
		return lookup, true
	case !lookup.Cacheable:
		return miss, true // the policy changed: Redis decides about the fill with the lease at hand
	default:
		return lookup, lookup.Wait == 0
	}
}
