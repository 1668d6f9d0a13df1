// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/cachewright/cachewright/cache/internal/background"
	"github.com/cachewright/cachewright/registry"
)

// Pauses between looks at an entry that another process loads; each is jittered, and the next one longer.
const (
	awaitFirst = 4 * time.Millisecond
	awaitMost  = 64 * time.Millisecond
)

// patience is how long a caller waits for another process, which keeps the load lock for so long, to
// load: never longer than half of its own time, so that there is time to load after all.
func (c *Client) patience(ctx context.Context, lock time.Duration) time.Duration {
	patience := min(lock, c.loadWait)
	if deadline, ok := ctx.Deadline(); ok {
		return min(patience, time.Until(deadline)/2)
	}
	return patience
}

// await looks for an entry until another process has stored it, or patience ends. It returns the hit, or the lease to
// load with: the one the caller has or, if the other process' load ended and left nothing, one with the load lock.
func (c *Client) await(ctx context.Context, key registry.Key, miss registry.Lookup, patience time.Duration) registry.Lookup {
	end := time.Now().Add(patience)
	for pause := awaitFirst; ; pause = min(2*pause, awaitMost) {
		left := time.Until(end)
		if left <= 0 || ctx.Err() != nil {
			return miss
		}
		background.Sleep(ctx, min(left, pause/2+rand.N(pause)))
		lookup, locked, err := c.readLocked(ctx, key)
		if err != nil {
			return miss
		}
		if lookup.Hit {
			return lookup // counted as the miss it was
		}
		if locked {
			continue
		}
		if lookup, ended := c.takeOver(ctx, key, miss); ended {
			return lookup
		}
	}
}

// takeOver asks for the load lock, which nobody seemed to have. The wait goes on if another was faster.
func (c *Client) takeOver(ctx context.Context, key registry.Key, miss registry.Lookup) (lookup registry.Lookup, ended bool) {
	lookup, err := c.lease(ctx, c.timeout, key, c.loadWait)
	switch {
	case err != nil:
		return miss, true
	case lookup.Hit && lookup.Token != "":
		c.unlock(ctx, key) // it is stale already: its next reader refreshes it
		return lookup, true
	case lookup.Hit:
		return lookup, true
	case !lookup.Cacheable:
		return miss, true // the policy changed: what the lease at hand fills is for Redis to say
	default:
		return lookup, lookup.Wait == 0
	}
}
