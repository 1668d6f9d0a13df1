// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package flight

import (
	"context"
	"runtime"
	"time"
)

// Wanted is one of the things that a caller wants.
type Wanted[K comparable] struct {
	Key K
	// Alone: the caller loads it, if others do or not, and shares it with nobody.
	Alone bool
}

// Result is what a caller gets of one thing. It is as for Do.
type Result[V any] struct {
	Value   V
	Started bool
	Err     error
}

// Load loads the things at the positions in own. It calls land once for each, in any order: those
// who wait for that thing go on at once.
type Load[V any] func(ctx context.Context, own []int, land func(at int, value V, err error))

// one returns a Load of a single thing.
func one[V any](load func(context.Context) (V, error)) Load[V] {
	return func(ctx context.Context, _ []int, land func(int, V, error)) {
		value, err := load(ctx)
		land(0, value, err)
	}
}

// DoMany is Do for many things at once, with one call of load for all that nobody loads yet. It
// waits for the loads of others only after its own is over. So callers that want the same things in
// another order do not wait for each other.
func (g *Group[K, V]) DoMany(ctx context.Context, all []Wanted[K], load Load[V]) []Result[V] {
	return g.rideAll(ctx, g.boardAll(ctx, all, load))
}

// seat is a caller's place in a flight. nil stands for a flight that waits for the caller.
type seat[K comparable, V any] struct {
	key     K
	flight  *flight[V]
	started bool
}

// boardAll joins the flights that are under way, and starts the others with one load.
func (g *Group[K, V]) boardAll(
	ctx context.Context, all []Wanted[K], load Load[V],
) []seat[K, V] {
	g.mu.Lock()
	defer g.mu.Unlock()
	seats := make([]seat[K, V], len(all))
	l, own := newLoad(ctx), 0
	for i, wanted := range all {
		f, underway := g.flights[wanted.Key]
		if underway && !wanted.Alone {
			seats[i] = seat[K, V]{key: wanted.Key, flight: f.join(ctx)}
			continue
		}
		f = g.add(ctx, l) // it waits for nobody, so there is no cycle
		if !wanted.Alone {
			g.enter(wanted.Key, f)
		}
		seats[i] = seat[K, V]{key: wanted.Key, flight: f, started: true}
		own++
	}
	g.depart(l, seats, own, load)
	return seats
}

// depart begins the load of the flights that a caller started. It requires g.mu.
func (g *Group[K, V]) depart(l *load, seats []seat[K, V], own int, load Load[V]) {
	if own == 0 {
		l.cancel()
		return
	}
	started := make([]int, 0, own)
	for i, s := range seats {
		if s.started {
			started = append(started, i)
		}
	}
	go g.fly(l, seats, started, load)
}

// fly runs the loader, however it ends.
func (g *Group[K, V]) fly(l *load, seats []seat[K, V], own []int, load Load[V]) {
	exited := true // until load is seen to return or to panic
	var panicked *Panic
	defer func() {
		if exited {
			if value := recover(); value != nil {
				panicked = NewPanic(value)
			}
		}
		g.landRest(seats, own, panicked)
	}()
	load(l.node.within(l.ctx), own, func(at int, value V, err error) {
		f := seats[at].flight
		f.value, f.err = value, err
		g.land(seats[at].key, f)
	})
	exited = false
}

// landRest ends the flights that the loader did not land. It reports a panic once, if nobody is
// left to panic in.
func (g *Group[K, V]) landRest(seats []seat[K, V], own []int, panicked *Panic) {
	reported := panicked == nil || g.OnOrphanPanic == nil
	for _, at := range own {
		f := seats[at].flight
		if f.landed { // only this goroutine lands it
			continue
		}
		f.panicked, f.exited = panicked, panicked == nil
		g.land(seats[at].key, f)
		if f.orphaned && !reported {
			reported = true
			g.OnOrphanPanic(seats[at].key, panicked)
		}
	}
}

// rideAll waits for the caller's own load, and then for those of others.
func (g *Group[K, V]) rideAll(ctx context.Context, seats []seat[K, V]) []Result[V] {
	results := make([]Result[V], len(seats))
	var end ending
	for i, s := range seats {
		if s.started {
			results[i] = g.ride(ctx, s, time.Time{}, &end)
		}
	}
	overdue := time.Now().Add(g.MaxWait)
	for i, s := range seats {
		if !s.started {
			results[i] = g.ride(ctx, s, overdue, &end)
		}
	}
	switch {
	case end.panicked != nil:
		panic(end.panicked)
	case end.exited:
		runtime.Goexit()
	}
	return results
}

// ending is how the caller's own load ended, unless it returned.
type ending struct {
	panicked *Panic
	exited   bool
}

// ride returns the result of a flight. The caller waits for that of another until it is overdue.
func (g *Group[K, V]) ride(
	ctx context.Context, s seat[K, V], overdue time.Time, end *ending,
) (r Result[V]) {
	f := s.flight
	r.Started = s.started
	if f == nil {
		return Result[V]{Err: ErrCycle}
	}
	defer waiterOf(ctx).stop(f.load.node)
	if r.Err = g.wait(ctx, s, overdue); r.Err != nil {
		return r
	}
	switch {
	case !s.started:
		r.Value, r.Err = f.shared()
	case f.panicked != nil:
		end.panicked = f.panicked
	case f.exited:
		end.exited = true
	default:
		r.Value, r.Err = f.value, f.err
	}
	return r
}

// wait returns nil once the load is over, or why the caller gave up.
func (g *Group[K, V]) wait(ctx context.Context, s seat[K, V], overdue time.Time) error {
	var late <-chan time.Time
	if !s.started && g.MaxWait > 0 {
		timer := time.NewTimer(time.Until(overdue))
		defer timer.Stop()
		late = timer.C
	}
	f := s.flight
	var reason error
	select {
	case <-f.done:
		return nil
	case <-ctx.Done():
		reason = g.leave(s.key, f, func() error {
			f.orphaned = f.orphaned || s.started
			return ctx.Err()
		})
	case <-late:
		reason = g.leave(s.key, f, func() error { return g.declareOverdue(s.key, f) })
	}
	if reason == nil {
		<-f.done // it is about to be closed
	}
	return reason
}
