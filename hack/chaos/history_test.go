// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cachewright/cachewright/cache"
)

// history is what is known of invalidations. Its clock only counts; a value is the tick at which its load
// began, so a value is too old for a read if it is less than the tick at which an invalidation began that
// counts for the read. An invalidation counts for the reads that it covers:
//
//  1. hard, for all reads that begin after it has completed;
//  2. but for reads through a near cache, if another client made it, only grace after it has completed: that is how
//     long a connection may be silent, and a process not know, before nothing of its near cache is served. (Nearly
//     always it knows within milliseconds. The test says how late the latest was.)
//  3. also one that is queued, for Redis cannot be reached, for the reads through the client that made it;
//  4. soft, for reads that begin after it has completed and return the value as fresh.
//
// One that failed may have taken effect or not, so it counts for nothing.
type history struct {
	clock atomic.Int64
	marks sync.Map // of cover
}

// grace is how late an invalidation by another process may be obeyed by a near cache, and no more: rule 2.
const grace = time.Second

// nobody is a reader or an invalidator without a client of its own: the operator, say.
const nobody = -1

// scope is what an invalidation covers; what is empty is all.
type scope struct{ operation, user, id string }

// cover is the scope of invalidations, their mode, and by whom they were; everybody's are kept together, too.
type cover struct {
	scope
	soft bool
	by   int
}

const everybody = -2

func (h *history) tick() int64 { return h.clock.Add(1) }

// completed takes note of an invalidation that began at a tick and is over.
func (h *history) completed(s scope, soft bool, by int, began int64) {
	now := time.Now()
	h.marksOf(cover{s, soft, everybody}).add(began, now)
	h.obeyedBy(s, soft, by, began)
}

// obeyedBy takes note of one that is over for one client.
func (h *history) obeyedBy(s scope, soft bool, by int, began int64) {
	h.marksOf(cover{s, soft, by}).add(began, time.Time{})
}

func (h *history) marksOf(c cover) *marks {
	if found, ok := h.marks.Load(c); ok {
		return found.(*marks)
	}
	found, _ := h.marks.LoadOrStore(c, &marks{})
	return found.(*marks)
}

// marks are the invalidations of one cover.
type marks struct {
	latest atomic.Int64 // when the latest began that is over

	mu     sync.Mutex
	old    int64  // when the latest began that was over grace ago
	recent []mark // the others
}

type mark struct {
	began int64
	over  time.Time
}

func (m *marks) add(began int64, over time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.latest.Store(max(m.latest.Load(), began))
	if over.IsZero() {
		m.old = max(m.old, began)
		return
	}
	m.settle(over)
	m.recent = append(m.recent, mark{began, over})
}

// settle requires m.mu.
func (m *marks) settle(now time.Time) {
	for len(m.recent) > 0 && now.Sub(m.recent[0].over) > grace {
		m.old = max(m.old, m.recent[0].began)
		m.recent = m.recent[1:]
	}
}

func (m *marks) overGraceAgo(now time.Time) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.settle(now)
	return m.old
}

// lateness is how long ago the first invalidation was over for which a value is too old; 0 if for none that is
// recent.
func (m *marks) lateness(value int64, now time.Time) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.IndexFunc(m.recent, func(recent mark) bool { return recent.began > value && recent.over.Before(now) })
	if i < 0 {
		return 0
	}
	return now.Sub(m.recent[i].over)
}

// covers are those of the invalidations that a read of a key must obey.
func covers(key cache.Key, soft bool, by int) []cover {
	id := key.Params.(string)
	scopes := []scope{{}, {operation: key.Operation}, {operation: key.Operation, user: key.User, id: id}}
	if key.User != "" {
		scopes = append(scopes, scope{user: key.User}, scope{operation: key.Operation, user: key.User})
	}
	all := make([]cover, len(scopes))
	for i, s := range scopes {
		all[i] = cover{s, soft, by}
	}
	return all
}

// floor is how old a load may be, at the least, for a read that begins now: rule 1.
func (h *history) floor(key cache.Key, soft bool, by int) (latest int64) {
	for _, c := range covers(key, soft, by) {
		if found, ok := h.marks.Load(c); ok {
			latest = max(latest, found.(*marks).latest.Load())
		}
	}
	return latest
}

// nearFloor is that for a read through the near cache of a client: rules 2 and 3.
func (h *history) nearFloor(key cache.Key, by int, now time.Time) int64 {
	latest := h.floor(key, false, by)
	for _, c := range covers(key, false, everybody) {
		if found, ok := h.marks.Load(c); ok {
			latest = max(latest, found.(*marks).overGraceAgo(now))
		}
	}
	return latest
}

func (h *history) lateness(key cache.Key, value int64, now time.Time) (longest time.Duration) {
	for _, c := range covers(key, false, everybody) {
		if found, ok := h.marks.Load(c); ok {
			longest = max(longest, found.(*marks).lateness(value, now))
		}
	}
	return longest
}
