// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"maps"
	"slices"
)

// key names an entry of the slot.
type key struct{ op, user, id string }

// Which head a number in a triple belongs to. A shared entry has no user's: 0.
const (
	ofModule = iota
	ofOperation
	ofUser
)

// head is a head that is there. Its epochs are numbers, each drawn once in a sequence; 0 is no soft
// epoch.
type head struct{ hard, soft, fence int }

// covering is what the heads that cover an entry said at one moment: what entries and tokens carry.
type covering struct{ hard, soft [3]int }

// span is a moment that is known up to the time that calls take, in Unix milliseconds.
type span struct{ from, to int64 }

// past and ahead are sure of what they say.
func (s span) past(now span) bool  { return now.from > s.to+slack }
func (s span) ahead(now span) bool { return now.to < s.from-slack }

func (s span) after(ms int64) span { return span{s.from + ms, s.to + ms} }

// slack is by how much clocks may be read differently within a call.
const slack = 15

// maybeBy lets it begin at a moment: what it stands for may come that early.
func (s span) maybeBy(moment int64) span { return span{min(s.from, moment), s.to} }

// by lets it be over at a moment, at the latest.
func (s span) by(moment int64) span { return span{min(s.from, moment), min(s.to, moment)} }

type entry struct {
	covering

	payload    string
	schema     string
	negative   bool
	fresh      span  // until when
	lives      span  // until when
	asked      int64 // the TTL that the fill asked for, in ms; 0: none
	stale      bool  // by an invalidation that no head shows.
	maybeStale bool  // by an invalidation that may have covered it
	undecided  bool  // it may exist or not: the protocol leaves that open.
	uncut      bool  // no policy shortens it.
}

// deletion is what the log of single deletions has to tell: which fence was in place before, and
// what was deleted.
type deletion struct {
	fence int
	of    key
}

type lock struct {
	covering

	fence     int
	until     span
	owner     int // the lease that took it
	undecided bool
}

type request struct {
	op, user, mode string
	reply          [2]int64
}

// state is what a slot holds, by docs/protocol.md.
type state struct {
	module        *head
	operations    map[string]head
	users         map[string]head
	entries       map[key]entry
	locks         map[key]lock
	deletions     map[string][]deletion
	requests      map[string]request
	counters      map[string]map[string]int64
	invalidations int64
	policy        policyState
	marks         map[place]mark

	// cut are the operations whose loads the last policy may have fenced.
	cut map[string]bool
	// undecided says what the protocol leaves open from here on.
	undecided undecided
}

type undecided struct {
	counts      bool // evictions: counts are estimates.
	unlisted    bool // indexes are incomplete: a lowered TTL does not reach all entries.
	unreclaimed bool // much was invalidated, and counts of other scopes are right once it is reclaimed.
	uncounted   bool // the counters were lost.
	module      bool // the module may have been invalidated.
	statistics  bool // counters of the library are not those of the model.
	marks       bool // reclaiming may remove marks of entries
}

func newState() *state {
	return &state{
		operations: map[string]head{}, users: map[string]head{}, entries: map[key]entry{}, locks: map[key]lock{},
		deletions: map[string][]deletion{}, requests: map[string]request{}, counters: map[string]map[string]int64{},
		marks: map[place]mark{},
	}
}

func (s *state) clone() *state {
	other := *s
	if s.module != nil {
		other.module = new(*s.module)
	}
	other.operations, other.users = maps.Clone(s.operations), maps.Clone(s.users)
	other.entries, other.locks, other.requests = maps.Clone(s.entries), maps.Clone(s.locks), maps.Clone(s.requests)
	other.deletions, other.counters = map[string][]deletion{}, map[string]map[string]int64{}
	for op, log := range s.deletions {
		other.deletions[op] = slices.Clone(log)
	}
	for op, counters := range s.counters {
		other.counters[op] = maps.Clone(counters)
	}
	other.marks = map[place]mark{}
	for p, m := range s.marks {
		other.marks[p] = maps.Clone(m)
	}
	return &other
}

// covers returns what covers an entry of this operation and user, and whether all its heads are
// there.
func (s *state) covers(op, user string) (c covering, complete bool) {
	operation, found := s.operations[op]
	if s.module == nil || !found {
		return c, false
	}
	c.hard[ofModule], c.soft[ofModule] = s.module.hard, s.module.soft
	c.hard[ofOperation], c.soft[ofOperation] = operation.hard, operation.soft
	if user == "" {
		return c, true
	}
	of, found := s.users[user]
	c.hard[ofUser], c.soft[ofUser] = of.hard, of.soft
	return c, found
}

// presence says whether an entry is live in a span of time: for sure, or possibly.
func (s *state) presence(k key, now span) (certain, possible bool) {
	e, found := s.entries[k]
	c, complete := s.covers(k.op, k.user)
	if !found || !complete || e.hard != c.hard || e.lives.past(now) {
		return false, false
	}
	return !e.undecided && e.lives.ahead(now), true
}

// staleness says whether an entry that is live is stale: for sure, or possibly.
func (s *state) staleness(k key, now span) (certain, possible bool) {
	e := s.entries[k]
	c, _ := s.covers(k.op, k.user)
	if e.soft != c.soft || e.stale {
		return true, true
	}
	return e.fresh.past(now), e.maybeStale || !e.fresh.ahead(now)
}

// counted counts the live entries that are for sure, and possibly, within a scope.
func (s *state) counted(op, user string, now span) (least, most int64) {
	for k := range s.entries {
		if (op != "" && k.op != op) || (user != "" && k.user != user) {
			continue
		}
		certain, possible := s.presence(k, now)
		if certain {
			least++
		}
		if possible {
			most++
		}
	}
	return least, most
}

func (s *state) count(op, counter string, by int64) {
	if s.counters[op] == nil {
		s.counters[op] = map[string]int64{}
	}
	s.counters[op][counter] += by
}

// operationsKnown are those that the policy lists, and those that are counted.
func (s *state) operationsKnown() []string {
	known := slices.AppendSeq(slices.Collect(maps.Keys(s.counters)), maps.Keys(s.policy.operations))
	slices.Sort(known)
	return slices.Compact(known)
}

// leaveUndecided leaves open which entries are there, and which loads are fenced.
func (s *state) leaveUndecided() {
	for k, e := range s.entries {
		e.undecided = true
		s.entries[k] = e
	}
	for k, l := range s.locks {
		l.undecided = true
		s.locks[k] = l
	}
	for _, op := range operations {
		s.cut[op] = true
	}
	s.undecided.module = true
}
