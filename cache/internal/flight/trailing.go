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
	results := t.DoMany(ctx, []K{key}, one(load))
	return results[0].Value, results[0].Started, results[0].Err
}

// DoMany is DoMany of a Group, but the loads whose results it returns began after the call. The
// caller's own load waits for those before it of the same things. Callers take their places in line
// for all that they want at once, so none waits for one that waits for it.
func (t *Trailing[K, V]) DoMany(ctx context.Context, keys []K, load Load[V]) []Result[V] {
	return t.group.rideAll(ctx, t.queueAll(ctx, keys, load))
}

// queueAll joins the loads that wait to begin, and puts one in line for the rest.
func (t *Trailing[K, V]) queueAll(
	ctx context.Context, keys []K, load Load[V],
) []seat[turn[K], V] {
	t.group.mu.Lock()
	defer t.group.mu.Unlock()
	seats := make([]seat[turn[K], V], len(keys))
	q := &queued[K, V]{load: newLoad(ctx), seats: seats, before: make([]*flight[V], len(keys))}
	own := 0
	for i, key := range keys {
		seats[i] = t.queue(ctx, key, q, i)
		if seats[i].started {
			own++
		}
	}
	t.group.depart(q.load, seats, own, func(ctx context.Context, own []int, land func(int, V, error)) {
		defer t.leaveAll(q, own)
		if ready := t.beginAll(ctx, q, own, land); len(ready) > 0 {
			load(ctx, ready, land)
		}
	})
	return seats
}

// queued is the loads that a caller has put in line, and those before them. Most are nil.
type queued[K comparable, V any] struct {
	load   *load
	seats  []seat[turn[K], V]
	before []*flight[V]
}

// queue joins the load of a key that waits to begin, or puts that of the caller in line. It
// requires group.mu.
func (t *Trailing[K, V]) queue(
	ctx context.Context, key K, q *queued[K, V], at int,
) seat[turn[K], V] {
	l := t.lines[key]
	if l == nil {
		l = &line[V]{}
	}
	of := turn[K]{key, l.number}
	// The group has forgotten a load that all callers have left.
	if l.waiting != nil && t.group.flights[of] == l.waiting {
		return seat[turn[K], V]{key: of, flight: l.waiting.join(ctx)}
	}
	of.number = t.turns + 1
	f := t.start(ctx, l.running, q.load)
	if f == nil {
		return seat[turn[K], V]{key: of}
	}
	t.turns++
	t.group.enter(of, f)
	q.before[at] = l.running
	l.waiting, l.number = f, of.number
	t.lines[key] = l
	return seat[turn[K], V]{key: of, flight: f, started: true}
}

// start returns a flight that waits for the one before, or nil if either waits for the caller. It
// requires group.mu.
func (t *Trailing[K, V]) start(ctx context.Context, before *flight[V], l *load) *flight[V] {
	if before == nil {
		return t.group.add(ctx, l)
	}
	caller := waiterOf(ctx)
	if !caller.wait(before.load.node) { // a load of several must not wait for one that waits for it
		return nil
	}
	caller.stop(before.load.node)
	if !l.node.wait(before.load.node) {
		return nil
	}
	f := t.group.add(ctx, l)
	if f == nil {
		l.node.stop(before.load.node)
	}
	return f
}

// beginAll waits for the loads before, and returns which may begin. Once it has returned, no caller
// joins those. ctx is that of the load, which ends when all callers have left.
func (t *Trailing[K, V]) beginAll(
	ctx context.Context, q *queued[K, V], own []int, land func(int, V, error),
) (ready []int) {
	late := time.Now().Add(t.maxWait)
	for _, at := range own {
		if err := t.begin(ctx, q.seats[at], q.before[at], late); err != nil {
			var nothing V
			land(at, nothing, err)
			continue
		}
		ready = append(ready, at)
	}
	return ready
}

// begin waits for the load before, until it is late.
func (t *Trailing[K, V]) begin(
	ctx context.Context, s seat[turn[K], V], before *flight[V], late time.Time,
) error {
	f, isLate := s.flight, false
	if before != nil {
		defer f.load.node.stop(before.load.node)
		isLate = t.await(ctx, before, late)
	}
	t.group.mu.Lock()
	defer t.group.mu.Unlock()
	if f.over {
		return context.Canceled // all callers have left; another load may have taken its place
	}
	l := t.lines[s.key.key]
	if isLate {
		if l.overdue != nil && !l.overdue.landed {
			return ErrStuck
		}
		l.overdue = before
	}
	l.waiting, l.running = nil, f
	return nil
}

// await waits until a load is over, and reports whether it takes too long.
func (t *Trailing[K, V]) await(ctx context.Context, before *flight[V], late time.Time) bool {
	var overdue <-chan time.Time
	if t.maxWait > 0 {
		timer := time.NewTimer(time.Until(late))
		defer timer.Stop()
		overdue = timer.C
	}
	select {
	case <-before.done:
	case <-before.load.ctx.Done():
	case <-ctx.Done():
	case <-overdue:
		return true
	}
	return false
}

// leaveAll takes the loads that end out of their lines.
func (t *Trailing[K, V]) leaveAll(q *queued[K, V], own []int) {
	t.group.mu.Lock()
	defer t.group.mu.Unlock()
	for _, at := range own {
		t.leave(q.seats[at].key.key, q.seats[at].flight)
	}
}

// leave requires group.mu.
func (t *Trailing[K, V]) leave(key K, f *flight[V]) {
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
