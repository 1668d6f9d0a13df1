// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"encoding/binary"
	"maps"
	"strings"
	"time"
)

// Marks of holds, by the rules of docs/protocol.md. No mark ends during a step: a short hold waits
// for its end.

// place is where a mark stands: in place of the head of a module, an operation or a user, or of an
// entry.
type place struct {
	kind string // as in the name of the key: m, o, u, e
	of   key
}

// mark has the deadlines of its holders.
type mark map[string]span

const (
	longHold  = 60_000
	shortHold = 25
)

func holdID(name string) string { return strings.Repeat(name, 16) }

// placeOf returns where a scope is marked. An operation of a user marks the user.
func placeOf(scope string, k key) place {
	op, user := narrowed(scope, k)
	switch {
	case scope == "entry":
		return place{"e", k}
	case user != "":
		return place{"u", key{user: user}}
	case op != "":
		return place{"o", key{op: op}}
	}
	return place{kind: "m"}
}

// narrowed returns the operation and the user that a scope names.
func narrowed(scope string, k key) (op, user string) {
	if scope != "user" && scope != "module" {
		op = k.op
	}
	if scope != "operation" && scope != "module" {
		user = k.user
	}
	return op, user
}

func (s *slot) markKey(p place) string {
	switch p.kind {
	case "e":
		return s.entryKey(p.of)
	case "o":
		return s.key + ":o:" + p.of.op
	case "u":
		return s.key + ":u:" + p.of.user
	}
	return s.key + ":m"
}

// marksOver returns the marks that hold an entry.
func (s *state) marksOver(k key) (over []mark) {
	for _, p := range []place{{kind: "m"}, {"o", key{op: k.op}}, {"u", key{user: k.user}}, {"e", k}} {
		if m, found := s.marks[p]; found && (p.kind != "u" || k.user != "") {
			over = append(over, m)
		}
	}
	return over
}

func (m mark) last() (last span) {
	for _, until := range m {
		last = span{max(last.from, until.from), max(last.to, until.to)}
	}
	return last
}

// thing is the arguments that name a place.
func thing(scope string, k key) []any {
	if scope == "entry" {
		return []any{"e", k.op, k.user, k.id}
	}
	op, user := narrowed(scope, k)
	return []any{"s", op, user, ""}
}

// targets of a hold: a scope, and an entry besides.
func (s step) targets() (scopes []string) {
	if s.Flag && s.Scope != "entry" {
		return []string{s.Scope, "entry"}
	}
	return []string{s.Scope}
}

func (r *run) hold(s step) {
	ms := int64(longHold)
	if s.Size == 0 {
		ms = shortHold
	}
	args := []any{holdID(s.Request), ms}
	for _, scope := range s.targets() {
		args = append(args, thing(scope, s.Key)...)
	}
	answer, now := r.pair("cw_hold", args...)
	var least, most, stood int64
	exact := true
	for _, scope := range s.targets() {
		p := placeOf(scope, s.Key)
		if m, found := r.state.marks[p]; found {
			if _, named := m[s.Request]; named {
				stood++
			}
		} else {
			few, many := r.state.countedIn(p, now)
			least, most = least+few, most+many
			exact = exact && !r.state.undecided.counts && !r.state.undecided.unreclaimed && many <= fewEntries
			r.state.cover(p, &r.epochs)
			r.state.marks[p] = mark{}
		}
		r.state.marks[p][s.Request] = now.after(ms)
	}
	if answer[1] != stood || exact && (answer[0] < least || answer[0] > most) || answer[0] > r.fills {
		r.fail("cw_hold answers %v, want %d to %d live entries, and %d marks", answer, least, most, stood)
	}
	if ms == shortHold {
		r.endShortHolds()
	}
}

// endShortHolds waits until they have ended.
func (r *run) endShortHolds() {
	pass(shortHold + 2*slack)
	r.state.forgetEnded(span{time.Now().UnixMilli(), time.Now().UnixMilli()})
}

func (s *state) forgetEnded(now span) {
	for p, m := range s.marks {
		maps.DeleteFunc(m, func(_ string, until span) bool { return until.past(now) })
		if len(m) == 0 {
			delete(s.marks, p)
		}
	}
}

// cover invalidates what a mark covers.
func (s *state) cover(p place, e *epochs) {
	if p.kind == "e" {
		s.remove(p.of, e)
	} else {
		s.invalidate(p.of.op, p.of.user, "hard", e)
	}
}

// countedIn counts the live entries that a place covers: for sure, and possibly.
func (s *state) countedIn(p place, now span) (least, most int64) {
	if p.kind != "e" {
		return s.counted(p.of.op, p.of.user, now)
	}
	certain, possible := s.presence(p.of, now)
	if certain {
		least = 1
	}
	if possible {
		most = 1
	}
	return least, most
}

func (r *run) release(s step) {
	args := []any{holdID(s.Request)}
	for _, scope := range s.targets() {
		args = append(args, thing(scope, s.Key)...)
	}
	lifted, now := r.number("cw_release", args...)
	var want int64
	for _, scope := range s.targets() {
		p := placeOf(scope, s.Key)
		m, found := r.state.marks[p]
		if !found || p.kind == "e" {
			r.state.cover(p, &r.epochs)
		}
		if _, named := m[s.Request]; named {
			want++
			delete(m, s.Request)
		}
		if found && len(m) == 0 {
			delete(r.state.marks, p)
		}
		if scope == "entry" {
			r.state.lags(p, r.state.lagOf(s.Key.op), now)
		} else {
			op, user := narrowed(scope, s.Key)
			r.state.follow(op, user, now)
		}
	}
	if lifted != want {
		r.fail("cw_release answers %d, want %d", lifted, want)
	}
}

// held is a miss under a mark.
func (r *run) held(k key, fields []any, over []mark, now span) {
	certain, possible := r.state.policy.cached(k.op)
	if r.state.policy.policy.rule(k.op).UsersOnly && k.user == "" {
		certain, possible = false, false
	}
	if fields[1] != "0" || len(fields) == 2 && certain || len(fields) != 2 && (len(fields) != 4 || !possible) {
		r.fail("a lease of %q answers %v under a mark; cached: %v or %v", k, fields, certain, possible)
	}
	if len(fields) == 2 {
		return
	}
	r.state.count(k.op, "heldReads", 1)
	var last span
	for _, m := range over {
		until := m.last()
		last = span{max(last.from, until.from), max(last.to, until.to)}
	}
	ms, ok := fields[3].(int64)
	if !ok || fields[2] != int64(0) || ms < max(1, last.from-now.to-slack) || ms > last.to-now.from+slack {
		r.fail("a lease of %q is held for %v, until %v at %v", k, fields, last, now)
	}
}

// wantMarks compares the marks with their keys.
func (r *run) wantMarks() {
	r.endShortLags()
	for p, m := range r.state.marks {
		name := r.slot.markKey(p)
		value, life := r.slot.client().GetRange(r, name, 0, 4096).Val(), r.slot.client().PExpireTime(r, name).Val().Milliseconds()
		if value == "" && p.kind == "e" && r.state.undecided.marks {
			delete(r.state.marks, p)
			continue
		}
		if !strings.HasPrefix(value, "!!") || len(value)%24 != 2 {
			r.fail("there is %.60q in place of the mark %q of %v", value, name, m)
		}
		got := map[string]int64{}
		for rest := value[2:]; rest != ""; rest = rest[24:] {
			got[rest[:16]] = int64(binary.BigEndian.Uint64([]byte(rest[16:24])))
		}
		for id, until := range m {
			if at, found := got[holdID(id)]; !found || at < until.from-slack || at > until.to+slack {
				r.fail("the mark %q holds %v, want %v", name, got, m)
			}
		}
		if last := m.last(); life < last.from-slack || life > last.to+slack {
			r.fail("the mark %q stands until %d, want %v", name, life, last)
		}
	}
}
