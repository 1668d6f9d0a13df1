// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"sync"
	"time"

	"github.com/cachewright/cachewright/cache/internal/background"
	"github.com/cachewright/cachewright/registry"
)

const (
	// reclaimAtOnce is how many entries a call gives back: about a millisecond's work for Redis.
	reclaimAtOnce = 200
	// reclaimPause is the least time between two calls.
	reclaimPause = time.Millisecond
)

// reclaims is the modules whose invalidated entries' memory this process gives back. What is left to do is known by
// Redis, so anyone can go on where this one stops: the next who invalidates, or the operator.
type reclaims struct {
	mu    sync.Mutex
	again map[string]bool // of modules under way: more was set aside since
}

// begin says whether the caller is to reclaim, and then to call end.
func (r *reclaims) begin(module string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.again == nil {
		r.again = make(map[string]bool)
	}
	_, underWay := r.again[module]
	r.again[module] = underWay
	return !underWay
}

// done says that nothing was set aside since begin, or since it was called last. Then the next begin is another's.
func (r *reclaims) done(module string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.again[module] {
		r.again[module] = false
		return false
	}
	delete(r.again, module)
	return true
}

// giveUp makes the next begin another's.
func (r *reclaims) giveUp(module string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.again, module)
}

// reclaim has the memory of what was invalidated given back in the background, if any is to be.
func (c *Client) reclaim(module string, invalidated registry.Invalidated) {
	if invalidated.Pending == 0 || !c.reclaims.begin(module) {
		return
	}
	if !c.background.Start(context.Background(), func(ctx context.Context) { c.reclaimAll(ctx, module) }) {
		c.reclaims.giveUp(module)
	}
}

// reclaimAll goes on until nothing waits, Redis errs or the client is closed. It leaves Redis to others for at least as
// long as each of its calls took.
func (c *Client) reclaimAll(ctx context.Context, module string) {
	done := false
	defer func() {
		if !done {
			c.reclaims.giveUp(module)
		}
	}()
	for ctx.Err() == nil {
		began := time.Now()
		left, err := c.reclaimSome(ctx, module)
		if err != nil {
			return
		}
		if done = left == 0 && c.reclaims.done(module); done {
			return
		}
		background.Sleep(ctx, max(reclaimPause, time.Since(began)))
	}
}

func (c *Client) reclaimSome(ctx context.Context, module string) (left int64, err error) {
	var reclaimed registry.Reclaimed
	err = c.ask(ctx, writing, module, func(ctx context.Context) (err error) {
		reclaimed, err = c.store.Reclaim(ctx, c.slot(module), reclaimAtOnce)
		return err
	})
	if err != nil && ctx.Err() == nil {
		c.tell(module, "", err)
	}
	return reclaimed.Pending, err
}
