// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cachewright/cachewright/controllers/internal/resource"
)

// limits bound how many reconciles of one controller run at a time. A worker that waits for one
// store serves no other store, and one that works for one namespace serves no other namespace.
type limits struct {
	// workers is the total.
	workers int
	// shared is the number on the operator's own store, declared on each CacheStore, and namespace of
	// each namespace.
	shared, declared, namespace int
	// slow is the total on stores that answer slowly, slowStore on each of them, and slowNamespace of
	// each namespace.
	slow, slowStore, slowNamespace int
}

// fairLimits leave workers for others: beside the operator's own store, beside each namespace,
// beside each of its stores, and beside all slow stores together.
var fairLimits = limits{
	workers: 24, shared: 12, declared: 6, namespace: 8, slow: 8, slowStore: 2, slowNamespace: 4,
}

// rank orders kinds of reconciles: the lower rank has its turn first.
type rank int

const (
	// rankUser is for what people changed.
	rankUser rank = iota
	// rankBackground is for what the operator found.
	rankBackground
	ranks
)

func rankOf(priority int) rank {
	if priority < 0 {
		return rankBackground
	}
	return rankUser
}

// ResumePriority is the priority of what has more to do than fits into one turn. It continues
// before others of its namespace begin, so that few are half done at a time.
const ResumePriority = 10

// backgroundTurn: one of so many turns goes to the background first. A stream of changes must not
// keep what Redis lost from being repaired.
const backgroundTurn = 8

// turns decides which of the reconciles that are due is next. Stores take turns, and so do
// namespaces in each store. So nobody waits for all that another has waiting. It holds each request
// once. It is not safe for concurrent use.
type turns struct {
	limits limits
	// isSlow reports whether a store answers slowly.
	isSlow func(resource.StoreID) bool

	lanes   map[resource.StoreID]*lane
	order   [ranks][]*lane // lanes with something waiting, the next one first
	waiting map[reconcile.Request]*ticket
	running map[reconcile.Request]*ticket
	given   int // turns, so far

	slow          int
	byNamespace   map[string]int
	slowNamespace map[string]int
}

func newTurns(l limits, isSlow func(resource.StoreID) bool) *turns {
	return &turns{
		limits: l, isSlow: isSlow, lanes: map[resource.StoreID]*lane{},
		waiting: map[reconcile.Request]*ticket{},
		running: map[reconcile.Request]*ticket{}, byNamespace: map[string]int{},
		slowNamespace: map[string]int{},
	}
}

// join makes a request wait for its turn in a store.
func (t *turns) join(request reconcile.Request, store resource.StoreID, priority int) {
	if t.hasten(request, priority) {
		return
	}
	l := t.lanes[store]
	if l == nil {
		l = &lane{store: store, rows: map[string]*row{}}
		t.lanes[store] = l
	}
	t.enqueue(&ticket{request: request, priority: priority, lane: l})
}

// hasten reports whether a request waits, and raises its rank to that of a priority.
func (t *turns) hasten(request reconcile.Request, priority int) (waits bool) {
	waiting := t.waiting[request]
	if waiting == nil {
		return false
	}
	if rankOf(priority) < rankOf(waiting.priority) {
		waiting.void = true
		t.enqueue(&ticket{request: request, priority: priority, lane: waiting.lane})
	}
	return true
}

func (t *turns) enqueue(next *ticket) {
	t.waiting[next.request] = next
	l, namespace, r := next.lane, next.request.Namespace, rankOf(next.priority)
	n := l.rows[namespace]
	if n == nil {
		n = &row{namespace: namespace}
		l.rows[namespace] = n
	}
	if len(l.order[r]) == 0 {
		t.order[r] = append(t.order[r], l)
	}
	if len(n.tickets[r]) == 0 {
		l.order[r] = append(l.order[r], n)
	}
	if next.priority >= ResumePriority {
		n.tickets[r] = slices.Insert(n.tickets[r], 0, next)
	} else {
		n.tickets[r] = append(n.tickets[r], next)
	}
}

// next returns the next request; ok is false if none that waits may have a turn now.
func (t *turns) next() (request reconcile.Request, priority int, ok bool) {
	if len(t.running) >= t.limits.workers {
		return reconcile.Request{}, 0, false
	}
	first, second := rankUser, rankBackground
	if t.given%backgroundTurn == backgroundTurn-1 {
		first, second = second, first
	}
	given := t.nextOf(first)
	if given == nil {
		given = t.nextOf(second)
	}
	if given == nil {
		return reconcile.Request{}, 0, false
	}
	t.given++
	return given.request, given.priority, true
}

// nextOf gives a turn to the first lane and row that may have one. Both then wait behind all
// others.
func (t *turns) nextOf(r rank) *ticket {
	for i := 0; i < len(t.order[r]); i++ {
		l := t.order[r][i]
		slow := t.isSlow(l.store)
		if !t.hasRoom(l, slow) {
			continue
		}
		given := t.nextIn(l, r, slow)
		switch {
		case len(l.order[r]) == 0:
			t.order[r] = slices.Delete(t.order[r], i, i+1)
			i--
		case given != nil:
			t.order[r] = append(slices.Delete(t.order[r], i, i+1), l)
		}
		if given != nil {
			t.begin(given, slow)
			return given
		}
		t.dropIfIdle(l)
	}
	return nil
}

func (t *turns) hasRoom(l *lane, slow bool) bool {
	switch {
	case l.store == resource.DefaultStore:
		return l.running < t.limits.shared
	case slow:
		return t.slow < t.limits.slow && l.running < t.limits.slowStore
	default:
		return l.running < t.limits.declared
	}
}

func (t *turns) mayRun(namespace string, slow bool) bool {
	return t.byNamespace[namespace] < t.limits.namespace &&
		(!slow || t.slowNamespace[namespace] < t.limits.slowNamespace)
}

func (t *turns) nextIn(l *lane, r rank, slow bool) *ticket {
	for i := 0; i < len(l.order[r]); i++ {
		n := l.order[r][i]
		if !t.mayRun(n.namespace, slow) {
			continue
		}
		given := n.take(r)
		if len(n.tickets[r]) == 0 {
			l.order[r] = slices.Delete(l.order[r], i, i+1)
			l.clear(n)
			i--
		} else if given != nil {
			l.order[r] = append(slices.Delete(l.order[r], i, i+1), n)
		}
		if given != nil {
			return given
		}
	}
	return nil
}

func (t *turns) begin(given *ticket, slow bool) {
	delete(t.waiting, given.request)
	t.running[given.request] = given
	given.slow = slow
	given.lane.running++
	t.byNamespace[given.request.Namespace]++
	if slow {
		t.slow++
		t.slowNamespace[given.request.Namespace]++
	}
}

// leave ends the turn of a request.
func (t *turns) leave(request reconcile.Request) {
	ended := t.running[request]
	if ended == nil {
		return
	}
	delete(t.running, request)
	l, namespace := ended.lane, request.Namespace
	l.running--
	decrease(t.byNamespace, namespace)
	if ended.slow {
		t.slow--
		decrease(t.slowNamespace, namespace)
	}
	t.dropIfIdle(l)
}

func (t *turns) dropIfIdle(l *lane) {
	if l.running == 0 && len(l.rows) == 0 {
		delete(t.lanes, l.store)
	}
}

func decrease(counts map[string]int, key string) {
	counts[key]--
	if counts[key] == 0 {
		delete(counts, key)
	}
}
