// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"maps"
	"slices"
)

// What invalidations and policies do to a slot. drawn is the last number that was taken for an
// epoch of the sequence: none is taken again, whatever is restored.
type epochs struct{ drawn int }

func (e *epochs) draw() int {
	e.drawn++
	return e.drawn
}

// lease makes the heads that are missing, and returns what covers the entries now.
func (s *state) lease(op, user string, e *epochs) (covering, int) {
	if s.module == nil {
		s.module = &head{hard: e.draw()}
		s.undecided.module = false
	}
	if _, found := s.operations[op]; !found {
		s.operations[op] = head{hard: e.draw(), fence: e.draw()}
	}
	if _, found := s.users[user]; !found && user != "" {
		s.users[user] = head{hard: e.draw()}
	}
	c, _ := s.covers(op, user)
	return c, s.operations[op].fence
}

func (s *state) invalidate(op, user, mode string, e *epochs) {
	s.undecided.unreclaimed = s.undecided.unreclaimed || mode == "hard" && len(s.entries) > fewEntries
	switch {
	case mode == "dry":
	case op != "" && user != "":
		s.invalidateUserOperation(op, user, mode, e)
	case mode == "hard" && op != "":
		delete(s.operations, op)
	case mode == "hard" && user != "":
		delete(s.users, user)
	case mode == "hard":
		s.module = nil
	case op != "":
		soften(s.operations, op, e)
	case user != "":
		soften(s.users, user, e)
	case s.module != nil:
		s.module.soft = e.draw()
	}
}

func soften(heads map[string]head, name string, e *epochs) {
	if h, found := heads[name]; found {
		h.soft = e.draw()
		heads[name] = h
	}
}

// invalidateUserOperation renews the user's epoch, which fences all loads of the user; entries of
// other operations stay.
func (s *state) invalidateUserOperation(op, user, mode string, e *epochs) {
	of, found := s.users[user]
	if !found {
		return
	}
	renewed := e.draw()
	many := s.ofUser(user) > fewEntries
	for k, was := range s.entries {
		covers, _ := s.covers(k.op, user)
		if k.user != user || was.hard != covers.hard {
			continue
		}
		if k.op == op && mode == "hard" {
			delete(s.entries, k)
			continue
		}
		was.hard[ofUser] = renewed
		was.stale = was.stale || k.op == op
		was.maybeStale = was.maybeStale || many && mode == "soft"
		was.undecided = was.undecided || s.undecided.unlisted || many
		s.entries[k] = was
	}
	of.hard = renewed
	s.users[user] = of
}

// fewEntries of a user are gone through when one operation is invalidated; of more the others may
// go with it.
const fewEntries = 60

func (s *state) ofUser(user string) (entries int) {
	for k := range s.entries {
		if k.user == user {
			entries++
		}
	}
	return entries
}

// remove is cw_delete.
func (s *state) remove(k key, e *epochs) {
	delete(s.entries, k)
	if op, found := s.operations[k.op]; found {
		s.deletions[k.op] = append(s.deletions[k.op], deletion{op.fence, k})
		op.fence = e.draw()
		s.operations[k.op] = op
	}
}

// deletedSince says of loads that saw a fence whether an entry was deleted since: for sure, or
// possibly.
func (s *state) deletedSince(k key, fence int) (certain, possible bool) {
	if fence == s.operations[k.op].fence {
		return false, false
	}
	log := s.deletions[k.op]
	from := slices.IndexFunc(log, func(d deletion) bool { return d.fence == fence })
	if from < 0 || len(log)-from > rememberedDeletions {
		return false, true
	}
	deleted := slices.ContainsFunc(log[from:], func(d deletion) bool { return d.of == k })
	return deleted, deleted
}

// rememberedDeletions are certainly distinguished; beyond them, loads may be fenced needlessly.
const rememberedDeletions = 60

// apply is cw_policy_apply. It returns the reply: whether it changed, and the least and the most
// that it purged.
func (s *state) apply(p policy, now span, e *epochs) (changed, least, most int64) {
	if s.policy.there && s.policy.text == p.document() {
		return 0, 0, 0
	}
	old := s.policy
	s.cut = map[string]bool{}
	if !old.there {
		old.revision, old.policy = "", policy{}
	}
	if p.Revision != "" && p.Revision != old.revision && s.module != nil {
		least, most = 1, 1
		if s.undecided.module {
			least = 0
		}
		if old.there {
			s.invalidate("", "", "hard", e)
			s.follow("", "", now)
			s.undecided.statistics = true // which operations it counts an invalidation of is not said
		}
	}
	if !old.there && s.module != nil {
		// Nobody knows by which rules entries were stored: they may go.
		least = 0
		s.leaveUndecided()
	}
	if s.undecided.uncounted && p.Default < max(old.policy.Default, 1) {
		s.leaveUndecided()
	}
	for _, op := range s.operationsEver(p) {
		s.obey(op, old, p, now, e)
	}
	for op := range s.counters {
		if _, listed := p.Operations[op]; !listed && p.Default == 0 {
			delete(s.counters, op)
		}
	}
	s.put(p)
	return 1, least, most
}

// operationsEver are all that a policy may concern.
func (s *state) operationsEver(p policy) []string {
	all := map[string]bool{}
	for _, op := range slices.AppendSeq(s.operationsKnown(), maps.Keys(p.Operations)) {
		all[op] = true
	}
	for k := range s.entries {
		all[k.op] = true
	}
	for op := range s.operations {
		all[op] = true
	}
	return slices.Sorted(maps.Keys(all))
}

func (s *state) obey(op string, old policyState, p policy, now span, e *epochs) {
	was, is := old.policy.rule(op), p.rule(op)
	switch {
	case is.TTL == 0, is.UsersOnly && !old.policy.Operations[op].UsersOnly: // it may say so where nothing is cached
		s.invalidate(op, "", "hard", e)
		if s.knows(op, p) {
			s.lags(place{"o", key{op: op}}, max(old.policy.lagAsRule(op), p.lagAsRule(op)), now)
		}
		return
	case is.life() >= was.life() && is.TTL < was.TTL:
		s.invalidate(op, "", "soft", e)
	}
	s.cut[op] = s.cut[op] || is.Negative < was.Negative || is.life() < was.life() || !old.there
	for k, of := range s.entries {
		if k.op != op {
			continue
		}
		switch {
		case of.negative && (is.Negative < was.Negative || !old.there):
			of.lives, of.fresh = of.lives.maybeBy(now.from+is.Negative), of.fresh.maybeBy(now.from)
			of.uncut = !old.there && !negativesAreCut
		case is.life() < was.life() || !old.there:
			of.lives, of.fresh = of.lives.maybeBy(now.from+is.life()), of.fresh.maybeBy(now.from)
		}
		s.entries[k] = of
	}
}

// freshnessIsCut with the life of entries, by a library that keeps to that.
const freshnessIsCut = true

// negativesAreCut, too, where the policy before was evicted, by a library that keeps to that.
const negativesAreCut = true

// settled is what holds when nothing is pending: entries live no longer than by the rule that
// holds.
func (s *state) settled(now span) {
	s.undecided.unreclaimed = false
	if s.undecided.unlisted || !s.policy.there {
		return
	}
	for k, of := range s.entries {
		if of.uncut {
			continue
		}
		is := s.policy.policy.rule(k.op)
		life, fresh := is.life(), is.TTL
		if of.negative {
			life, fresh = is.Negative, is.Negative
		}
		of.lives = of.lives.by(now.to + life)
		if freshnessIsCut {
			of.fresh = of.fresh.by(now.to + fresh)
		}
		s.entries[k] = of
	}
}
