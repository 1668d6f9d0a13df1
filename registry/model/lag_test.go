// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"encoding/binary"
	"slices"
	"strings"
	"time"
)

// Lags of sources: marks without a holder that invalidations leave. As with holds, no mark ends
// during a step.
const (
	shortLag = 30
	longLag  = 60_000
)

// nobody is the holder of a mark that a lag left.
const nobody = "\x00"

// lag returns the lag of an operation that a policy lists, or else that of the policy.
func (p policy) lag(op string) int64 {
	switch own := p.Operations[op].Lag; own {
	case 0:
		return p.Lag
	default:
		return max(0, own)
	}
}

// lagAsRule returns the lag of an operation that a policy lists, or caches by default.
func (p policy) lagAsRule(op string) int64 {
	if _, listed := p.Operations[op]; !listed && p.Default == 0 {
		return 0
	}
	return p.lag(op)
}

// longestLag is that of any operation.
func (p policy) longestLag() int64 {
	longest := p.Lag
	for op := range p.Operations {
		longest = max(longest, p.lag(op))
	}
	return longest
}

// lagOf returns the lag of an operation under the policy in force.
func (s *state) lagOf(op string) int64 {
	if certain, _ := s.policy.cached(op); !certain {
		return 0
	}
	return s.policy.policy.lag(op)
}

// follow leaves the marks that follow the hard invalidation of a scope.
func (s *state) follow(op, user string, now span) {
	switch {
	case !s.policy.there:
	case op == "" && user == "":
		s.followModule(s.policy.policy, now)
	case user == "":
		s.lags(place{"o", key{op: op}}, s.lagOf(op), now)
	case op == "":
		s.lags(place{"u", key{user: user}}, s.policy.policy.longestLag(), now)
	default:
		s.lags(place{"u", key{user: user}}, s.lagOf(op), now)
	}
}

func (s *state) followModule(p policy, now span) {
	s.lags(place{kind: "m"}, p.Lag, now)
	for op := range p.Operations {
		if lag := p.lag(op); lag > p.Lag {
			s.lags(place{"o", key{op: op}}, lag, now)
		}
	}
}

// knows says whether an operation may have been cached since the counters began. What was cached
// before is no longer live, so a policy invalidates nothing of it.
func (s *state) knows(op string, p policy) bool {
	_, listed := p.Operations[op]
	return listed || slices.Contains(s.operationsKnown(), op)
}

// lags leaves a mark, in place of what is there.
func (s *state) lags(p place, ms int64, now span) {
	if ms == 0 {
		return
	}
	if s.marks[p] == nil {
		s.marks[p] = mark{}
	}
	until, was := now.after(ms), s.marks[p][nobody]
	s.marks[p][nobody] = span{max(was.from, until.from), max(was.to, until.to)}
	switch p.kind {
	case "m":
		s.module = nil
	case "o":
		delete(s.operations, p.of.op)
	case "u":
		delete(s.users, p.of.user)
	default:
		delete(s.entries, p.of)
	}
}

// endShortLags waits until they have ended.
func (r *run) endShortLags() {
	soon := time.Now().UnixMilli() + longHold/2
	for _, m := range r.state.marks {
		if until, found := m[nobody]; found && until.to < soon {
			pass(int(max(0, until.to-time.Now().UnixMilli())) + 2*slack)
			r.state.forgetEnded(span{time.Now().UnixMilli(), time.Now().UnixMilli()})
			return
		}
	}
}

// adopt takes the marks of heads from Redis, where nobody knows what was invalidated.
func (r *run) adopt() {
	places := []place{{kind: "m"}}
	for _, op := range operations {
		places = append(places, place{"o", key{op: op}})
	}
	for _, p := range places {
		value := r.slot.client().GetRange(r, r.slot.markKey(p), 0, 4096).Val()
		delete(r.state.marks, p)
		if !strings.HasPrefix(value, "!!") || len(value)%24 != 2 {
			continue
		}
		r.state.lags(p, 1, span{})
		r.state.marks[p] = mark{}
		for rest := value[2:]; rest != ""; rest = rest[24:] {
			until := int64(binary.BigEndian.Uint64([]byte(rest[16:24])))
			r.state.marks[p][rest[:1]] = span{until, until}
		}
	}
}
