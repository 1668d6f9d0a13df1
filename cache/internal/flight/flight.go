// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package flight joins concurrent loads of the same thing into one.
//
// It differs from golang.org/x/sync/singleflight in what a caller can do to others. A caller that
// gives up leaves the load to those who still wait, and the last one to leave ends it. A panic
// reaches only the caller whose loader it was.
package flight

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"
)

// ErrNothingToShare says that a caller that joined a load must load for itself. The loader
// panicked, or it failed after the context of its caller had ended, which may be the reason.
var ErrNothingToShare = errors.New("the load has no result to share")

// Reasons why a caller does not wait for the load of another.
var (
	// ErrCycle: the other load waits for the one that the caller is part of.
	ErrCycle = errors.New("the load waits for the caller")
	// ErrOverdue: the load took longer than MaxWait. It goes on, but later callers start another
	// one, as this caller should.
	ErrOverdue = errors.New("the load takes too long to wait for")
	// ErrStuck: the load took longer than MaxWait while an overdue one before it is still under
	// way.
	ErrStuck = errors.New("loads of the same thing do not end")
)

// Group holds the loads under way. The zero Group is ready for use.
type Group[K comparable, V any] struct {
	// OnOrphanPanic, if set, is called after a panic in a load whose caller has given up: no caller
	// is left to panic in.
	OnOrphanPanic func(key K, panicked *Panic)
	// MaxWait is how long a caller waits for the load of another. 0: without a bound.
	MaxWait time.Duration

	mu      sync.Mutex
	flights map[K]*flight[V]
	overdue map[K]int // how many overdue flights are under way
}

type flight[V any] struct {
	done   chan struct{}
	cancel context.CancelFunc
	ctx    context.Context //nolint:containedctx // ends when the load is over, or when all callers have left
	caller context.Context //nolint:containedctx // of the caller that started it; land looks whether it ended
	node   *node

	// Guarded by Group.mu. None changes once landed is set.
	waiting  int
	orphaned bool // the caller that started the load has given up.
	landed   bool
	overdue  bool // it took longer than MaxWait, and Group.overdue counts it.
	// err may be due to the context of the caller that started the load: nobody else gets it
	ownError bool

	// Written before done is closed, read after.
	value    V
	err      error
	panicked *Panic
	exited   bool // the loader called runtime.Goexit
}

// Do returns the result of load, called by this caller or by another that is loading the same key.
// The loader runs on a goroutine of its own, with the values of the context of the caller that
// started it. It is cancelled when all callers have given up. started says that the result comes
// from this caller's load.
//
// The error is the loader's, or that of a context that ended while waiting, or ErrNothingToShare,
// or one of the reasons not to wait. A panic of load becomes a panic of the caller that started it,
// with a *Panic. runtime.Goexit does the same.
func (g *Group[K, V]) Do(
	ctx context.Context, key K, load func(context.Context) (V, error),
) (value V, started bool, err error) {
	f, started := g.board(ctx, key, load)
	return g.ride(ctx, key, f, started)
}

// ride returns the result of a flight for a caller that joined or started it. nil stands for a
// flight that waits for the caller.
func (g *Group[K, V]) ride(
	ctx context.Context, key K, f *flight[V], started bool,
) (value V, _ bool, err error) {
	if f == nil {
		return value, false, ErrCycle
	}
	defer waiterOf(ctx).stop(f.node)
	if err := g.wait(ctx, key, f, started); err != nil {
		return value, started, err
	}
	if !started {
		value, err = f.shared()
		return value, false, err
	}
	switch {
	case f.panicked != nil:
		panic(f.panicked)
	case f.exited:
		runtime.Goexit()
	}
	return f.value, true, f.err
}

// wait returns nil once the load is over, or why the caller gave up.
func (g *Group[K, V]) wait(ctx context.Context, key K, f *flight[V], started bool) error {
	var overdue <-chan time.Time
	if !started && g.MaxWait > 0 {
		timer := time.NewTimer(g.MaxWait)
		defer timer.Stop()
		overdue = timer.C
	}
	var reason error
	select {
	case <-f.done:
		return nil
	case <-ctx.Done():
		reason = g.leave(key, f, func() error {
			f.orphaned = f.orphaned || started
			return ctx.Err()
		})
	case <-overdue:
		reason = g.leave(key, f, func() error { return g.declareOverdue(key, f) })
	}
	if reason == nil {
		<-f.done // it is about to be closed
	}
	return reason
}

// declareOverdue makes later callers start a flight of their own, but only once at a time. It
// requires g.mu.
func (g *Group[K, V]) declareOverdue(key K, f *flight[V]) error {
	switch {
	case f.overdue:
		return ErrOverdue
	case g.overdue[key] > 0:
		return ErrStuck
	}
	if g.overdue == nil {
		g.overdue = make(map[K]int)
	}
	f.overdue = true
	g.overdue[key]++
	g.forget(key, f)
	return ErrOverdue
}

// board joins the flight of a key or starts one. It returns nil if that flight waits for the
// caller.
func (g *Group[K, V]) board(
	ctx context.Context, key K, load func(context.Context) (V, error),
) (f *flight[V], started bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if f, underway := g.flights[key]; underway {
		return f.join(ctx), false
	}
	return g.start(ctx, key, &node{}, load), true // it waits for nobody, so there is no cycle
}

// join returns the flight, or nil if it waits for the caller. It requires Group.mu.
func (f *flight[V]) join(ctx context.Context) *flight[V] {
	if !waiterOf(ctx).wait(f.node) {
		return nil
	}
	f.waiting++
	return f
}

// start starts a flight, or returns nil if its node waits for the caller. It requires g.mu.
func (g *Group[K, V]) start(
	ctx context.Context, key K, n *node, load func(context.Context) (V, error),
) *flight[V] {
	if !waiterOf(ctx).wait(n) {
		return nil
	}
	loadCtx, cancel := context.WithCancel(context.WithoutCancel(ctx)) //nolint:gosec // land calls it
	f := &flight[V]{
		done: make(chan struct{}), cancel: cancel, ctx: loadCtx, caller: ctx, node: n,
		waiting: 1,
	}
	if g.flights == nil {
		g.flights = make(map[K]*flight[V])
	}
	g.flights[key] = f
	go g.fly(n.within(loadCtx), key, f, load)
	return f
}

// fly runs the loader, however it ends.
func (g *Group[K, V]) fly(
	ctx context.Context, key K, f *flight[V], load func(context.Context) (V, error),
) {
	f.exited = true // until load is seen to return or to panic
	defer func() {
		if f.exited {
			if value := recover(); value != nil {
				f.exited = false
				f.panicked = NewPanic(value)
			}
		}
		g.land(key, f)
	}()
	f.value, f.err = load(ctx)
	f.exited = false
}

func (g *Group[K, V]) land(key K, f *flight[V]) {
	g.mu.Lock()
	g.forget(key, f)
	if f.overdue {
		g.overdue[key]--
		if g.overdue[key] == 0 {
			delete(g.overdue, key)
		}
	}
	f.landed = true
	// The loader may have failed because that context ended, before its caller noticed.
	f.ownError = f.err != nil && (f.orphaned || ended(f.caller))
	g.mu.Unlock()
	f.cancel()
	close(f.done)
	if f.orphaned && f.panicked != nil && g.OnOrphanPanic != nil {
		g.OnOrphanPanic(key, f.panicked)
	}
}

// ended reports whether a context has ended, or is past its deadline. Its timer may be late, and a
// connection with the same deadline may fail first.
func ended(ctx context.Context) bool {
	deadline, set := ctx.Deadline()
	return ctx.Err() != nil || set && !time.Now().Before(deadline)
}

// leave gives up waiting and returns the reason, or nil if the load is over. A load that nobody
// waits for is cancelled, and nobody can join it. leave calls reason with g.mu held.
func (g *Group[K, V]) leave(key K, f *flight[V], reason func() error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if f.landed {
		return nil
	}
	f.waiting--
	if f.waiting == 0 {
		g.forget(key, f)
		f.cancel()
	}
	return reason()
}

// forget makes the next caller start a flight of its own. It requires g.mu.
func (g *Group[K, V]) forget(key K, f *flight[V]) {
	if g.flights[key] == f {
		delete(g.flights, key)
	}
}

// shared returns the result of a flight that is done, for callers that joined it.
func (f *flight[V]) shared() (V, error) {
	if f.panicked != nil || f.exited || f.ownError {
		var zero V
		return zero, ErrNothingToShare
	}
	return f.value, f.err
}
