// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package flight

import (
	"context"
	"sync"
)

// maxNested is how often the same thing may be loaded within itself. Twice is one load by a loader
// that fetches its own entry with another loader, one layer below. More than that is an endless
// recursion.
const maxNested = 2

// span is a load under way, as the context of its loader knows it.
type span struct {
	parent *span
	// What is loaded: one thing, or several, or a flight, which is none.
	id  any
	ids map[any]struct{}

	waiter *node // the innermost flight that the load is part of; nil: none
}

type spanKey struct{}

func spanOf(ctx context.Context) *span {
	s, _ := ctx.Value(spanKey{}).(*span)
	return s
}

// waiterOf returns the flight whose loader the caller is part of, or nil.
func waiterOf(ctx context.Context) *node {
	if s := spanOf(ctx); s != nil {
		return s.waiter
	}
	return nil
}

// Nested returns the context for a loader of the thing that id names. id must be comparable. It
// returns false if the loads that this one is part of already load the same thing too often. It
// knows them from the contexts that loaders pass on.
func Nested(ctx context.Context, id any) (context.Context, bool) {
	parent := spanOf(ctx)
	if parent.times(id) >= maxNested {
		return ctx, false
	}
	return context.WithValue(ctx, spanKey{},
		&span{parent: parent, id: id, waiter: waiterOf(ctx)}), true
}

// NestedMany is Nested for a loader of several things. It also returns which of them it may load.
func NestedMany(ctx context.Context, ids []any) (nested context.Context, allowed []bool) {
	if allowed = make([]bool, len(ids)); len(ids) == 1 {
		nested, allowed[0] = Nested(ctx, ids[0])
		return nested, allowed
	}
	parent := spanOf(ctx)
	within := &span{parent: parent, ids: make(map[any]struct{}, len(ids)), waiter: waiterOf(ctx)}
	for i, id := range ids {
		if allowed[i] = parent.times(id) < maxNested; allowed[i] {
			within.ids[id] = struct{}{}
		}
	}
	return context.WithValue(ctx, spanKey{}, within), allowed
}

// times returns how many of the loads, this one and those that it is part of, load a thing.
func (s *span) times(id any) (times int) {
	for ; s != nil; s = s.parent {
		if _, among := s.ids[id]; among || s.id == id {
			times++
		}
	}
	return times
}

// Detached returns a context that belongs to no load, for work that nobody waits for.
func Detached(ctx context.Context) context.Context {
	if spanOf(ctx) == nil {
		return ctx
	}
	return context.WithValue(ctx, spanKey{}, (*span)(nil))
}

// node is a flight in the graph of flights that wait for others. A nil node is a caller that nobody
// waits for.
type node struct {
	waitsFor map[*node]int // guarded by waits: how many callers within its load wait for each flight
}

// waits guards the nodes of all Groups: loads of one may wait for those of another.
var waits sync.Mutex

// within returns the context for the loader of a flight.
func (n *node) within(ctx context.Context) context.Context {
	return context.WithValue(ctx, spanKey{}, &span{parent: spanOf(ctx), waiter: n})
}

// wait records that a flight waits for another one. It returns false if the other one waits for it
// already: then neither would end.
func (n *node) wait(other *node) bool {
	if n == nil {
		return true
	}
	waits.Lock()
	defer waits.Unlock()
	if other.leadsTo(n, map[*node]bool{}) {
		return false
	}
	if n.waitsFor == nil {
		n.waitsFor = make(map[*node]int)
	}
	n.waitsFor[other]++
	return true
}

// stop ends one wait.
func (n *node) stop(other *node) {
	if n == nil {
		return
	}
	waits.Lock()
	defer waits.Unlock()
	n.waitsFor[other]--
	if n.waitsFor[other] == 0 {
		delete(n.waitsFor, other)
	}
}

// leadsTo reports whether a flight waits for the target, directly or not. It requires waits.
func (n *node) leadsTo(target *node, seen map[*node]bool) bool {
	if n == target {
		return true
	}
	if seen[n] {
		return false
	}
	seen[n] = true
	for next := range n.waitsFor {
		if next.leadsTo(target, seen) {
			return true
		}
	}
	return false
}
