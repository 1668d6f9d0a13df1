// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package flight joins concurrent loads of the same thing into one.
//
// It differs from golang.org/x/sync/singleflight in what a caller's context and a loader's failure
// may do to others: a caller that gives up leaves the load to those who still wait, the last one to
// leave ends it, and a panic reaches only the caller whose loader it was.
package flight

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"
)

// ErrNothingToShare tells a caller that joined a load that it must load for itself: the loader
// panicked, or it failed after the context of the caller it belonged to had ended, which may be the reason.
var ErrNothingToShare = errors.New("the load has no result to share")

// Why a caller does not wait for the load of another.
var (
	// ErrCycle: the load that the caller is part of is one that the other waits for.
	ErrCycle = errors.New("the load waits for the caller")
	// ErrOverdue: the other's load took longer than the Patience. It goes on, but later callers start anew, as this
	// one should.
	ErrOverdue = errors.New("the load takes too long to wait for")
	// ErrStuck: it took longer than the Patience while one before it, that was overdue, is still under way.
	ErrStuck = errors.New("loads of the same thing do not end")
)

// Group holds the loads under way. The zero Group is ready for use.
type Group[K comparable, V any] struct {
	// OnOrphanPanic, if set, is told of a panic in a load whose caller has given up: there is
	// nobody left to panic in.
	OnOrphanPanic func(key K, panicked *Panic)
	// Patience is how long a caller waits for the load of another. 0: without a bound.
	Patience time.Duration

	mu      sync.Mutex
	flights map[K]*flight[V]
	overdue map[K]int // how many flights are under way that took too long to wait for
}

type flight[V any] struct {
	done   chan struct{}
	cancel context.CancelFunc
	caller context.Context //nolint:containedctx // that of the caller that started the load: how it fared until landing
	node   *node

	// Guarded by Group.mu. None changes once landed is set.
	waiting  int
	orphaned bool // the caller that started the load has given up
	landed   bool
	overdue  bool // it took too long to wait for, and is counted in Group.overdue
	ownError bool // err may be due to the context of the caller that started the load, and so is for nobody else

	// Written before done is closed, read after.
	value    V
	err      error
	panicked *Panic
	exited   bool // the loader called runtime.Goexit
}

// Do returns the result of load, called by this caller or by another that is loading the same key.
// The loader runs on a goroutine of its own, with the values of the context of the caller that
// started it, and is cancelled when all callers have given up. started says that the result comes
// from this caller's load.
//
// The error is the loader's, or that of a context that ended while waiting, or ErrNothingToShare, or one of those that
// say why the caller does not wait. A panic of load becomes a panic of the caller that started it, with a *Panic; likewise
// runtime.Goexit.
func (g *Group[K, V]) Do(ctx context.Context, key K, load func(context.Context) (V, error)) (value V, started bool, err error) {
	f, started := g.board(ctx, key, load)
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
	var patience <-chan time.Time
	if !started && g.Patience > 0 {
		timer := time.NewTimer(g.Patience)
		defer timer.Stop()
		patience = timer.C
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
	case <-patience:
		reason = g.leave(key, f, func() error { return g.declareOverdue(key, f) })
	}
	if reason == nil {
		<-f.done // it is about to be closed
	}
	return reason
}

// declareOverdue has later callers start a flight of their own, but only once at a time. Requires g.mu.
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

// board joins the flight of a key or starts one. It returns nil if that one waits for the caller.
func (g *Group[K, V]) board(ctx context.Context, key K, load func(context.Context) (V, error)) (f *flight[V], started bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if f, underway := g.flights[key]; underway {
		if !waiterOf(ctx).wait(f.node) {
			return nil, false
		}
		f.waiting++
		return f, false
	}
	loadCtx, cancel := context.WithCancel(context.WithoutCancel(ctx)) //nolint:gosec // land calls it, whatever happens
	f = &flight[V]{done: make(chan struct{}), cancel: cancel, caller: ctx, node: &node{}, waiting: 1}
	waiterOf(ctx).wait(f.node) // it waits for nobody yet
	if g.flights == nil {
		g.flights = make(map[K]*flight[V])
	}
	g.flights[key] = f
	go g.fly(f.node.within(loadCtx), key, f, load)
	return f, true
}

// fly runs the loader, however it ends.
func (g *Group[K, V]) fly(ctx context.Context, key K, f *flight[V], load func(context.Context) (V, error)) {
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
	// The caller may not have noticed yet that its context ended, and its loader, which may use it too, have failed of it.
	f.ownError = f.err != nil && (f.orphaned || ended(f.caller))
	g.mu.Unlock()
	f.cancel()
	close(f.done)
	if f.orphaned && f.panicked != nil && g.OnOrphanPanic != nil {
		g.OnOrphanPanic(key, f.panicked)
	}
}

// ended says whether a context has ended, or is past its deadline: its timer may be late, and a connection that has the
// same deadline fail first.
func ended(ctx context.Context) bool {
	deadline, set := ctx.Deadline()
	return ctx.Err() != nil || set && !time.Now().Before(deadline)
}

// leave gives up waiting for a reason, unless the load is over: then it returns nil. A load that nobody waits for is
// cancelled, and nobody can join it. reason is asked with g.mu held.
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

// forget makes the next caller start a flight of its own. Requires g.mu.
func (g *Group[K, V]) forget(key K, f *flight[V]) {
	if g.flights[key] == f {
		delete(g.flights, key)
	}
}

// shared is what a flight that is done has for those who joined it.
func (f *flight[V]) shared() (V, error) {
	if f.panicked != nil || f.exited || f.ownError {
		var zero V
		return zero, ErrNothingToShare
	}
	return f.value, f.err
}
