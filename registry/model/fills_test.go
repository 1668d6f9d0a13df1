// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"fmt"
	"strings"
	"time"
)

func (r *run) fill(s step) {
	token := ""
	if s.Unleased {
		token = r.headsOf(s.Key)
	}
	if token == "" {
		s.Unleased = false
		token = r.lookUp(s.Key, s.Schema, s.Lock)
	}
	if token != "" {
		r.store(s, token)
	}
}

// headsOf returns the token that an MGET makes, if it finds all heads, and nothing in place of the
// entry.
func (r *run) headsOf(k key) string {
	now := span{from: time.Now().UnixMilli()}
	values, err := r.slot.client().MGet(r, append([]string{r.slot.entryKey(k)}, r.slot.headKeys(k)...)...).Result()
	now.to = time.Now().UnixMilli()
	r.must(err)
	r.tell("the heads of %q: %.200q", k, fmt.Sprint(values))
	if values[0] != nil {
		return ""
	}
	if certain, _ := r.state.presence(k, now); certain {
		r.fail("MGET finds no %q, which is live", k)
	}
	token := "1"
	for i, value := range values[1:] {
		head, _ := value.(string)
		if hard := map[bool]int{false: 11, true: 22}[i == 1]; len(head) != hard && len(head) != hard+11 || strings.HasPrefix(head, "!!") {
			return ""
		}
		token += head
	}
	if _, complete := r.state.covers(k.op, k.user); !complete {
		if !r.state.undecided.uncounted { // else the head of what is not cached any more may be there
			r.fail("MGET finds all heads of %q", k)
		}
		return ""
	}
	delete(r.state.entries, k)
	r.leased(k, token)
	return token
}

func (r *run) set(s step) {
	if len(r.leases) == 0 {
		return
	}
	l := r.leases[len(r.leases)-1-s.Token%len(r.leases)]
	if s.Flag = s.Size != 30; s.Flag { // most fills are of what was loaded
		s.Key = l.of
	}
	r.store(s, forged(l.text, s.Forge))
}

func forged(token, how string) string {
	switch how {
	case "byte":
		return token[:len(token)-3] + "~" + token[len(token)-2:]
	case "cut":
		return token[:len(token)-1]
	case "more":
		return token + "A"
	case "mark":
		return map[byte]string{'1': "2", '2': "1"}[token[0]] + token[1:]
	case "none":
		return "0"
	default:
		return token
	}
}

// store is cw_set.
func (r *run) store(s step, token string) {
	e, sent, options := r.payload(s)
	if strings.Contains(options, "room") {
		sent = strings.Repeat("?", len(token)+6) + sent
	}
	reply, now, refused := r.filled(s, "cw_set", sent, token, options)
	if !refused {
		r.stored(s.Key, token, reply, e, now)
	}
}

// payload returns what is to be stored, and the arguments that say it.
func (r *run) payload(s step) (e entry, sent, options string) {
	r.fills++
	e = entry{
		payload: fmt.Sprint(r.fills, strings.Repeat("x", s.Size)), schema: s.Schema, negative: strings.Contains(s.Option, "negative"), asked: s.TTL,
	}
	sent, options = e.payload, s.Option
	if s.Schema != "" {
		sent, options = string(rune(len(s.Schema)))+s.Schema+sent, options+" schema"
	}
	if s.Unleased {
		options += " heads"
	}
	if s.TTL > 0 {
		options += fmt.Sprint(" ttl ", s.TTL)
	}
	return e, sent, strings.TrimSpace(options)
}

// filled makes a call that fills. It may be refused for its TTL, and changes nothing then.
func (r *run) filled(s step, name string, args ...any) (reply int64, now span, refused bool) {
	args = append([]any{s.Key.op, s.Key.id, s.Key.user}, args...)
	if args[len(args)-1] == "" { // no options
		args = args[:len(args)-1]
	}
	answer, now, err := r.slot.call(r, name, args...)
	r.tell("%s %.200q: %.200q (%v)", name, args, fmt.Sprint(answer), err)
	longest := r.state.policy.policy.rule(s.Key.op).TTL
	if strings.Contains(s.Option, "negative") {
		longest = r.state.policy.policy.rule(s.Key.op).Negative
	}
	certain, possible := r.state.policy.cached(s.Key.op)
	tooLong := s.TTL > longest && longest > 0
	switch {
	case err != nil && tooLong && possible && strings.HasPrefix(err.Error(), "CACHEWRIGHT "+name+": ttl "):
		return 0, now, true
	case err != nil:
		r.fail("%s: %v; cached: %v or %v", name, err, certain, possible)
	case tooLong && certain:
		r.fail("%s answers %v to a TTL of %d, and the longest is %d", name, answer, s.TTL, longest)
	}
	reply, ok := answer.(int64)
	if !ok {
		r.fail("%s answers %v, not a number", name, answer)
	}
	return reply, now, false
}

// put is cw_put.
func (r *run) put(s step) {
	s.Option = strings.TrimSpace(strings.Replace(s.Option, "room", "", 1))
	e, sent, options := r.payload(s)
	reply, now, refused := r.filled(s, "cw_put", sent, options)
	if refused {
		return
	}
	is := r.state.policy.policy.rule(s.Key.op)
	cached, perhaps, tooMuch := r.caches(s.Key, e)
	held := len(r.state.marksOver(s.Key)) > 0
	allowed := reply == 0 && !cached || perhaps && (reply == -2 && tooMuch || reply == -1 && !tooMuch && held || reply > 0 && !tooMuch && !held)
	if !allowed {
		r.fail("cw_put answers %d; cached: %v or %v, refused: %v, held: %v", reply, cached, perhaps, tooMuch, held)
	}
	if reply > 0 {
		r.state.lease(s.Key.op, s.Key.user, &r.epochs)
		r.state.count(s.Key.op, "fills", 1)
	}
	r.state.remove(s.Key, &r.epochs)
	delete(r.state.locks, s.Key)
	switch {
	case reply > 0:
		r.enter(s.Key, reply, e, is, now)
		return
	case reply == -1:
		r.state.count(s.Key.op, "fenced", 1)
	}
	r.state.lags(place{"e", s.Key}, r.state.lagOf(s.Key.op), now)
}

// caches says whether the policy caches an entry: for sure, or possibly; and whether it is more than
// the policy allows.
func (r *run) caches(k key, e entry) (certain, possible, tooMuch bool) {
	is := r.state.policy.policy.rule(k.op)
	certain, possible = r.state.policy.cached(k.op)
	if e.negative && is.Negative == 0 {
		certain, possible = false, false
	}
	return certain, possible, is.UsersOnly && k.user == "" || int64(len(e.payload)) > is.MaxBytes
}

// stored takes the reply of cw_set for what it is.
func (r *run) stored(k key, token string, reply int64, e entry, now span) {
	is := r.state.policy.policy.rule(k.op)
	cached, perhaps, refused := r.caches(k, e)
	valid, maybeValid := r.isValid(token, k)
	allowed := reply == 0 && !cached || reply == -2 && perhaps && refused || reply == -1 && !valid ||
		reply > 0 && perhaps && !refused && maybeValid
	if !allowed {
		r.fail("cw_set answers %d; cached: %v or %v, refused: %v, valid: %v or %v", reply, cached, perhaps, refused, valid, maybeValid)
	}
	r.unlocked(k, token, reply)
	switch {
	case reply == -1:
		r.state.count(k.op, "fenced", 1)
	case reply > 0:
		r.state.count(k.op, "fills", 1)
		r.enter(k, reply, e, is, now)
	}
}

func (r *run) enter(k key, ttl int64, e entry, is rule, now span) {
	longest, more := is.TTL, is.Stale
	if e.negative {
		longest, more = is.Negative, 0
	}
	if e.asked > 0 {
		longest, more = e.asked, 0
	}
	if ttl > longest || ttl < longest-longest*is.Jitter/100 {
		r.fail("a TTL of %d, by the rule %+v", ttl, is)
	}
	e.covering, _ = r.state.covers(k.op, k.user)
	e.fresh, e.lives = now.after(ttl), now.after(ttl+more)
	r.state.entries[k] = e
}

// isValid says whether a fill with a token is stored: for sure, or possibly.
func (r *run) isValid(token string, k key) (certain, possible bool) {
	c, complete := r.state.covers(k.op, k.user)
	if !complete || len(token) < 2 || len(r.state.marksOver(k)) > 0 {
		return false, false
	}
	for _, l := range r.leases {
		if l.text[1:] != token[1:] || l.covering != c || strings.Trim(token[:1], "12") != "" {
			continue
		}
		deleted, maybe := r.state.deletedSince(k, l.fence)
		possible = possible || !deleted
		certain = certain || !deleted && !maybe && !l.undecided && l.text == token
	}
	return certain, possible
}

// unlocked: the load lock of a fill ends with it, whatever becomes of it.
func (r *run) unlocked(k key, token string, reply int64) {
	l, found := r.state.locks[k]
	if !found || token[0] != '2' {
		return
	}
	if r.leases[l.owner].text == token && (reply > 0 || reply == -1 || locksLast) {
		delete(r.state.locks, k)
		return
	}
	l.undecided = true
	r.state.locks[k] = l
}

// fillMany stores many entries by one lease: a token is worth the same for all that the same heads
// cover.
func (r *run) fillMany(s step) {
	s.Key.id = "many"
	token := r.lookUp(s.Key, "", 0)
	if token == "" {
		return
	}
	replies, now, err := r.slot.setMany(r, s.Key, token, manyEntries)
	r.must(err)
	for i, reply := range replies {
		k := key{s.Key.op, s.Key.user, fmt.Sprint("many", i)}
		r.fills++
		r.stored(k, token, reply, entry{payload: fmt.Sprint(i)}, now)
	}
}
