// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"sync"
	"time"

	"github.com/cachewright/cachewright/cache/internal/background"
	"github.com/cachewright/cachewright/registry"
)

const (
	// reclaimLimit is how many entries one call frees: about a millisecond of work for Redis.
	reclaimLimit = 200
	// reclaimPause is the least time between two calls.
	reclaimPause = time.Millisecond
)

// reclaims is the set of modules whose memory this process frees. Redis knows what is left to free,
// so the next invalidation, or the operator, frees the rest if this process stops.
type reclaims struct {
	mu    sync.Mutex
	again map[string]bool // by the modules under way: whether there was another invalidation
}

// begin reports whether the caller must free the memory of a module. If so, it calls done or giveUp
// later.
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

// done ends what begin began and returns true, unless there was another invalidation since.
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

// giveUp ends what begin began, whatever is left.
func (r *reclaims) giveUp(module string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.again, module)
}

// startReclaim frees the memory of invalidated entries in the background.
func (g *Gateway) startReclaim(module string) {
	if !g.reclaims.begin(module) {
		return
	}
	reclaim := func(ctx context.Context) { g.reclaimAll(ctx, module) }
	if !g.config.Background.Start(context.Background(), reclaim) {
		g.reclaims.giveUp(module)
	}
}

// reclaimAll goes on until nothing is left, Redis fails or the client is closed. After each call it
// leaves Redis to others for at least as long as that call took.
func (g *Gateway) reclaimAll(ctx context.Context, module string) {
	done := false
	defer func() {
		if !done {
			g.reclaims.giveUp(module)
		}
	}()
	for ctx.Err() == nil {
		began := time.Now()
		pending, err := g.reclaimSome(ctx, module)
		if err != nil {
			return
		}
		if done = pending == 0 && g.reclaims.done(module); done {
			return
		}
		background.Sleep(ctx, max(reclaimPause, time.Since(began)))
	}
}

func (g *Gateway) reclaimSome(ctx context.Context, module string) (pending int64, err error) {
	var reclaimed registry.Reclaimed
	err = g.do(ctx, Writing, module, func(ctx context.Context) (err error) {
		reclaimed, err = g.config.Store.Reclaim(ctx, g.Slot(module), reclaimLimit)
		return err
	})
	if err != nil && ctx.Err() == nil {
		g.config.Hooks.Failed(module, "", err)
	}
	return reclaimed.Pending, err
}
