// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package guard holds what a transaction changes, from before COMMIT until its outcome is known.
package guard

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cachewright/cachewright/cache"
)

// Config says how a Keeper holds. Holder and TTL are needed.
type Config struct {
	Holder cache.Holder
	// TTL is how long a hold lasts without a renewal.
	TTL time.Duration
	// Linger is for how long a hold outlives the COMMIT. 0: it is released.
	Linger time.Duration
	// Longest is the longest time that a hold may last.
	Longest time.Duration
	// Report is told what went wrong after the COMMIT was sent. It must not block.
	Report func(error)
}

// Keeper makes holds for transactions.
type Keeper struct {
	config Config
	lost   atomic.Int64
}

// New returns a Keeper.
func New(config Config) *Keeper { return &Keeper{config: config} }

// Lost is the number of holds that did not cover the whole COMMIT.
func (k *Keeper) Lost() int64 { return k.lost.Load() }

// Hold holds what a transaction touched. With an error nothing is held; the Guard's End invalidates
// it all the same.
func (k *Keeper) Hold(ctx context.Context, on []cache.Covered) (*Guard, error) {
	ctx, cancel := context.WithTimeout(ctx, k.inTime())
	defer cancel()
	g := &Guard{keeper: k, asked: time.Now()}
	var err error
	g.hold, err = k.config.Holder.Hold(ctx, k.config.TTL, on...)
	g.failed = err != nil
	return g, err
}

// inTime bounds a call to Redis, so that the hold has time left afterwards. The cache uses half of
// the time that it is given.
func (k *Keeper) inTime() time.Duration { return k.config.TTL * 4 / 5 }

// Guard is the hold of one COMMIT. One goroutine at a time uses it. A nil Guard holds nothing.
type Guard struct {
	keeper *Keeper
	hold   cache.Hold
	failed bool
	asked  time.Time // before the last call that should set the end of the hold
}

// Ready makes sure that at least half of the hold is left.
func (g *Guard) Ready(ctx context.Context) error {
	if g == nil || g.failed || time.Since(g.asked) <= g.keeper.config.TTL/2 {
		return nil
	}
	err := g.renew(ctx, g.keeper.config.TTL)
	if err == nil {
		err = g.hold.Err()
	}
	return err
}

// Due is when the next call of Keep is due. A nil channel never is.
func (g *Guard) Due() <-chan time.Time {
	if g == nil || g.failed {
		return nil
	}
	return time.After(time.Until(g.asked.Add(g.keeper.config.TTL / 3)))
}

// Keep renews a hold.
func (g *Guard) Keep(ctx context.Context) {
	if g == nil || g.failed {
		return
	}
	if err := g.renew(ctx, g.keeper.config.TTL); err != nil {
		g.keeper.config.Report(err)
	}
}

// renew also lets Due wait after a failure, so that a Redis that is away is not asked all the time.
func (g *Guard) renew(ctx context.Context, ttl time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, g.keeper.inTime())
	defer cancel()
	began := time.Now()
	err := g.hold.Renew(ctx, ttl)
	g.asked = began
	return err
}

// Drop ends the hold of a transaction that was not committed.
func (g *Guard) Drop(ctx context.Context) {
	if g != nil {
		g.release(ctx)
	}
}

// End ends the hold of a transaction that was committed. With a Linger, it lasts for so long.
func (g *Guard) End(ctx context.Context) {
	if g == nil {
		return
	}
	if g.failed || g.keeper.config.Linger == 0 || !g.outlive(ctx, g.keeper.config.Linger) {
		g.release(ctx)
	}
	g.checkLost()
}

// Abandon lets the hold last for as long as a hold can: nobody knows whether the transaction is
// committed already, or will be.
func (g *Guard) Abandon(ctx context.Context) {
	if g == nil {
		return
	}
	if g.failed || !g.outlive(ctx, g.keeper.config.Longest) {
		g.release(ctx)
	}
	g.checkLost()
}

// outlive gives a hold its last end, so that it needs no release, and reports whether it could.
func (g *Guard) outlive(ctx context.Context, ttl time.Duration) bool {
	err := g.renew(ctx, ttl)
	if err != nil {
		g.keeper.config.Report(fmt.Errorf("the hold of a transaction cannot outlive it: %w", err))
	}
	return err == nil
}

func (g *Guard) release(ctx context.Context) {
	if err := g.hold.Release(ctx); err != nil {
		g.keeper.config.Report(err)
	}
}

func (g *Guard) checkLost() {
	if err := g.hold.Err(); err != nil && !g.failed {
		g.keeper.lost.Add(1)
		g.keeper.config.Report(err)
	}
}
