// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package flight

import (
	"context"
	"time"
)

// Trailing shares loads of what must be as new as its caller. One load of a key runs, and one waits
// to begin. A caller joins the one that waits: only a load that begins after a caller came may
// serve it. So however many callers there are, each waits for two loads at most.
//
// Callers that give up, panics and cycles are as in a Group. A load that all have left counts as
// over.
type Trailing[K comparable, V any] struct {
	maxWait time.Duration
	group   Group[turn[K], V]

	// Guarded by group.mu.
	lines map[K]*line[V]
	turns uint64
}

// turn names a load. A key alone would name the one that runs as well as the one that waits.
type turn[K comparable] struct {
	key    K
	number uint64
}

// line is the loads of a key that have not ended. Any of them may be nil.
type line[V any] struct {
	waiting *flight[V]
	number  uint64 // of its turn
	running *flight[V]
	overdue *flight[V] // the next one did not wait for its end, which may have come since
}

// NewTrailing returns a Trailing without loads. A load waits for the one before for up to maxWait.
// Then it begins beside that one, unless one more is overdue: ErrStuck. Callers that joined a load
// wait for twice as long: ErrOverdue. With 0 there is no bound. onOrphanPanic is that of a Group.
func NewTrailing[K comparable, V any](
	maxWait time.Duration, onOrphanPanic func(key K, panicked *Panic),
) *Trailing[K, V] {
	t := &Trailing[K, V]{maxWait: maxWait, lines: make(map[K]*line[V])}
	t.group.MaxWait = 2 * maxWait
	if onOrphanPanic != nil {
		t.group.OnOrphanPanic = func(of turn[K], panicked *Panic) { onOrphanPanic(of.key, panicked) }
	}
	return t
}

// Do is Do of a Group, but the load whose result it returns began after the call.
func (t *Trailing[K, V]) Do(
	ctx context.Context, key K, load func(context.Context) (V, error),
) (value V, started bool, err error) {
	of, f, started := t.queue(ctx, key, load)
	return t.group.ride(ctx, of, f, started)
}

// queue joins the load that waits to begin, or puts one in line.
func (t *Trailing[K, V]) queue(
	ctx context.Context, key K, load func(context.Context) (V, error),
) (of turn[K], f *flight[V], started bool) {
	t.group.mu.Lock()
	defer t.group.mu.Unlock()
	l := t.lines[key]
	if l == nil {
		l = &line[V]{}
	}
	of = turn[K]{key, l.number}
	// The group has forgotten a load that all callers have left.
	if l.waiting != nil && t.group.flights[of] == l.waiting {
		return of, l.waiting.join(ctx), false
	}
	of.number = t.turns + 1
	if f = t.start(ctx, of, l.running, load); f == nil {
		return of, nil, false
	}
	t.turns++
	l.waiting, l.number = f, of.number
	t.lines[key] = l
	return of, f, true
}

// start starts the flight of a turn, which waits for the one before. It requires group.mu.
func (t *Trailing[K, V]) start(
	ctx context.Context, of turn[K], before *flight[V], load func(context.Context) (V, error),
) *flight[V] {
	n := &node{}
	if before != nil {
		n.wait(before.node) // nobody waits for n yet, so this succeeds
	}
	self := make(chan *flight[V], 1) // the loader runs before start returns it
	f := t.group.start(ctx, of, n, func(ctx context.Context) (value V, err error) {
		f := <-self
		defer t.leave(of.key, f)
		if err := t.begin(ctx, of.key, f, before); err != nil {
			return value, err
		}
		return load(ctx)
	})
	self <- f
	return f
}

// begin waits for the load before. Once it has returned, no caller joins. ctx is that of the load,
// which ends when all callers have left.
func (t *Trailing[K, V]) begin(ctx context.Context, key K, f, before *flight[V]) error {
	late := false
	if before != nil {
		defer f.node.stop(before.node)
		late = t.await(ctx, before)
	}
	t.group.mu.Lock()
	defer t.group.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err // another load may have taken its place
	}
	l := t.lines[key]
	if late {
		if l.overdue != nil && !l.overdue.landed {
			return ErrStuck
		}
		l.overdue = before
	}
	l.waiting, l.running = nil, f
	return nil
}

// await waits until a load is over, and reports whether it takes too long.
func (t *Trailing[K, V]) await(ctx context.Context, before *flight[V]) (late bool) {
	var overdue <-chan time.Time
	if t.maxWait > 0 {
		timer := time.NewTimer(t.maxWait)
		defer timer.Stop()
		overdue = timer.C
	}
	select {
	case <-before.ctx.Done():
	case <-ctx.Done():
	case <-overdue:
		return true
	}
	return false
}

// leave takes a load that ends out of the line.
func (t *Trailing[K, V]) leave(key K, f *flight[V]) {
	t.group.mu.Lock()
	defer t.group.mu.Unlock()
	l := t.lines[key]
	if l == nil {
		return // later loads did not wait for it, and have ended
	}
	if l.waiting == f {
		l.waiting = nil
	}
	if l.running == f {
		l.running = nil
	}
	if l.waiting == nil && l.running == nil {
		delete(t.lines, key)
	}
}
