// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package model

import (
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/registry"
)

// mutants are faults put into the library, each by another text in place of one that is there once.
var mutants = map[string]struct{ text, instead string }{
	"a fill goes by no fence":                       {"is_fenced(slot, op, member, heads, token) then", "false then"},
	"a deletion fences no load":                     {"  if op_head then deletions.fence(slot, of_op, name, op_head) end\n", ""},
	"a deletion fences all loads":                   {"string.sub(log, digest_from, record_end) == digest then return true", "true then return true"},
	"a deletion leaves the entry":                   {"    call('UNLINK', lock, of_op.entries .. member)\n", "    call('UNLINK', lock)\n"},
	"a deletion leaves the entry in the index":      {"  if slice then delist(slot, epoch, slice, chunk, member) end\n", ""},
	"a user keeps the head":                         {"  if mode == HARD then delete_head(head, before) end\n", ""},
	"an operation keeps the head":                   {"    call('UNLINK', of_op.head, of_op.deletions)\n", "    call('UNLINK', of_op.deletions)\n"},
	"a module keeps the head":                       {"return not marks.is_at(key) and call('UNLINK', key) == 1", "return head_exists(key)"},
	"an operation of a user stays":                  {"    entries.free(slot, names, {})\n", ""},
	"other operations of a user go":                 {"  invalidation.restamp(slot, others, epoch)\n", ""},
	"loads of an operation of a user go on":         {"call('SET', key, epoch .. string.sub(head, EPOCH_LEN + 1), 'KEEPTTL')", "epoch = epoch_of(head)"},
	"soft is fresh":                                 {"    soft_stale = bit.band", "    soft_stale = false, was = bit.band"},
	"soft is nothing":                               {"    call('SET', head, string.sub(value, 1, hard_len) .. new_epoch(slot), 'KEEPTTL')\n", ""},
	"dry is hard":                                   {"if mode == HARD then return invalidation.purge_operation(", "if mode ~= SOFT then return invalidation.purge_operation("},
	"another revision purges nothing":               {"new.revision ~= old.revision and", "false and"},
	"each policy purges":                            {"if new.revision and new.revision ~= old.revision and", "if"},
	"a policy that goes leaves its entries":         {"  policy.purge(slot, counters.operations_now(slot))\n", ""},
	"an operation that is off keeps its entries":    {"    invalidation.of_operation(slot, op, HARD, work)\n    local lag", "    local lag"},
	"a lowered TTL shortens nothing":                {"local shorter = life_of(rule) <", "local shorter = false and life_of(rule) <"},
	"more jitter than is said":                      {"local max = math.floor(ttl * percent / 100)", "local max = ttl - 1"},
	"negative entries are like others":              {"heads.flags + options.flags", "heads.flags + options.flags % FLAG_NEGATIVE"},
	"entries without a user under scope User":       {"(rule.scope == 'User' and user == '') or", ""},
	"payloads of any size":                          {"'') or bytes > rule.max then", "'') then"},
	"a load lock for everybody":                     {"    if left > 0 then return false", "    if false then return false"},
	"a load lock for nobody":                        {"  if differs_by_fence(lock.read(slot, name), heads) then\n    local left = call('PTTL', key)\n", "  do local left = 1\n"},
	"a fill keeps its load lock":                    {"  lock.release(slot, name_of(slot, op, member), plain)\n", ""},
	"a fill that is not stored keeps its load lock": {"  unlocked(slot, op, member_of(user, id), token)\n", ""},
	"a deletion takes the locks of others":          {"  if differs_by_fence(lock.read(slot, name), heads) then", "  if lock.read(slot, name) == heads.token then"},
	"a request is done again":                       {"  if answer then return answer end\n", ""},
	"a request id is good for anything":             {"if answer and asked ~= '' and asked ~= digest then", "if false then"},
	"epochs are drawn again":                        {"string.sub(draw(slot), 1, 2 * EPOCH_LEN)", "string.rep('00', EPOCH_LEN)"},
	"members of shared entries are like a user's":   {"if user == '' then return '0::' .. id end", "if user == '' then return '1:u:' .. id end"},
	"one miss counts for two":                       {"  count(slot, 'misses', op)\n", "  count(slot, 'misses', op, '2')\n"},
	"nothing is reclaimed":                          {"function entries.unlink(slot, keys)\n", "function entries.unlink(slot, keys)\n  if #keys > 1 then return #keys end\n"},
	"refreshing is for everybody":                   {"if lock.take(slot, name, heads, ms) then", "do"},
	"the hash is of another text":                   {"local hash, intact_hash = redis.sha1hex(text)", "local hash, intact_hash = redis.sha1hex(text .. ' ')"},
	"a lease goes by no mark":                       {"  if is_held then return answer_held(slot, op, user, name) end\n", ""},
	"a lease goes by no mark of an entry":           {"  return value and marks.is_mark(value)\n", "  return false\n"},
	"reclaim goes by no mark":                       {"call('EXISTS', marks.entries_key(slot)) == 0 then return keys", "true then return keys"},
	"nobody knows that entries are held":            {"  marks.note_entry(held.slot, deadline)\n", ""},
	"an operation loses its mark":                   {"  if operation.held then\n    call('UNLINK', of_op.deletions)", "  if false then\n    call('UNLINK', of_op.deletions)"},
	"a module loses its mark":                       {"return not marks.is_at(key) and call('UNLINK', key) == 1", "return call('UNLINK', key) == 1"},
	"a user loses the mark":                         {"  if not value or not marks.is_mark(value) then call('UNLINK', key) end\n", "  call('UNLINK', key)\n"},
	"soft takes marks":                              {"  if not value or marks.is_mark(value) then return end\n", "  if not value then return end\n"},
	"a deletion takes the mark":                     {"  local is_entry = header ~= '' and not marks.is_mark(header)\n", "  local is_entry = header ~= ''\n"},
	"a policy lengthens marks":                      {"    if not marks.is_at(key) then keep_for(key, ms, slack) end\n", "    keep_for(key, ms, slack)\n"},
	"a policy takes marks":                          {"      if marks.is_garbage(key) then foreign.drop(key) end\n", "      foreign.drop(key)\n"},
	"a hold invalidates nothing":                    {"  local live = hold.invalidate(held, thing, value, true)\n", "  local live = 0\n"},
	"a release lets stay what has no mark":          {"    hold.invalidate(held, thing, value or read_header(thing.key))\n", ""},
	"a release ends the holds of others":            {"    if record.id ~= id then others", "    if false then others"},
	"a renewal brings no end forward":               {"      record.deadline = deadline\n", "      record.deadline = math.max(record.deadline, deadline)\n"},
	"held reads are misses":                         {"  count(slot, 'heldReads', op)\n", "  count(slot, 'misses', op)\n"},
}

// rareMutants are found by sequences that hardly come about by chance.
var rareMutants = map[string]struct {
	text, instead string
	steps         []step
}{
	"a former primary remembers a rule that another replaced": {
		"then deletions.renew_fence(slot, op) end", "then end", []step{
			{Do: "fill", Key: key{op: "list", id: "a"}},
			{Do: "fail over"},
			{Do: "apply", Policy: policy{Default: 600_000}},
			{Do: "fail over"},
			{Do: "fill", Key: key{op: "list", id: "b"}},
		},
	},
	"a fill with the token of another entry goes by no mark": {
		"  if first == MARK_BYTE and marks.is_mark(old) then return false end\n", "", []step{
			{Do: "hold", Key: key{op: "list", id: "a"}, Scope: "entry", Request: "A", Size: 1},
			{Do: "get", Key: key{op: "list", id: "b"}},
			{Do: "set", Key: key{op: "list", id: "a"}, Size: 30},
		},
	},
	"a release of an entry fences nothing": {
		"    if op_head then hold.fence(held, thing, op_head) end\n", "", []step{
			{Do: "hold", Key: key{op: "list", id: "a"}, Scope: "entry", Request: "A", Size: 1},
			{Do: "get", Key: key{op: "list", id: "b"}},
			{Do: "release", Key: key{op: "list", id: "a"}, Scope: "entry", Request: "A"},
			{Do: "set", Key: key{op: "list", id: "a"}, Size: 30},
		},
	},
	"a reader gets what another version stored": {
		"string.sub(value, from, from + #schema - 1) == schema and from + #schema or nil", "from + #schema", []step{
			{Do: "fill", Key: key{op: "list", id: "a"}, Schema: "v1"},
			{Do: "get", Key: key{op: "list", id: "a"}, Schema: "v2"},
		},
	},
	"a reader of a schema gets what has none": {
		"  if has_schema ~= (schema ~= schemas.NONE) then return nil end\n", "", []step{
			{Do: "fill", Key: key{op: "list", id: "a"}},
			{Do: "get", Key: key{op: "list", id: "a"}, Schema: "v1"},
		},
	},
	"a fill forgets its schema": {
		"heads.flags + options.flags", "heads.flags + bit.band(options.flags, FLAG_NEGATIVE)", []step{
			{Do: "fill", Key: key{op: "list", id: "a"}, Schema: "v1"},
			{Do: "get", Key: key{op: "list", id: "a"}, Schema: "v1"},
		},
	},
	"a fill without a lease is never fenced": {
		"  if token ~= heads.token and is_fenced(", "  if not options.heads and token ~= heads.token and is_fenced(", []step{
			{Do: "fill", Key: key{op: "list", id: "b"}},
			{Do: "get", Key: key{op: "list", id: "a"}, Unleased: true},
			{Do: "delete", Key: key{op: "list", id: "a"}},
			{Do: "set", Key: key{op: "list", id: "a"}, Unleased: true},
		},
	},
	"a fill without a lease, or without counters, goes by no limit of operations": {
		"of_op.fields.fills, '1') end", "of_op.fields.fills, '2') end", []step{
			{Do: "fill", Key: key{op: "list", id: "b"}},
			{Do: "fill", Key: key{op: "list", id: "a"}, Unleased: true},
			{Do: "stats"},
		},
	},
	"a purge leaves no mark while the source lags": {
		"  if has_lag then source_lag.mark_head(slot, op, user) end\n", "", lagging(
			step{Do: "fill", Key: key{op: "list", id: "a"}},
			step{Do: "invalidate", Key: key{op: "list"}, Scope: "operation", Mode: "hard"},
		),
	},
	"a deletion leaves no mark while the source lags": {
		"  source_lag.mark_entry(slot, op, key)\n  return live and", "  return live and", lagging(
			step{Do: "fill", Key: key{op: "list", id: "a"}},
			step{Do: "delete", Key: key{op: "list", id: "a"}},
		),
	},
	"a release leaves no mark while the source lags": {
		"  hold.mark_lag(held, thing)\n", "", lagging(
			step{Do: "hold", Key: key{op: "list", id: "a"}, Scope: "entry", Request: "A", Size: 1},
			step{Do: "release", Key: key{op: "list", id: "a"}, Scope: "entry", Request: "A"},
		),
	},
	"a lag ends holds": {
		"  local records = mark and marks.parse(mark, now) or {}\n", "  local records = {}\n", lagging(
			step{Do: "hold", Key: key{op: "list"}, Scope: "operation", Request: "A", Size: 1},
			step{Do: "invalidate", Key: key{op: "list"}, Scope: "operation", Mode: "hard"},
		),
	},
	"a put leaves no mark while the source lags": {
		"  source_lag.mark_entry(slot, op, key)\n  return answer", "  return answer", lagging(
			step{Do: "put", Key: key{op: "list", id: "a"}, Option: "negative"},
		),
	},
	"a put that stores nothing deletes nothing": {
		"  deletions.of_entry(slot, op, user, id, read_header(key))\n  source_lag", "  source_lag", []step{
			{Do: "apply", Policy: policy{Operations: map[string]rule{"list": {TTL: 60_000, MaxBytes: 10}}}},
			{Do: "fill", Key: key{op: "list", id: "a"}},
			{Do: "put", Key: key{op: "list", id: "a"}, Size: 30},
			{Do: "read", Key: key{op: "list", id: "a"}},
		},
	},
	"a put fences no load": {
		"  deletions.fence(slot, of_op, name, heads.raw[2])\n  call", "  call", []step{
			{Do: "get", Key: key{op: "list", id: "a"}},
			{Do: "put", Key: key{op: "list", id: "a"}},
			{Do: "set", Key: key{op: "list", id: "a"}},
		},
	},
	"a put fences all loads": {
		"  deletions.fence(slot, of_op, name, heads.raw[2])\n  call", "  call('SETRANGE', of_op.head, deletions.FENCE_AT, new_epoch(slot))\n  call", []step{
			{Do: "get", Key: key{op: "list", id: "a"}},
			{Do: "put", Key: key{op: "list", id: "b"}},
			{Do: "set", Key: key{op: "list", id: "a"}},
		},
	},
	"a put keeps the load lock": {
		"  call('UNLINK', lock_key(slot, name))\n  return heads", "  return heads", []step{
			{Do: "get", Key: key{op: "list", id: "a"}, Lock: 60_000},
			{Do: "put", Key: key{op: "list", id: "a"}},
			{Do: "unlock", Key: key{op: "list", id: "a"}},
		},
	},
	"a put goes by no mark": {
		"  if heads.held or marks.is_at(of_op.entries .. member) then", "  if heads.held then", []step{
			{Do: "hold", Key: key{op: "list", id: "a"}, Scope: "entry", Request: "A", Size: 1},
			{Do: "put", Key: key{op: "list", id: "a"}},
		},
	},
	"a put is not counted": {
		"  count(slot, 'fills', op)\n", "", []step{
			{Do: "put", Key: key{op: "list", id: "a"}},
			{Do: "stats"},
		},
	},
	"a TTL lengthens": {
		"  if wanted <= ttl then return wanted end\n", "  do return wanted end\n", []step{
			{Do: "put", Key: key{op: "list", id: "a"}, TTL: 700_000},
		},
	},
	"a TTL is not the end": {
		"  if wanted then return ttl, ", "  if wanted then ttl = ttl + rule.stale return ttl, ", []step{
			{Do: "apply", Policy: policy{Operations: map[string]rule{"list": {TTL: 60_000, Stale: 600_000}}}},
			{Do: "put", Key: key{op: "list", id: "a"}, TTL: 30},
			{Do: "wait", Size: 80},
			{Do: "read", Key: key{op: "list", id: "a"}},
		},
	},
	"a module lags no longer than its policy": {
		"    if rule.lag > whole then", "    if false then", lagging(
			step{Do: "invalidate", Scope: "module", Mode: "hard"},
		),
	},
	"an operation that is off does not lag": {
		"    source_lag.mark(operation_head_key(slot, op), lag)\n", "", lagging(
			step{Do: "fill", Key: key{op: "x", id: "a"}},
			step{Do: "apply", Policy: policy{Operations: map[string]rule{"list": {TTL: 60_000}}}},
		),
	},
	"an operation of a user lags without the user": {
		"  if marks_user then return", "  if op == '' then return", lagging(
			step{Do: "fill", Key: key{op: "x", user: "u", id: "a"}},
			step{Do: "fill", Key: key{op: "list", user: "u", id: "a"}},
			step{Do: "invalidate", Key: key{op: "list", user: "u"}, Scope: "user's operation", Mode: "dry"},
		),
	},
	"a mark keeps holders that have ended": {
		"    if deadline >= now then\n      local id", "    do\n      local id", []step{
			{Do: "hold", Key: key{op: "list"}, Scope: "operation", Request: "A", Size: 1},
			{Do: "hold", Key: key{op: "list"}, Scope: "operation", Request: "B", Size: 0},
			{Do: "release", Key: key{op: "list"}, Scope: "operation", Request: "B"},
		},
	},
}

// lagging puts a policy with lags in force before these steps.
func lagging(steps ...step) []step {
	lags := policy{Default: 60_000, Lag: 45_000, Operations: map[string]rule{"list": {TTL: 60_000, Lag: longLag}}}
	return append([]step{{Do: "apply", Policy: lags}}, steps...)
}

const triesOfAMutant = 3000

// firstFinds are the numbers of sequences that found a mutant which few sequences find. The search
// begins there, which saves most of its time, and ends at the same number.
var firstFinds = map[string]int{
	"a request is done again":              1244,
	"a deletion takes the locks of others": 767,
	"a deletion fences no load":            671,
	"soft takes marks":                     550,
	"a renewal brings no end forward":      509,
	"a release ends the holds of others":   424,
	"reclaim goes by no mark":              253,
	"nobody knows that entries are held":   253,
	"a deletion takes the mark":            168,
	"a policy lengthens marks":             146,
	"refreshing is for everybody":          137,
	"a module keeps the head":              102,
}

// The model is no use unless it finds what is wrong.
func TestTheModelFindsEachMutant(t *testing.T) {
	servers := start(t)
	for name, mutant := range mutants {
		t.Run(name, func(t *testing.T) {
			library := mutated(t, servers, mutant.text, mutant.instead)
			for i := range triesOfAMutant {
				seed := (firstFinds[name] + i) % triesOfAMutant
				if err := runSequence(t.Context(), servers, library, sequences().Example(seed)); err != nil {
					reason, _, _ := strings.Cut(err.Error(), "\n")
					t.Logf("found by sequence %d: %.200s", seed, reason)
					return
				}
			}
			t.Error("it is not found")
		})
	}
	t.Run("none", func(t *testing.T) {
		load(t, servers, registry.Library)
		for seed := range 100 {
			if err := runSequence(t.Context(), servers, registry.Library, sequences().Example(seed)); err != nil {
				t.Fatal(err)
			}
		}
	})
	for name, mutant := range rareMutants {
		t.Run(name, func(t *testing.T) {
			load(t, servers, registry.Library)
			if err := runSequence(t.Context(), servers, registry.Library, mutant.steps); err != nil {
				t.Fatal(err)
			}
			library := mutated(t, servers, mutant.text, mutant.instead)
			if err := runSequence(t.Context(), servers, library, mutant.steps); err == nil {
				t.Error("it is not found")
			}
		})
	}
}

// mutated loads the library with another text in place of one that is there once.
func mutated(t *testing.T, servers [2]*redis.Client, text, instead string) string {
	t.Helper()
	if n := strings.Count(registry.Library, text); n != 1 {
		t.Fatalf("the library has %d times %q: name what makes this mutant now", n, text)
	}
	library := strings.Replace(registry.Library, text, instead, 1)
	load(t, servers, library)
	return library
}
