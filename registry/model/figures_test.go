// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

func pass(ms int) { time.Sleep(time.Duration(ms) * time.Millisecond) }

func isRefusal(err error) bool { return err != nil && strings.HasPrefix(err.Error(), "CACHEWRIGHT ") }

func (r *run) apply(s step) {
	answer, now := r.pair("cw_policy_apply", s.Policy.document())
	uncertain := r.state.undecided.uncounted || !r.state.policy.there
	changed, least, most := r.state.apply(s.Policy, now, &r.epochs)
	if answer[0] != changed || answer[1] < least || answer[1] > most {
		r.fail("cw_policy_apply answers %v, want %d and %d to %d", answer, changed, least, most)
	}
	if answer[1] == 1 {
		r.state.followModule(s.Policy, now)
	}
	if uncertain && changed == 1 {
		r.adopt()
	}
	if changed == 1 {
		for i := range r.leases {
			l := &r.leases[i]
			l.undecided = l.undecided || r.state.cut[l.of.op]
		}
		for k, l := range r.state.locks {
			l.undecided = l.undecided || !locksLast
			r.state.locks[k] = l
		}
	}
	if s.Flag {
		r.reclaimAll()
	}
}

func (r *run) deletePolicy(step) {
	n, now := r.number("cw_policy_delete")
	if (n == 1) != r.state.policy.there || n > 1 {
		r.fail("cw_policy_delete answers %d; there is one: %v", n, r.state.policy.there)
	}
	r.state.invalidate("", "", "hard", &r.epochs)
	r.state.follow("", "", now)
	r.state.policy = policyState{}
	r.state.counters, r.state.invalidations = map[string]map[string]int64{}, 0
	r.state.undecided.uncounted, r.state.undecided.statistics = false, false
}

func (r *run) lookAtPolicy(step) {
	text, _ := r.call("cw_policy_get")
	hash, _ := r.call("cw_policy_hash")
	if !r.state.policy.there {
		if text != nil || hash != nil {
			r.fail("the policy %v with the hash %v, where there is none", text, hash)
		}
		return
	}
	sum := sha1.Sum([]byte(r.state.policy.text))
	if text != r.state.policy.text || hash != hex.EncodeToString(sum[:]) {
		r.fail("the policy %v with the hash %v, want %s", text, hash, r.state.policy.text)
	}
}

func (r *run) report(s step) {
	n, _ := r.number("cw_report", s.Key.op, "hits", s.Size, "errors", 1)
	certain, possible := r.state.policy.cached(s.Key.op)
	if n != 2 && n != 0 || n == 0 && certain || n == 2 && !possible {
		r.fail("cw_report adds %d counters", n)
	}
	if n == 2 {
		r.state.count(s.Key.op, "hits", int64(s.Size))
		r.state.count(s.Key.op, "errors", 1)
	}
}

var counters = []string{"hits", "misses", "heldReads", "stale", "errors", "fills", "fenced", "invalidations"}

func (r *run) stats(step) {
	reply, now := r.call("cw_stats")
	fields, _ := reply.([]any)
	figures := map[string]int64{}
	for i := 0; i+1 < len(fields); i += 2 {
		n, ok := fields[i+1].(int64)
		if !ok || n < 0 {
			r.fail("cw_stats says %v of %v", fields[i+1], fields[i])
		}
		figures[fmt.Sprint(fields[i])] = n
	}
	r.wantKeys(figures, now)
	if r.state.undecided.statistics {
		return
	}
	if r.state.policy.there && figures["invalidations"] != r.state.invalidations {
		r.fail("%d invalidations, want %d", figures["invalidations"], r.state.invalidations)
	}
	for _, op := range r.state.operationsKnown() {
		for _, counter := range counters {
			if got, want := figures[counter+":"+op], r.state.counters[op][counter]; got != want {
				r.fail("%d %s of %q, want %d", got, counter, op, want)
			}
		}
	}
}

func (r *run) wantKeys(figures map[string]int64, now span) {
	for _, op := range r.state.operationsKnown() {
		if ttl, said := figures["ttl:"+op]; r.state.policy.there && (!said || ttl != r.state.policy.policy.rule(op).TTL) {
			r.fail("a TTL of %d of %q, by %s", ttl, op, r.state.policy.text)
		}
	}
	if r.state.undecided.counts || r.state.undecided.unreclaimed {
		return
	}
	least, most := r.state.counted("", "", now)
	if figures["keys"] < least || figures["keys"] > most {
		r.fail("cw_stats counts %d keys, there are %d to %d", figures["keys"], least, most)
	}
	for _, op := range r.state.operationsKnown() {
		if least, most := r.state.counted(op, "", now); figures["keys:"+op] < least || figures["keys:"+op] > most {
			r.fail("cw_stats counts %d keys of %q, there are %d to %d", figures["keys:"+op], op, least, most)
		}
	}
}

// read is a hit by one MGET, as docs/protocol.md tells other languages to make it.
func (r *run) read(s step) {
	k, heads := s.Key, r.slot.headKeys(s.Key)
	now := span{from: time.Now().UnixMilli()}
	var values *redis.SliceCmd
	var left *redis.DurationCmd
	_, err := r.slot.client().Pipelined(r, func(pipe redis.Pipeliner) error {
		values = pipe.MGet(r, slices.Concat([]string{r.slot.entryKey(k)}, heads, []string{r.slot.lockKey(k)})...)
		left = pipe.PTTL(r, r.slot.entryKey(k))
		return nil
	})
	now.to = time.Now().UnixMilli()
	r.must(err)
	texts := make([]string, len(values.Val()))
	for i, value := range values.Val() {
		texts[i], _ = value.(string)
	}
	found := decode(texts[0], texts[1:1+len(heads)])
	r.tell("MGET of %q: %.200q", k, texts)
	certain, possible := r.state.presence(k, now)
	if found.hit && !possible || !found.hit && certain {
		r.fail("MGET finds %q: %v, want %v or %v", k, found.hit, certain, possible)
	}
	if found.hit {
		r.wantEntry(k, found, left.Val().Milliseconds(), now)
	}
	c, complete := r.state.covers(k.op, k.user)
	if held, _ := r.isLocked(k, c, now); held && complete && !sameLoad(texts[len(texts)-1], texts[1:1+len(heads)]) {
		r.fail("the lock of %q is %q, under %q", k, texts[len(texts)-1], texts[1:])
	}
}

func (r *run) wantEntry(k key, found decoded, left int64, now span) {
	e := r.state.entries[k]
	if found.payload != e.payload || found.schema != e.schema || found.negative != e.negative {
		r.fail("MGET finds %+v, want %+v", found, e)
	}
	if until := int64(found.freshUntil); !found.stale && !e.stale && (until < e.fresh.from-slack || until > e.fresh.to+slack) {
		r.fail("it is fresh until %d, should be until %v", until, e.fresh)
	}
	r.wantStaleness(k, found.stale || int64(found.freshUntil) <= now.to, now)
	if left > e.lives.to-now.from+slack {
		r.fail("it lives for %d ms, should live until %v at %v", left, e.lives, now)
	}
}

// sameLoad says whether a load lock holds the heads, be it with another fence.
func sameLoad(lock string, heads []string) bool {
	if len(lock) != 1+len(strings.Join(heads, "")) {
		return false
	}
	fence := 1 + len(heads[0]) + 11
	return lock[1:fence] == heads[0]+heads[1][:11] && lock[fence+11:] == heads[1][22:]+strings.Join(heads[2:], "")
}

// decoded is what docs/protocol.md says of an entry under its heads.
type decoded struct {
	hit, stale, negative bool
	freshUntil           uint64
	schema, payload      string
}

func decode(value string, heads []string) decoded {
	if len(value) < 18 || value[0] != 1 {
		return decoded{}
	}
	flags, rest := value[1], value[18:]
	if flags&^(1|2|4|16|32|64) != 0 || (flags&1 != 0) != (len(heads) == 3) || flags&64 != 0 && flags&1 == 0 {
		return decoded{}
	}
	found := decoded{hit: true, negative: flags&2 != 0, freshUntil: binary.BigEndian.Uint64([]byte(value[2:10]))}
	for i, head := range heads {
		full := []int{11, 22, 11}[i]
		if len(head) != full && len(head) != full+11 || len(rest) < 11 || rest[:11] != head[:11] {
			return decoded{}
		}
		rest = rest[11:]
	}
	for i, head := range heads {
		soft, full := "", []int{11, 22, 11}[i]
		if flags&(16<<i) != 0 {
			if len(rest) < 11 {
				return decoded{}
			}
			soft, rest = rest[:11], rest[11:]
		}
		found.stale = found.stale || soft != head[full:]
	}
	if flags&4 != 0 {
		if rest == "" || rest[0] == 0 || len(rest) <= int(rest[0]) {
			return decoded{}
		}
		found.schema, rest = rest[1:1+rest[0]], rest[1+rest[0]:]
	}
	found.payload = rest
	return found
}
