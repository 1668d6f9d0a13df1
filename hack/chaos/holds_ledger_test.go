// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cachewright/cachewright/cache"
)

// ledger knows the source's data, its commits, and the holds around them. It judges reads by these
// rules, on the clock of history:
//
//  1. A hold stands from the answer to Hold until Release begins or its time is over, unless
//     something took its mark away meanwhile. While it stands, nothing that it covers is served
//     from the cache, and nothing that was loaded meanwhile is ever served from it.
//  2. A read that begins after a commit returns what was committed, if the hold stood.
//  3. If the mark was taken away, the same counts for reads that begin after Release.
//  4. If the mark was taken away and its holder died, nothing is promised.
//
// Near caches of other clients have grace after the answer to Hold.
type ledger struct {
	// losses counts what takes marks away. It is odd while that goes on.
	losses atomic.Int64
	rows   sync.Map // by cache.Key: *row
	spans  sync.Map // by scope: *spans
}

// loses runs something that takes marks away.
func (l *ledger) loses(do func()) {
	l.losses.Add(1)
	defer l.losses.Add(1)
	do()
}

// row is one row of the source. Its version is the tick of its latest commit.
type row struct {
	version atomic.Int64

	mu      sync.Mutex
	commits []commit
}

// commit is a change of a row under a hold.
type commit struct {
	version int64
	under   *hold
}

// maxCommits is the number of commits that a row remembers.
const maxCommits = 100

// hold is one hold, as its holder sees it.
type hold struct {
	by     int       // the client that holds, or nobody
	losses int64     // those before it began
	since  int64     // the tick after the answer
	at     time.Time // the time of the answer
	// deadline is when its time is over, in Unix nanoseconds. Redis ends it no earlier.
	deadline atomic.Int64
	// until is the tick before Release begins; math.MaxInt64: not yet, or never.
	until atomic.Int64
	// lossesAtEnd are those before Release, or when its time was over; -1: not yet.
	lossesAtEnd atomic.Int64
	// released is the tick after Release; math.MaxInt64: not yet, or never.
	released   atomic.Int64
	releasedAt atomic.Pointer[time.Time]
}

// stood says whether nothing has taken the mark away while the hold lasted.
func (h *hold) stood(l *ledger) bool {
	end := h.lossesAtEnd.Load()
	if end < 0 {
		end = l.losses.Load()
	}
	return h.losses%2 == 0 && end == h.losses
}

// expire notes that the time of the hold is over.
func (h *hold) expire(l *ledger) { h.lossesAtEnd.CompareAndSwap(-1, l.losses.Load()) }

// beginRelease notes that Release begins now.
func (h *hold) beginRelease(l *ledger, tick int64) {
	h.expire(l)
	h.until.Store(tick)
}

// void notes that the commit took effect too late for the hold.
func (h *hold) void() { h.lossesAtEnd.Store(h.losses + 1) }

// lasts says whether the time of the hold is not over at an instant.
func (h *hold) lasts(at int64) bool { return at < h.deadline.Load() }

// release notes that Release has returned.
func (h *hold) release(tick int64) {
	h.releasedAt.Store(new(time.Now()))
	h.released.Store(tick)
}

// isYoung says whether a near cache may not know yet of the hold, or of its release if its mark was
// taken away.
func (h *hold) isYoung(l *ledger, r *reading) bool {
	if !r.near || h.by == r.by {
		return false
	}
	known := h.at
	if released := h.releasedAt.Load(); released != nil && !h.stood(l) {
		known = *released
	}
	return r.at.Sub(known) < grace
}

// spans are the recent holds of one scope.
type spans struct {
	mu     sync.Mutex
	recent []*hold
}

// maxSpans is the number of holds that a scope remembers.
const maxSpans = 128

func (s *spans) add(h *hold) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.recent) == maxSpans {
		s.recent = s.recent[1:]
	}
	s.recent = append(s.recent, h)
}

func (s *spans) each(do func(*hold)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.recent {
		do(h)
	}
}

func (l *ledger) row(key cache.Key) *row {
	if found, ok := l.rows.Load(key); ok {
		return found.(*row)
	}
	found, _ := l.rows.LoadOrStore(key, &row{})
	return found.(*row)
}

// begin notes a hold of a scope that is in force.
func (l *ledger) begin(s scope, h *hold) *hold {
	h.at = time.Now()
	h.until.Store(math.MaxInt64)
	h.lossesAtEnd.Store(-1)
	h.released.Store(math.MaxInt64)
	found, _ := l.spans.LoadOrStore(held(s), &spans{})
	found.(*spans).add(h)
	return h
}

// held returns what a hold of a scope covers: the operation of a user marks the user.
func held(s scope) scope {
	if s.id == "" && s.user != "" {
		s.operation = ""
	}
	return s
}

// commit changes a row under a hold.
func (l *ledger) commit(key cache.Key, h *hold, clock *history) {
	r := l.row(key)
	r.mu.Lock()
	defer r.mu.Unlock()
	version := clock.tick()
	r.version.Store(version)
	if len(r.commits) == maxCommits {
		r.commits = r.commits[1:]
	}
	r.commits = append(r.commits, commit{version, h})
}

// reading is one read of a key through the cache.
type reading struct {
	key        cache.Key
	began, end int64     // ticks
	at         time.Time // when it began
	endAt      int64     // when it ended, in Unix nanoseconds
	by         int       // the client
	near       bool      // whether the client has a near cache
	value      value
}

// value is what is cached: the tick at which its load began, the Unix nanoseconds after that, and
// the version that the load found.
type value struct{ Loaded, At, Version int64 }

// finding is what is wrong with a read. Those from tooOld on are violations.
type finding int

const (
	fine finding = iota
	// orphaned: older than a commit whose mark was taken away and whose holder died. Rule 4.
	orphaned
	// exposed: older than a commit whose mark was taken away, and before its release.
	exposed
	// late: a violation, but within the grace of near caches.
	late
	// tooOld: older than a commit before the read. Rules 2 and 3.
	tooOld
	// served from the cache while a hold stood. Rule 1.
	served
	// stored: loaded while a hold stood, and served from the cache. Rule 1.
	stored
	findings // their number
)

// judge says what is wrong with a read.
func (l *ledger) judge(r *reading) finding {
	if found := l.judgeHolds(r); found != fine {
		return found
	}
	return l.judgeCommits(r)
}

// judgeHolds checks rule 1.
func (l *ledger) judgeHolds(r *reading) finding {
	if r.value.Loaded > r.began {
		return fine // loaded for this read
	}
	worst := fine
	for _, c := range covers(r.key, false, nobody) {
		if found, ok := l.spans.Load(c.scope); ok {
			found.(*spans).each(func(h *hold) { worst = max(worst, l.judgeHold(r, h)) })
		}
	}
	return worst
}

func (l *ledger) judgeHold(r *reading, h *hold) finding {
	until := h.until.Load()
	switch {
	case r.value.Loaded >= until || r.end <= h.since || !h.stood(l):
		return fine
	case h.since < r.value.Loaded && h.lasts(r.value.At):
		return stored
	case h.since >= r.began || r.end >= until || !h.lasts(r.endAt):
		return fine
	case h.isYoung(l, r):
		return late
	}
	return served
}

// judgeCommits checks rules 2 to 4.
func (l *ledger) judgeCommits(r *reading) (worst finding) {
	source := l.row(r.key)
	if r.value.Version >= source.version.Load() {
		return fine
	}
	source.mu.Lock()
	defer source.mu.Unlock()
	for _, c := range source.commits {
		if r.value.Version >= c.version || r.began <= c.version {
			continue
		}
		switch released := c.under.released.Load(); {
		case c.under.stood(l) || released < r.began:
			worst = max(worst, tooOldUnless(c.under.isYoung(l, r)))
		case released == math.MaxInt64 && c.under.lossesAtEnd.Load() >= 0:
			worst = max(worst, orphaned)
		default:
			worst = max(worst, exposed)
		}
	}
	return worst
}

func tooOldUnless(young bool) finding {
	if young {
		return late
	}
	return tooOld
}
