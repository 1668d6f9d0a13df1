// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package model

import "fmt"

// manyEntries are more than an invalidation frees at once.
const manyEntries = 160

func (r *run) invalidate(s step) {
	op, user := narrowed(s.Scope, s.Key)
	reply, now, err := r.slot.call(r, "cw_invalidate", op, user, s.Mode, s.Request)
	r.tell("cw_invalidate %q %q %q %q: %v, %v", op, user, s.Mode, s.Request, reply, err)
	was, known := r.state.requests[s.Request]
	known = known && s.Request != ""
	if err != nil {
		if !known || was.op == op && was.user == user && was.mode == s.Mode || !isRefusal(err) {
			r.fail("cw_invalidate: %v", err)
		}
		return
	}
	answer := r.asPair("cw_invalidate", reply)
	if known && s.Mode != "dry" {
		if answer != was.reply || was.op != op || was.user != user || was.mode != s.Mode {
			r.fail("a request %q that was answered %+v before is answered %v", s.Request, was, answer)
		}
		return
	}
	r.invalidated(op, user, s.Mode, answer, now)
	if s.Request != "" && s.Mode != "dry" {
		r.state.requests[s.Request] = request{op, user, s.Mode, answer}
	}
}

func (r *run) invalidated(op, user, mode string, answer [2]int64, now span) {
	if op != "" && user != "" && mode != "soft" && r.state.lagOf(op) > 0 {
		// The user is marked, so all that the user has goes.
		r.wantCount("", user, mode, answer, now)
		r.state.invalidate("", user, mode, &r.epochs)
	} else {
		r.wantCount(op, user, mode, answer, now)
		r.state.invalidate(op, user, mode, &r.epochs)
	}
	if mode == "dry" {
		return
	}
	if mode == "hard" {
		r.state.follow(op, user, now)
	}
	if certain, _ := r.state.policy.cached(op); r.state.policy.there {
		r.state.invalidations++
		switch {
		case op != "" && (certain || r.state.counters[op] != nil):
			r.state.count(op, "invalidations", 1)
		case op != "":
			r.state.undecided.statistics = true
		case user == "":
			for _, each := range r.state.operationsKnown() {
				r.state.count(each, "invalidations", 1)
			}
		}
	}
}

// wantCount holds what an invalidation counts against what is live.
func (r *run) wantCount(op, user, mode string, answer [2]int64, now span) {
	keys, waiting := answer[0], answer[1]
	least, most := r.state.counted(op, user, now)
	exact := !r.state.undecided.counts && !r.state.undecided.unreclaimed && most <= fewEntries
	if op != "" && user != "" {
		exact = exact && r.state.ofUser(user) <= fewEntries // of more, it counts those of other operations
	}
	switch {
	case exact && (keys < least || keys > most):
		r.fail("cw_invalidate counts %d keys, there are %d to %d", keys, least, most)
	case keys > r.fills:
		r.fail("cw_invalidate counts %d keys, %d were filled ever", keys, r.fills)
	case mode == "soft" && waiting != 0, exact && waiting != 0, waiting > r.fills:
		r.fail("cw_invalidate lets %d keys wait, of %d", waiting, keys)
	}
}

func (r *run) reclaim(s step) { r.reclaimOnce(1 + s.Size) }

func (r *run) reclaimOnce(limit int) (pending int64) {
	answer, now := r.pair("cw_reclaim", limit)
	if answer[0] > int64(min(limit, 200)) || answer[1] > 4*r.fills+int64(len(r.log)) {
		r.fail("cw_reclaim of %d frees %d, %d wait", limit, answer[0], answer[1])
	}
	if answer[1] == 0 {
		r.state.settled(now)
	}
	return answer[1]
}

func (r *run) reclaimAll() {
	for range 200 {
		if r.reclaimOnce(1000) == 0 {
			return
		}
	}
	r.fail("it reclaims without end")
}

func (r *run) asPair(name string, reply any) [2]int64 {
	fields, _ := reply.([]any)
	if len(fields) != 2 {
		r.fail("%s answers %v", name, reply)
	}
	one, isOne := fields[0].(int64)
	two, isTwo := fields[1].(int64)
	if !isOne || !isTwo || one < 0 || two < 0 {
		r.fail("%s answers %v, not two numbers", name, reply)
	}
	return [2]int64{one, two}
}

func (r *run) pair(name string, args ...any) ([2]int64, span) {
	reply, during := r.call(name, args...)
	return r.asPair(name, reply), during
}

// evict removes one key. docs/protocol.md says what that means.
func (r *run) evict(s step) {
	name, found := r.victim(s)
	if !found || r.slot.client().Del(r, name).Val() == 0 {
		return
	}
	r.tell("evicted %q", name)
	state := r.state
	switch s.Victim {
	case "m":
		state.module = nil
		delete(state.marks, place{kind: "m"})
	case "o":
		delete(state.operations, s.Key.op)
		delete(state.marks, place{"o", key{op: s.Key.op}})
	case "u":
		delete(state.users, s.Key.user)
		delete(state.marks, place{"u", key{user: s.Key.user}})
	case "e":
		delete(state.entries, s.Key)
		delete(state.marks, place{"e", s.Key})
	case "l":
		delete(state.locks, s.Key)
	case "policy":
		state.policy.there, state.policy.remembered = false, true
	case "counters":
		state.counters, state.invalidations, state.undecided.uncounted = map[string]map[string]int64{}, 0, true
	case "d":
		delete(state.deletions, s.Key.op)
		for i := range r.leases {
			r.leases[i].undecided = r.leases[i].undecided || r.leases[i].of.op == s.Key.op
		}
	case "r":
		delete(state.requests, s.Request)
	case "i", "chunk", "iu", "pending", "a":
		state.undecided.unlisted = true
	case "h":
		state.undecided.marks = true
	}
	counted := s.Victim != "l" && s.Victim != "r" && s.Victim != "d" && s.Victim != "h"
	state.undecided.counts = state.undecided.counts || counted
}

// victim names a key of a kind, of those whose names are known or, of the private ones, any.
func (r *run) victim(s step) (string, bool) {
	prefix := r.slot.key + ":"
	switch s.Victim {
	case "m", "policy", "counters", "pending", "h":
		return prefix + s.Victim, true
	case "o", "d":
		return prefix + s.Victim + ":" + s.Key.op, true
	case "u", "iu":
		return prefix + s.Victim + ":" + s.Key.user, s.Key.user != ""
	case "e":
		return r.slot.entryKey(s.Key), true
	case "l":
		return r.slot.lockKey(s.Key), true
	case "r":
		return prefix + "r:" + s.Request, s.Request != ""
	}
	pattern := map[string]string{"i": ":i:???????????", "chunk": ":i:???????????:*", "a": ":a:*"}[s.Victim]
	names, err := r.slot.keys(r, r.slot.client(), pattern)
	r.must(err)
	if len(names) == 0 {
		return "", false
	}
	return names[0], true
}

// sync lets the replica have all that there is.
func (r *run) sync(step) {
	d, err := r.slot.dump(r)
	r.must(err)
	r.replica = &copied{state: r.state.clone(), dump: d, leases: len(r.leases)}
}

// failOver makes the replica the primary, with all that there is, or with what it had before.
// Tokens are out already; what is served from then on is what was not invalidated at that time.
func (r *run) failOver(s step) {
	if lags := s.Flag; !lags || r.replica == nil {
		r.sync(s)
	}
	r.must(r.slot.promote(r, r.replica.dump))
	for i := r.replica.leases; i < len(r.leases); i++ {
		r.leases[i].undecided = true // whether it goes by what was lost is not said
	}
	r.state = r.replica.state.clone()
	r.state.policy.remembered = !r.state.policy.there
}

// reload loads the library again: what it remembers is lost, and nothing else.
func (r *run) reload(s step) {
	r.must(r.slot.reload(r, s.Flag))
	r.state.policy.remembered = false
}

func (r *run) wait(s step) { pass(s.Size) }

func (r *run) sayNonsense(s step) {
	calls := [][]any{
		{"cw_get", "", "a", ""},
		{"cw_get", "list", "a"},
		{"cw_get", "list", "a", "", -1},
		{"cw_get", "list", "a", "", 0, "v 1"},
		{"cw_set", "list", "a", "", "\x03v1", "1x", "schema"},
		{"cw_set", "list", "a", "", "x", ""},
		{"cw_set", "list", "a", "", "x", "1x", "other"},
		{"cw_set", "list", "a", "", "x", "1xxxxxxxxxxxxxxxxxxxxx", "room"},
		{"cw_delete", "", "a", ""},
		{"cw_invalidate", "", "", "all", ""},
		{"cw_invalidate", "", "", "hard"},
		{"cw_hold", "short", 1000, "s", "", "", ""},
		{"cw_hold", holdID("A"), 600_001, "s", "", "", ""},
		{"cw_hold", holdID("A"), 1000, "s", "", "", "a"},
		{"cw_hold", holdID("A"), 1000, "e", "", "", "a"},
		{"cw_release", holdID("\x00"), "s", "", "", ""},
		{"cw_release", holdID("A")},
		{"cw_reclaim", 0},
		{"cw_reclaim", "x"},
		{"cw_policy_apply", "[]"},
		{"cw_policy_apply", "{\"x\":1}"},
		{"cw_policy_apply", "{\"defaultTtlMs\":-1}"},
		{"cw_report", "list", "fills", 1},
		{"cw_report", "list", "hits", -1},
		{"cw_unlock", "list"},
		{"cw_stats", "x"},
		{"cw_fence", "x"},
		{"cw_fence", "check", "check"},
	}
	call := calls[s.Size%len(calls)]
	reply, _, err := r.slot.call(r, fmt.Sprint(call[0]), call[1:]...)
	if !isRefusal(err) {
		r.fail("%v: %v, %v; want a refusal", call, reply, err)
	}
}
