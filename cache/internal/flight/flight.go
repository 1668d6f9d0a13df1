// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package flight joins concurrent loads of the same thing into one. One load may serve many things.
//
// It differs from golang.org/x/sync/singleflight in what a caller can do to others. A caller that
// gives up leaves the load to those who still wait, and the last one to leave ends it. A panic
// reaches only the caller whose loader it was.
package flight

import (
	"context"
	"errors"
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
	// is left to panic in. Of the things that were loaded together, it gets one.
	OnOrphanPanic func(key K, panicked *Panic)
	// MaxWait is how long a caller waits for the load of another. 0: without a bound.
	MaxWait time.Duration

	mu      sync.Mutex
	flights map[K]*flight[V]
	overdue map[K]int // how many overdue flights are under way
}

// flight is a load under way of one thing.
type flight[V any] struct {
	done chan struct{}
	load *load // perhaps that of other flights, too

	// Guarded by Group.mu. None changes once landed is set.
	waiting  int
	orphaned bool // the caller that started the load has given up.
	landed   bool
	overdue  bool // it took longer than MaxWait, and Group.overdue counts it.
	// over: it has landed, or all callers have left.
	over bool
	// err may be due to the context of the caller that started the load: nobody else gets it
	ownError bool

	// Written before done is closed, read after.
	value    V
	err      error
	panicked *Panic
	exited   bool // the loader called runtime.Goexit, or forgot the flight
}

// load is a call of a loader. It serves all flights that a caller starts together.
type load struct {
	ctx    context.Context //nolint:containedctx // ends when the load is over, or when all callers have left
	cancel context.CancelFunc
	caller context.Context //nolint:containedctx // of the caller that started it; land looks whether it ended
	node   *node
	// flights is how many are not over. Guarded by Group.mu.
	flights int
}

func newLoad(ctx context.Context) *load {
	loadCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	return &load{ctx: loadCtx, cancel: cancel, caller: ctx, node: &node{}}
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
	results := g.DoMany(ctx, []Wanted[K]{{Key: key}}, one(load))
	return results[0].Value, results[0].Started, results[0].Err
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

// join returns the flight, or nil if it waits for the caller. It requires Group.mu.
func (f *flight[V]) join(ctx context.Context) *flight[V] {
	if !waiterOf(ctx).wait(f.load.node) {
		return nil
	}
	f.waiting++
	return f
}

// add returns a new flight of a load, or nil if its node waits for the caller. It requires g.mu.
func (g *Group[K, V]) add(ctx context.Context, l *load) *flight[V] {
	if !waiterOf(ctx).wait(l.node) {
		return nil
	}
	l.flights++
	return &flight[V]{done: make(chan struct{}), load: l, waiting: 1}
}

// enter makes later callers join a flight. It requires g.mu.
func (g *Group[K, V]) enter(key K, f *flight[V]) {
	if g.flights == nil {
		g.flights = make(map[K]*flight[V])
	}
	g.flights[key] = f
}

// end notes that a flight is over, and ends the context of its load with the last one. It requires
// g.mu.
func (f *flight[V]) end() {
	if f.over {
		return
	}
	f.over = true
	f.load.flights--
	if f.load.flights == 0 {
		f.load.cancel()
	}
}

// land ends a flight, whose result is set.
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
	f.ownError = f.err != nil && (f.orphaned || ended(f.load.caller))
	f.end()
	g.mu.Unlock()
	close(f.done)
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
		f.end()
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
