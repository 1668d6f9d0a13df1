// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package loads

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/cachewright/cachewright/cache/internal/gateway"
	"github.com/cachewright/cachewright/cache/internal/source"
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
func (w waiter) isLocked(miss registry.Lookup) bool {
	return w.loadWait > 0 && miss.Wait == 0 && !miss.Token.Unleased()
}

// watch is entries that other processes load.
type watch struct {
	jobs  []*job
	pause time.Duration
}

// wait waits until some of the entries that it watches are to be loaded after all, or none is left
// to wait for. Those that another process has stored land. A job is to be loaded with its lease if
// the time of its caller is over. It is with a later one if that has the load lock: another caller
// in this process may offer that. Or the waiter takes it itself, if the other process stored
// nothing that can be read.
func (w waiter) wait(ctx context.Context, on *watch) (ready []*job) {
	offered := make(chan struct{}, 1)
	for _, j := range on.jobs {
		j.locks.tell(offered)
	}
	for {
		if ready = on.due(ctx); len(ready) > 0 || len(on.jobs) == 0 {
			return ready
		}
		if on.sleep(ctx, offered) {
			continue
		}
		if ready = w.look(ctx, on); len(ready) > 0 {
			return ready
		}
	}
}

// split takes the jobs that are to be loaded out of those that are watched.
func (on *watch) split(isReady func(*job) bool) (ready []*job) {
	waiting := on.jobs[:0]
	for _, j := range on.jobs {
		if isReady(j) {
			ready = append(ready, j)
		} else {
			waiting = append(waiting, j)
		}
	}
	on.jobs = waiting
	return ready
}

// due returns the jobs that have the lock, or must not wait any longer.
func (on *watch) due(ctx context.Context) []*job {
	now, ended := time.Now(), ctx.Err() != nil
	return on.split(func(j *job) bool { return j.take() || ended || !now.Before(j.until) })
}

// sleep waits for the next look, or for an offer, and reports whether there is one.
func (on *watch) sleep(ctx context.Context, offered <-chan struct{}) bool {
	next := on.pause/2 + rand.N(on.pause)
	on.pause = min(2*on.pause, maxWait)
	for _, j := range on.jobs {
		next = min(next, time.Until(j.until))
	}
	timer := time.NewTimer(next)
	defer timer.Stop()
	select {
	case <-offered:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// look reads the entries. Redis counted the misses when it leased them. It returns those that are
// to be loaded.
func (w waiter) look(ctx context.Context, on *watch) []*job {
	read := w.gateway.ReadLocked(ctx, keysOf(on.jobs))
	var free []*job
	ready := on.split(func(j *job) bool {
		found := read[0]
		read = read[1:]
		switch {
		case found.Err != nil:
			return true
		case found.Hit:
			j.found(found.Lookup)
		case !found.Locked:
			free = append(free, j)
		}
		return false
	})
	w.takeOver(ctx, free)
	on.split(func(j *job) bool { return j.hit })
	return append(ready, on.split(func(j *job) bool { return j.ready })...)
}

// found ends a job whose entry another process has stored.
func (j *job) found(hit registry.Lookup) {
	j.result, j.hit = loaded{payload: hit.Payload, shared: true, foreign: true}, true
	if hit.Negative {
		j.err = source.ErrNotFound
	}
	j.end()
}

// takeOver asks for load locks that no process seemed to hold, and says which jobs are to be
// loaded. The wait goes on for those for which another process was faster.
func (w waiter) takeOver(ctx context.Context, free []*job) {
	var stale []registry.Key
	for i, leased := range w.gateway.LeaseMany(ctx, w.timeout, keysOf(free), w.loadWait) {
		j := free[i]
		switch {
		case leased.Err != nil:
			j.ready = true
		case leased.Hit:
			if leased.Token != "" {
				stale = append(stale, j.miss.Key) // its next reader refreshes it
			}
			j.found(leased.Lookup)
		case !leased.Cacheable:
			j.ready = true // the policy changed: Redis decides about the fill with the lease at hand
		case leased.Wait == 0:
			j.lease, j.ready = leased.Lookup, true
		}
	}
	w.gateway.Unlock(ctx, stale...)
}
