// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cachewright/cachewright/cache/internal/background"
	"github.com/cachewright/cachewright/registry"
)

// Pauses between attempts to deliver invalidations; each is jittered. The longer ones are for a Redis
// that stays away.
const (
	deliverFirst = 50 * time.Millisecond
	deliverMost  = 5 * time.Second
)

// keep queues an invalidation that failed, and makes that known by the error. What Redis rejects will
// never succeed.
func (c *Client) keep(err error, module string, p piece, mode registry.Mode) error {
	if err == nil || errors.Is(err, registry.ErrRejected) {
		return err
	}
	if c.undelivered.add(module, p, mode) && !c.background.Start(context.Background(), c.deliver) {
		c.undelivered.finish()
	}
	return fmt.Errorf("%w: %w", ErrQueued, err)
}

// join returns ErrQueued for an invalidation that one which waits already covers: then Redis could not be reached a moment
// ago, and the caller need not wait to find that out again. It is delivered with the other, which is tried soon; until then
// the near cache is not read either. (A client that is closed delivers nothing.)
func (c *Client) join(module string, p piece, mode registry.Mode) error {
	if c.background.Closed() || !c.undelivered.addAgain(module, p, mode) {
		return nil
	}
	select {
	case c.undelivered.hurry <- struct{}{}:
	default: // it is known
	}
	return errJoined
}

var errJoined = fmt.Errorf("%w: %w: one that covers it waits already", ErrQueued, registry.ErrUnreachable)

// rest waits for a pause, but no longer than the first one where somebody asks again: Redis may be back.
func (c *Client) rest(ctx context.Context, pause time.Duration) {
	first := min(pause, deliverFirst)
	background.Sleep(ctx, first)
	timer := time.NewTimer(pause - first)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.undelivered.hurry:
	case <-ctx.Done():
	}
}

// deliver tries until nothing waits any more.
func (c *Client) deliver(ctx context.Context) {
	for pause := deliverFirst; ; pause = min(2*pause, deliverMost) {
		c.rest(ctx, pause/2+rand.N(pause))
		if ctx.Err() != nil {
			return
		}
		if progress := c.deliverOnce(ctx); progress {
			pause = deliverFirst
		}
		if c.undelivered.finish() {
			return
		}
	}
}

// deliverOnce tries all that waits, module by module, since modules fail one by one.
func (c *Client) deliverOnce(ctx context.Context) (progress bool) {
	var arrived atomic.Bool
	var group errgroup.Group
	group.SetLimit(invalidationsAtOnce)
	for _, parcels := range c.undelivered.parcels() {
		group.Go(func() error {
			for _, p := range parcels {
				err := contained(func() error { return c.send(ctx, p) })
				if err != nil && !errors.Is(err, registry.ErrRejected) {
					return nil // the others wait for the next time too
				}
				c.undelivered.arrived(p)
				arrived.Store(true)
			}
			return nil
		})
	}
	_ = group.Wait() // there are no errors
	return arrived.Load()
}

func (c *Client) send(ctx context.Context, p parcel) error {
	if p.module != everyModule {
		return c.sendTo(ctx, p.module, p)
	}
	modules, err := c.allModulesInTime(ctx)
	if err != nil {
		return err
	}
	for _, module := range modules {
		if err := c.sendTo(ctx, module, p); err != nil && !errors.Is(err, registry.ErrRejected) {
			return err
		}
	}
	return nil
}

func (c *Client) sendTo(ctx context.Context, module string, p parcel) error {
	bounded, cancel := context.WithTimeout(ctx, c.invalidationTimeout)
	defer cancel()
	user := p.piece.user
	var err error
	if p.piece.id != "" {
		user = "" // a deletion changes the head of the operation
		_, err = c.store.Delete(bounded, registry.Key{
			Slot: c.slot(module), Operation: p.piece.operation, User: p.piece.user, ID: p.piece.id,
		})
	} else {
		scope := registry.Scope{Operation: p.piece.operation, User: p.piece.user}
		var invalidated registry.Invalidated
		invalidated, err = c.store.Invalidate(bounded, c.slot(module), scope, p.mode, "")
		c.reclaim(module, invalidated)
	}
	c.near.Changed(c.slot(module), p.piece.operation, user)
	if err != nil && ctx.Err() == nil {
		c.failed(module, p.piece.operation, err)
	}
	return err
}

// deliverLast is for the end of the process: one more attempt, and an error about what is lost.
func (c *Client) deliverLast(ctx context.Context) error {
	if !c.undelivered.waiting.Load() {
		return nil
	}
	c.deliverOnce(ctx)
	pieces, modules := c.undelivered.summary()
	if pieces == 0 {
		return nil
	}
	for i, module := range modules {
		if module == everyModule {
			modules[i] = "all of the namespace"
		}
	}
	return fmt.Errorf("cache: %d invalidations did not reach Redis, of modules: %s; their entries may be out of date until they expire: invalidate the modules",
		pieces, strings.Join(modules, ", "))
}
