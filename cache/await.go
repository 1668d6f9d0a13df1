// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"math/rand/v2"
	"time"

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

// await looks for an entry until another process has stored it, or patience ends.
func (c *Client) await(ctx context.Context, key registry.Key, patience time.Duration) (hit registry.Lookup, found bool) {
	end := time.Now().Add(patience)
	for pause := awaitFirst; ; pause = min(2*pause, awaitMost) {
		left := time.Until(end)
		if left <= 0 || ctx.Err() != nil {
			return registry.Lookup{}, false
		}
		sleep(ctx, min(left, pause/2+rand.N(pause)))
		lookup, err := c.read(ctx, key)
		if err != nil {
			return registry.Lookup{}, false
		}
		if lookup.Hit {
			return lookup, true // counted as the miss it was
		}
	}
}
