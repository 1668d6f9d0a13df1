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

// history records invalidations. Its clock only counts. A value is the tick at which its load
// began. A value is too old for a read if an invalidation that counts for the read began after that
// tick.
//
// An invalidation counts for the reads that it covers, under these rules:
//
//  1. A hard one counts for all reads that begin after it has completed.
//  2. For reads through the near cache of another client, it counts only after grace. A process may
//     not notice a silent connection for that long. Then it stops serving from its near cache.
//     (Usually it learns of an invalidation within milliseconds. The test logs the latest.)
//  3. A queued one, made while Redis cannot be reached, counts for reads through the same client.
//  4. A soft one counts for reads that begin after it has completed and return the value as fresh.
//
// A failed one may or may not have taken effect, so it does not count.
type history struct {
	clock atomic.Int64
	marks sync.Map // by cover
}

// grace is how late a near cache may learn of another process' invalidation: rule 2.
const grace = time.Second

// nobody stands for whatever reads or invalidates without a client, such as the operator.
const nobody = -1

// scope is what an invalidation covers. An empty field means all.
type scope struct{ operation, user, id string }

// cover identifies invalidations by their scope, their mode and their client. The marks of
// everybody include those of all clients.
type cover struct {
	scope
	soft bool
	by   int
}

const everybody = -2

func (h *history) tick() int64 { return h.clock.Add(1) }

// completed records an invalidation that began at a tick and has completed.
func (h *history) completed(s scope, soft bool, by int, began int64) {
	now := time.Now()
	h.marksOf(cover{s, soft, everybody}).add(began, now)
	h.obeyedBy(s, soft, by, began)
}

// obeyedBy records an invalidation that only counts for one client so far.
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
	latest atomic.Int64 // when the latest completed one began

	mu     sync.Mutex
	old    int64  // when the latest one began that completed more than grace ago
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

// settle moves marks that are older than grace to old. The caller holds m.mu.
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

// lateness returns how long ago the first invalidation completed for which a value is too old. It
// only knows recent ones, and returns 0 if there is none.
func (m *marks) lateness(value int64, now time.Time) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.IndexFunc(m.recent, func(recent mark) bool { return recent.began > value && recent.over.Before(now) })
	if i < 0 {
		return 0
	}
	return now.Sub(m.recent[i].over)
}

// covers returns the covers of all invalidations that a read of a key must obey.
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

// floor returns the smallest tick that a read may return if it begins now: rule 1.
func (h *history) floor(key cache.Key, soft bool, by int) (latest int64) {
	for _, c := range covers(key, soft, by) {
		if found, ok := h.marks.Load(c); ok {
			latest = max(latest, found.(*marks).latest.Load())
		}
	}
	return latest
}

// nearFloor returns the same for a read through the near cache of a client: rules 2 and 3.
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
