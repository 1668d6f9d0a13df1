// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package model

import "fmt"

func (r *run) get(s step) {
	if !s.Unleased || r.headsOf(s.Key) == "" {
		r.lookUp(s.Key, s.Schema, s.Lock)
	}
}

// lookUp is cw_get. It returns the token that came with the answer, if one did.
func (r *run) lookUp(k key, schema string, lockMs int64) string {
	args := []any{k.op, k.id, k.user}
	if lockMs > 0 || schema != "" {
		args = append(args, lockMs)
	}
	if schema != "" {
		args = append(args, schema)
	}
	reply, now := r.call("cw_get", args...)
	fields, _ := reply.([]any)
	if len(fields) < 2 {
		r.fail("cw_get answers %v", reply)
	}
	if fields[0] == int64(0) {
		return r.missed(k, schema, lockMs, fields, now)
	}
	if e := r.state.entries[k]; e.schema != schema {
		r.fail("a hit of %q for a reader of schema %q: %+v", k, schema, e)
	}
	return r.hit(k, lockMs, fields, now)
}

func (r *run) missed(k key, schema string, lockMs int64, fields []any, now span) string {
	if r.state.entries[k].schema == schema { // another one shows nothing
		if certain, _ := r.state.presence(k, now); certain {
			r.fail("a miss of %q, which is live", k)
		}
		delete(r.state.entries, k)
	}
	if over := r.state.marksOver(k); len(over) > 0 {
		r.held(k, fields, over, now)
		return ""
	}
	token := fmt.Sprint(fields[1])
	certain, possible := r.state.policy.cached(k.op)
	if token == "0" {
		if certain || len(fields) != 2 {
			r.fail("no token, %v, though the policy caches %q", fields, k.op)
		}
		return ""
	}
	if !possible {
		r.fail("a token, though the policy does not cache %q", k.op)
	}
	r.state.count(k.op, "misses", 1)
	l := r.leased(k, token)
	if lockMs == 0 {
		if len(fields) != 2 {
			r.fail("%v, though no lock was asked for", fields)
		}
		return token
	}
	if len(fields) == 3 {
		r.waits(k, l, fields[2], now)
	} else {
		r.locked(k, l, lockMs, now)
	}
	return token
}

func (r *run) leased(k key, token string) lease {
	c, fence := r.state.lease(k.op, k.user, &r.epochs)
	l := lease{text: token, covering: c, fence: fence, of: k, number: len(r.leases)}
	r.leases = append(r.leases, l)
	return l
}

// waits: another has the load lock, for so long.
func (r *run) waits(k key, l lease, wait any, now span) {
	held, possible := r.isLocked(k, l.covering, now)
	ms, ok := wait.(int64)
	if !possible || !ok || ms < 1 || ms > r.state.locks[k].until.to-now.from+slack {
		r.fail("wait for %v, where nobody has the lock of %q, or for less: %+v", wait, k, r.state.locks[k])
	}
	if !held {
		r.tell("so it is locked")
	}
}

// locked: this lease has it now.
func (r *run) locked(k key, l lease, ms int64, now span) {
	if held, _ := r.isLocked(k, l.covering, now); held {
		r.fail("the lock of %q is given to two: another has it, %+v", k, r.state.locks[k])
	}
	r.state.locks[k] = lock{covering: l.covering, fence: l.fence, until: now.after(ms), owner: l.number}
}

// locksLast until their fill ended, and then end, by a library that keeps to that.
const locksLast = true

// isLocked says whether somebody loads an entry whose fill will be stored: for sure, or possibly.
func (r *run) isLocked(k key, c covering, now span) (certain, possible bool) {
	l, found := r.state.locks[k]
	if !found || l.covering != c || l.until.past(now) {
		return false, false
	}
	_, deleted := r.state.deletedSince(k, l.fence)
	if !locksLast {
		deleted = l.fence != r.state.operations[k.op].fence
	}
	return l.until.ahead(now) && !deleted && !l.undecided, true
}

func (r *run) hit(k key, lockMs int64, fields []any, now span) string {
	e := r.state.entries[k]
	if _, possible := r.state.presence(k, now); !possible {
		r.fail("a hit of %q, which is not live: %+v", k, e)
	}
	wantKind := int64(1)
	if e.negative {
		wantKind = 2
	}
	if len(fields) < 4 || fields[0] != wantKind || fields[1] != e.payload {
		r.fail("a hit %.200q of %q, which is %+v", fmt.Sprint(fields), k, e)
	}
	remaining, _ := fields[2].(int64)
	if remaining < max(0, e.fresh.from-now.to-slack) && fields[3] == int64(0) || remaining > max(0, e.fresh.to-now.from+slack) {
		r.fail("it is fresh for %v, should be until %v at %v", remaining, e.fresh, now)
	}
	r.wantStaleness(k, fields[3] == int64(1), now)
	if fields[3] == int64(0) {
		r.state.count(k.op, "hits", 1)
		if len(fields) != 4 {
			r.fail("%q comes with a fresh hit", fields[4:])
		}
		return ""
	}
	r.state.count(k.op, "stale", 1)
	return r.refreshes(k, lockMs, fields, now)
}

func (r *run) wantStaleness(k key, stale bool, now span) {
	certain, possible := r.state.staleness(k, now)
	if stale && !possible {
		r.fail("%q is stale, should be fresh: %+v", k, r.state.entries[k])
	}
	if !stale && certain {
		r.fail("%q is fresh, should be stale: %+v", k, r.state.entries[k])
	}
}

// refreshes: one of the callers that get a stale entry gets a token to reload it.
func (r *run) refreshes(k key, lockMs int64, fields []any, now span) string {
	if lockMs == 0 {
		lockMs = 10_000
	}
	c, _ := r.state.covers(k.op, k.user)
	held, _ := r.isLocked(k, c, now)
	if len(fields) == 4 {
		certain, _ := r.state.policy.cached(k.op)
		if _, possible := r.isLocked(k, c, now); !possible && certain {
			r.fail("a stale hit of %q without a token, though nobody loads it", k)
		}
		return ""
	}
	if held {
		r.fail("two are to refresh %q: %+v", k, r.state.locks[k])
	}
	token := fmt.Sprint(fields[4])
	r.locked(k, r.leased(k, token), lockMs, now)
	return token
}

func (r *run) unlock(s step) {
	n, now := r.number("cw_unlock", s.Key.op, s.Key.id, s.Key.user)
	l, found := r.state.locks[s.Key]
	c, complete := r.state.covers(s.Key.op, s.Key.user)
	held, _ := r.isLocked(s.Key, c, now)
	if n != 0 && !found || n == 0 && held && complete || n > 1 {
		r.fail("cw_unlock answers %d, where the lock is %+v", n, l)
	}
	delete(r.state.locks, s.Key)
}

func (r *run) remove(s step) {
	n, now := r.number("cw_delete", s.Key.op, s.Key.id, s.Key.user)
	if certain, possible := r.state.presence(s.Key, now); n == 0 && certain || n == 1 && !possible || n > 1 {
		r.fail("cw_delete answers %d; the entry is %+v", n, r.state.entries[s.Key])
	}
	r.state.remove(s.Key, &r.epochs)
	r.state.lags(place{"e", s.Key}, r.state.lagOf(s.Key.op), now)
}
