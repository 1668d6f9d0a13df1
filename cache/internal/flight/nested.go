// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package flight

import (
	"context"
	"sync"
)

// mostNested is how often the same thing may be loaded within itself. Twice is one load by the loader that asks for its
// own entry: it may do so by another loader, one layer below. More of them are a recursion without an end.
const mostNested = 2

// span is a load under way, as the context of its loader knows it.
type span struct {
	parent *span
	id     any   // what is loaded; nil for that of a flight
	waiter *node // the innermost flight that the load is part of; nil: of none
}

type spanKey struct{}

func spanOf(ctx context.Context) *span {
	s, _ := ctx.Value(spanKey{}).(*span)
	return s
}

// waiterOf returns the flight whose loader a caller is part of, or nil.
func waiterOf(ctx context.Context) *node {
	if s := spanOf(ctx); s != nil {
		return s.waiter
	}
	return nil
}

// Nested returns the context for a loader of the thing that id names, which must be comparable. It returns false if the
// loads that this one is part of, as far as contexts were handed on, load the same thing too often already.
func Nested(ctx context.Context, id any) (context.Context, bool) {
	parent, times := spanOf(ctx), 0
	for s := parent; s != nil; s = s.parent {
		if s.id == id {
			times++
		}
	}
	if times >= mostNested {
		return ctx, false
	}
	return context.WithValue(ctx, spanKey{}, &span{parent: parent, id: id, waiter: waiterOf(ctx)}), true
}

// Detached returns a context of which no load that is under way is part: nobody waits for what is done with it.
func Detached(ctx context.Context) context.Context {
	if spanOf(ctx) == nil {
		return ctx
	}
	return context.WithValue(ctx, spanKey{}, (*span)(nil))
}

// node is a flight in the graph of who waits for whom. A nil node is a caller that nobody waits for.
type node struct {
	waitsFor map[*node]int // guarded by waits: how many callers within its load wait for another
}

// waits guards the nodes of all Groups: loads of one may wait for those of another.
var waits sync.Mutex

// within returns the context for the loader of a flight.
func (n *node) within(ctx context.Context) context.Context {
	return context.WithValue(ctx, spanKey{}, &span{parent: spanOf(ctx), waiter: n})
}

// wait takes note that a flight waits for another, and returns false if the other waits for it already: then neither
// would end.
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

// stop ends what wait began.
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

// leadsTo requires waits.
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
