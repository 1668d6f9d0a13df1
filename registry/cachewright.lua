#!lua name=cachewright
-- Copyright The Cachewright Authors.
-- SPDX-License-Identifier: Apache-2.0
--
-- The Cachewright function library, protocol version 1. docs/protocol.md specifies calls, keys and
-- bytes; this file is the only place that writes them. By hand:
--
--     redis-cli -x FUNCTION LOAD REPLACE < registry/cachewright.lua
--
-- How it works, in five sentences. Each module of a namespace is a slot of keys on one node, so a
-- call is atomic. A slot, each of its operations and each of its users has a head: a string that
-- holds an epoch. An entry carries the epochs that were in place when its load began, and is live
-- iff every head that covers it exists and holds the same epoch. Invalidation deletes a head, which
-- is O(1), and sets the index of what it covered aside, so that memory is given back in small steps.
-- Nothing depends on a clock, a counter or on what is evicted: whatever is missing is a miss. (A soft
-- invalidation puts a second epoch into the head: an entry that differs only there is stale, to be
-- served while one caller loads anew.)

-- VERSION is replaced on each change of this file; the operator and the Go client load theirs over
-- a lower one.
local VERSION = 3

-- call runs a command. It is redis.call, which is not there yet while Redis loads the library, or careful: see guarded.
local call

local EPOCH_LEN = 11
local HEADER_FIXED_LEN = 18 -- version, flags, fresh-until, slice and chunk; the epochs follow
local ENTRY_VERSION = 1
local FLAG_USER = 1
local FLAG_NEGATIVE = 2
local FLAG_SOFT = {16, 32, 64} -- the entry carries a soft epoch of the module, operation, user
local TO_HEADER_END = (HEADER_FIXED_LEN + 6 * EPOCH_LEN - 1) .. '' -- of the longest header
local FRESH_UNTIL_AT = 2
local LISTED_AT = 10
local OPERATION_EPOCH_AT = HEADER_FIXED_LEN + EPOCH_LEN
local USER_EPOCH_AT = HEADER_FIXED_LEN + 2 * EPOCH_LEN

-- Names of namespaces and modules are as long as Kubernetes allows.
local MAX_NAME_BYTES = 63
local MAX_OPERATION_BYTES = 128
local MAX_USER_BYTES = 256
local MAX_ID_BYTES = 1024
local MAX_PAYLOAD_BYTES = 64 * 1024 * 1024
local MAX_OPERATIONS = 256
local MAX_POLICY_BYTES = 128 * 1024
-- Operations that go by the default TTL: what concerns the whole module takes a step for each, and callers name them.
local MAX_UNLISTED = 128
local MAX_TTL_MS = 720 * 3600 * 1000
local MAX_JITTER_PERCENT = 50

-- An index of at most this many keys is reclaimed by the call that invalidates: more would show in the time
-- of that call.
local INLINE_RECLAIM_KEYS = 128
-- Keys a cw_reclaim call looks at, at the most: less than a millisecond.
local MAX_RECLAIM_KEYS = 200
-- To shorten an entry's life, or to take it out of an index that is in sight, costs as much as to free so many.
local MEMBER_COST = 2
-- And so does a piece of work, however few members it has.
local WORK_COST = 8
-- Lengths and headers that a call looks at to count, at the most, and of each operation at the least.
local COUNT_LOOKS = 512
local LEAST_LOOKS = 4
-- An operation's index has 16 to 32 slices for the time that an entry lives.
local SLICES = 16
-- A slice is kept in chunks of so many members, so that one can be taken out in microseconds.
local CHUNK_MEMBERS = 512
local MAX_CHUNK = 65535

-- Whoever has the rights of a namespace can write anything into its keys. What is larger than this library ever makes it is
-- not read: it is dropped.
local bounds = {
  listed_bytes = 4 + MAX_OPERATION_BYTES + 5 + MAX_USER_BYTES + 1 + MAX_ID_BYTES, -- a name in an index
  chunk_members = 2 * CHUNK_MEMBERS, -- a chunk that another primary filled, too, may have more than CHUNK_MEMBERS
  chunk_bytes = 1024 * 1024,
  slices = 512,
  slice_bytes = 160, -- in an index' hash, with what Redis adds
  slice_exponent = 31,
  time_ms = 2 ^ 43, -- in the year 2248
  read_bytes = 1024 * 1024, -- of members, in one call, in order to count
  member_bytes = 2048, -- what is longer counts as several members
  slices_in_all = 5120, -- that a call reads: those of 128 operations that are filled all the time
}
-- A lease keeps its heads for a load as long as an entry lives, at least this long, and for the entry
-- that is filled then. A load that takes longer is fenced: its value is older than entries may be.
local MIN_LOAD_MS = 5000
-- Heads and indexes outlive the entries they cover by this.
local MARGIN_MS = 1000
-- Redis counts an entry's time from another reading of the clock than ours, milliseconds apart.
local CLOCK_SLACK_MS = 10
-- Arguments that one command takes, where it may take many.
local BATCH = 500

local COUNTERS = {'hits', 'misses', 'stale', 'errors', 'fills', 'fenced', 'invalidations'}
local REPORTED = {hits = true, misses = true, stale = true, errors = true}

---------------------------------------------------------------------------------------------------
-- Keys. slot is KEYS[1], cw:{<namespace>/<module>}.
--
-- The keys of slots and operations are made once and remembered: Redis hashes each byte of each string that Lua
-- makes, so making them anew would cost more than all else that a fill does here.

-- What is remembered lives as long as the loaded library, on this server alone: one that was a replica in between has missed
-- calls. So it hangs on bytes that change with what it says, and each of these is emptied when it is full. Full is a number of
-- bytes: names are as long as callers like, and what Lua holds is beside maxmemory.
--
--   slots          keys, which follow from names. A policy that is written drops a slot's, see forget.
--   rules_by_text  rules, which follow from their text.
--   heads_by_text  what heads say, which follows from their bytes. And with them a rule: void when the operation's fence
--                  changes, which each change of its rule renews, or when the slot's keys (of_op) were dropped; and
--                  kept_by, the rule that a user's head was made to last for.
--   open_chunks    the chunks that are being filled, by epoch and slice. The index has the last word: turn_over asks it
--                  when a chunk is begun or full, and close_slice, which moves it on, drops what is remembered.

local function new_memory(most) return {items = {}, bytes = 0, most = most} end

local function empty(memory) memory.items, memory.bytes = {}, 0 end

local KIB = 1024
local heads_by_text = new_memory(2560 * KIB)
local slots = new_memory(2560 * KIB)
local rules_by_text = new_memory(256 * KIB)
local open_chunks = new_memory(512 * KIB)

-- make_room is called before something is remembered that takes about so many bytes of the Lua VM. Heads refer to keys and
-- rules, so they do not outlast them.
local function make_room(memory, bytes)
  if memory.bytes + bytes > memory.most then
    empty(memory)
    if memory ~= open_chunks then empty(heads_by_text) end
  end
  memory.bytes = memory.bytes + bytes
end

local function keys_of(slot)
  local keys = slots.items[slot]
  if keys then return keys end
  make_room(slots, 900 + 6 * #slot)
  keys = {
    policy = slot .. ':policy', counters = slot .. ':counters', pending = slot .. ':pending',
    module_head = slot .. ':m', entries = slot .. ':e:', operations = {},
  }
  slots.items[slot] = keys
  return keys
end

-- forget also parts the slot's operations from the rules that are remembered for them.
local function forget(slot) slots.items[slot] = nil end

local function make_keys_of_operation(slot, op)
  make_room(slots, 1700 + 2 * #slot + 11 * #op)
  local of_slot = keys_of(slot)
  local keys = {
    module_head = of_slot.module_head, counters = of_slot.counters, fields = {}, -- of the counters
    head = slot .. ':o:' .. op, rule = 'o:' .. op, name = #op .. ':' .. op .. ':',
    entries = of_slot.entries .. #op .. ':' .. op .. ':',
  }
  for _, counter in ipairs(COUNTERS) do keys.fields[counter] = counter .. ':' .. op end
  of_slot.operations[op] = keys
  return keys
end

local function keys_of_operation(slot, op)
  local of_slot = slots.items[slot]
  return of_slot and of_slot.operations[op] or make_keys_of_operation(slot, op)
end

local function policy_key(slot) return keys_of(slot).policy end
local function counters_key(slot) return keys_of(slot).counters end
local function pending_key(slot) return keys_of(slot).pending end
local function module_head_key(slot) return keys_of(slot).module_head end
local function operation_head_key(slot, op) return keys_of_operation(slot, op).head end
local function user_head_key(slot, user) return slot .. ':u:' .. user end
local function index_key(slot, epoch) return slot .. ':i:' .. epoch end
local function chunk_key(slot, epoch, slice, chunk)
  return slot .. ':i:' .. epoch .. string.format(':%d:%d', slice, chunk)
end
local function user_index_key(slot, user) return slot .. ':iu:' .. user end
local function deletions_key(slot, op) return slot .. ':d:' .. op end
local function lock_key(slot, name) return slot .. ':l:' .. name end
local function request_key(slot, request_id) return slot .. ':r:' .. request_id end

-- A name is what tells an entry from others of its slot: the operation, then the member, which tells it from
-- others of the operation. Lengths make both unambiguous for any bytes.
local function member_of(user, id)
  if user == '' then return '0::' .. id end
  return #user .. ':' .. user .. ':' .. id
end
local function name_of(slot, op, member) return keys_of_operation(slot, op).name .. member end
local function entry_key(slot, name) return keys_of(slot).entries .. name end
local function member_key(slot, op, member) return keys_of_operation(slot, op).entries .. member end

-- counted cuts a string of at least and at most so many bytes, that stands behind its length and a colon, off, and returns what
-- follows too; nil where the text is not like that.
local function counted(text, least, most)
  local digits, from = string.match(text, '^(%d%d?%d?%d?):()')
  local length = tonumber(digits)
  if not length or length < least or length > most or length .. '' ~= digits then return nil end
  local to = from + length
  if string.byte(text, to) ~= 58 then return nil end
  return string.sub(text, from, to - 1), string.sub(text, to + 1)
end

-- parse_member returns the user of a member, '' for none; nil where it is no member.
local function parse_member(member)
  if #member > bounds.listed_bytes then return nil end
  local user, id = counted(member, 0, MAX_USER_BYTES)
  return user and #id <= MAX_ID_BYTES and user or nil
end

-- parse_name returns operation, member and user of a name; nil where it is none.
local function parse_name(name)
  if #name > bounds.listed_bytes then return nil end
  local op, member = counted(name, 1, MAX_OPERATION_BYTES)
  local user = op and parse_member(member)
  if user then return op, member, user end
end

---------------------------------------------------------------------------------------------------
-- Refusals. A bad call raises a table; guarded turns it into an error reply. Nothing is written
-- before a call's arguments were found good. All errors begin with CACHEWRIGHT, those of Redis, too.

local function refuse(message)
  error({refusal = message}, 0)
end

-- dropped is set where a call met a key that the library did not make.
local careful, guarded, guarded_hot, dropped
do
-- What commands that write nothing answer where there is no key.
local LISTS = {HGETALL = true, HKEYS = true, LRANGE = true}
local NUMBERS = {HLEN = 0, HSTRLEN = 0, LLEN = 0}
local TEXTS = {GETRANGE = ''}

local read_only

local function text_of(failure)
  if type(failure) == 'table' then return tostring(failure.err or failure.refusal) end
  return tostring(failure)
end

local function begins(text, beginning) return string.sub(text, 1, #beginning) == beginning end

local function is_no_counter(text)
  return begins(text, 'ERR hash value is not an integer') or begins(text, 'ERR increment or decrement would overflow')
end

-- without_key is what a command answers where its key is of another type than this library makes it: the key goes.
local function without_key(...)
  local command, key = ...
  dropped = true
  if not read_only then
    redis.pcall('UNLINK', key)
    return redis.pcall(...)
  end
  if LISTS[command] then return {} end
  return NUMBERS[command] or TEXTS[command] or false
end

local function again(text, ...)
  if begins(text, 'WRONGTYPE') then return without_key(...) end
  local command, key, field = ...
  if command ~= 'HINCRBY' or not is_no_counter(text) then return nil end
  redis.pcall('HDEL', key, field)
  return redis.pcall(...)
end

-- careful is redis.call that makes its way: a key of a strange type goes, and so does a counter that is no number.
function careful(...)
  local reply = redis.pcall(...)
  if type(reply) ~= 'table' or not reply.err then return reply end
  local second = again(reply.err, ...)
  if second == nil then error(reply, 0) end
  if type(second) == 'table' and second.err then error(second, 0) end
  return second
end

local function is_damage(text) return begins(text, 'WRONGTYPE') or is_no_counter(text) end

-- The collector of the Lua VM goes on as callers need memory, which is late for arguments that are large. So calls that are not
-- hot, and those with large payloads, see to it that garbage does not pile up.
local collect_above = 12 * KIB

local function collect_garbage()
  if collectgarbage('count') < collect_above then return end
  collectgarbage()
  collect_above = math.max(12 * KIB, 2 * collectgarbage('count'))
end

local LARGE_PAYLOAD = 16 * KIB

local function refusal_of(failure)
  collect_garbage()
  return redis.error_reply('CACHEWRIGHT ' .. string.sub(text_of(failure), 1, 512))
end

local function with_care(fn, keys, args, is_read_only)
  call, dropped, read_only = careful, false, is_read_only
  local ok, reply = pcall(fn, keys, args)
  if not ok then return refusal_of(reply) end
  collect_garbage()
  return reply
end

-- guarded makes a function of the library of one that raises refusals.
function guarded(fn, is_read_only)
  return function(keys, args) return with_care(fn, keys, args, is_read_only) end
end

-- guarded_hot does the same for one that trusts in types of keys until they fail it, and is begun again with care then.
function guarded_hot(fn)
  return function(keys, args)
    call = redis.call
    local ok, reply = pcall(fn, keys, args)
    if not ok then return is_damage(text_of(reply)) and with_care(fn, keys, args, false) or refusal_of(reply) end
    local payload = args[4] or type(reply) == 'table' and reply[2]
    if payload and #payload > LARGE_PAYLOAD then collect_garbage() end
    return reply
  end
end
end

local function slot_of(keys, call)
  if #keys ~= 1 then
    refuse(call .. ' takes exactly one key, cw:{<namespace>/<module>}, not ' .. #keys)
  end
  local slot = keys[1]
  if slots.items[slot] then return slot end
  local namespace, module
  if #slot <= #'cw:{/}' + 2 * MAX_NAME_BYTES then namespace, module = string.match(slot, '^cw:{([%w._-]+)/([%w._-]+)}$') end
  if not namespace or #namespace > MAX_NAME_BYTES or #module > MAX_NAME_BYTES then
    refuse(call .. ': the key must be cw:{<namespace>/<module>}, names of 1 to ' .. MAX_NAME_BYTES
      .. " letters, digits, '.', '_' and '-'")
  end
  return slot
end

local function want_args(call, args, names, count)
  if #args ~= count then
    refuse(call .. ' takes ' .. count .. ' arguments (' .. names .. '), not ' .. #args)
  end
end

local function want_bytes(call, what, value, min, max)
  if #value < min or #value > max then
    refuse(call .. ': ' .. what .. ' must have ' .. min .. ' to ' .. max .. ' bytes, not ' .. #value)
  end
end

local function want_entry(call, op, id, user)
  if op ~= '' and #op <= MAX_OPERATION_BYTES and #id <= MAX_ID_BYTES and #user <= MAX_USER_BYTES then return end
  want_bytes(call, 'op', op, 1, MAX_OPERATION_BYTES)
  want_bytes(call, 'id', id, 0, MAX_ID_BYTES)
  want_bytes(call, 'user', user, 0, MAX_USER_BYTES)
end

---------------------------------------------------------------------------------------------------
-- Reading what anybody may have written.

local function drop(key)
  dropped = true
  redis.pcall('UNLINK', key) -- refused in calls that write nothing, which leave it to others
end

-- weight returns how many bytes a key takes, judged by so many of its elements; 0: all.
local function weight(key, samples)
  return tonumber(call('MEMORY', 'USAGE', key, 'SAMPLES', samples or '0') or 0) or 0
end

-- hash_of returns the fields and values of a hash. One of more fields or bytes goes.
local function hash_of(key, most, bytes, known_count)
  local count = known_count or call('HLEN', key)
  if count == 0 then return {} end
  if count > most or weight(key) > bytes then
    drop(key)
    return {}
  end
  return call('HGETALL', key)
end

-- drop_fields takes out of a hash what this library did not put there.
local function drop_fields(key, fields)
  for from = 1, #fields, 500 do redis.pcall('HDEL', key, unpack(fields, from, math.min(from + 499, #fields))) end
  dropped = dropped or #fields > 0
end

-- field_of returns a field of a hash, false where it is missing; of a longer one nothing is read.
local function field_of(key, field, most)
  return call('HSTRLEN', key, field) > most and '' or call('HGET', key, field)
end

-- whole returns the number that digits stand for, nil where they are none or too many to be exact.
local function whole(digits)
  return digits and #digits <= 15 and string.find(digits, '^%d+$') and tonumber(digits) or nil
end

---------------------------------------------------------------------------------------------------
-- Work of a call. Other clients wait while a call runs, so what it takes on is bounded, whatever the number of entries: how
-- much it looks at in order to count (looks, shared by so many operations), and how many members it frees or shortens. The
-- rest it leaves for later.

local function new_work(operations, members)
  return {
    looks = COUNT_LOOKS, operations = operations, members = members, later = {}, over = 0,
    slices = bounds.slices_in_all, bytes = bounds.read_bytes, inspected = 0, size = 0,
  }
end

-- looks_of returns how much may be looked at of the next operation.
local function looks_of(work)
  return math.max(LEAST_LOOKS, math.floor(work.looks / math.max(1, work.operations)))
end

local function spend_looks(work, looks) work.looks = math.max(0, work.looks - looks) end

local function spend_members(work, members) work.members = math.max(0, work.members - members) end

-- batched hands items to a function, many at a time, and adds up what it returns.
local function batched(items, fn)
  local sum = 0
  for from = 1, #items, BATCH do sum = sum + fn(unpack(items, from, math.min(from + BATCH - 1, #items))) end
  return sum
end

---------------------------------------------------------------------------------------------------
-- Time and epochs.

local function now_ms()
  local t = call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

local draw, new_epoch
do
local ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

-- The generator's state. It lives as long as the loaded library and is mixed with all that tells
-- this server, this moment and this load from any other, so a restart, a restored snapshot or a
-- promoted replica cannot draw an epoch again.
local entropy = nil

function draw(slot)
  if not entropy then
    -- INFO has the run id, random per process, and CPU times that only grow. A tenant's ACL may
    -- forbid it: then clock, addresses and the slot have to do until the next load.
    local info = redis.pcall('INFO', 'server', 'cpu', 'stats')
    entropy = type(info) == 'string' and info or ''
  end
  local t = call('TIME')
  entropy = redis.sha1hex(entropy .. slot .. t[1] .. '.' .. t[2] .. tostring({}))
  return entropy
end

-- new_epoch returns 66 bits of the generator in 11 characters of base64url.
function new_epoch(slot)
  local hex = draw(slot)
  local chars = {}
  for i = 1, EPOCH_LEN do
    local six = tonumber(string.sub(hex, 2 * i - 1, 2 * i), 16) % 64
    chars[i] = string.sub(ALPHABET, six + 1, six + 1)
  end
  return table.concat(chars)
end
end

---------------------------------------------------------------------------------------------------
-- Policy: a hash with the document and, for each operation, a rule that a fill can read without
-- parsing JSON. Fields: json, hash, revision (the last one that was not empty), default, o:<op>, and a seal on them all.

-- slice_exponent gives SLICES to twice as many slices to the life of an entry.
local function slice_exponent(life)
  local _, exponent = math.frexp(life / SLICES)
  return math.max(0, exponent - 1)
end

local function encode_rule(rule)
  return string.format('%d %d %d %d %s %d', rule.ttl, rule.stale, rule.negative, rule.jitter, rule.scope, rule.max)
end

-- life_of is how long an entry can be there: fresh, then stale.
local function life_of(rule) return rule.ttl + rule.stale end

-- heads_life is how long heads last for a load and for the entry that is filled then, and by how much more they are
-- extended when they fall short of it: clients track heads and hear of each write, so there must not be one with each
-- miss.
local function heads_life(rule)
  local life = math.max(life_of(rule), rule.negative)
  local load = math.max(life, MIN_LOAD_MS)
  return life + load + MARGIN_MS, math.floor(load / 2)
end

local decode_rule, rule_for, policy_fields, read_rules
do
local MAX_RULE_BYTES = 80

local function is_rule(rule)
  return rule.ttl and rule.ttl <= MAX_TTL_MS and rule.stale and rule.stale <= MAX_TTL_MS
    and rule.negative and rule.negative <= MAX_TTL_MS and rule.jitter and rule.jitter <= MAX_JITTER_PERCENT
    and (rule.scope == 'Any' or rule.scope == 'User') and rule.max and rule.max <= MAX_PAYLOAD_BYTES
end

-- decode_rule returns the rule of a text, nil where it is none. There are few of them, and each fill needs one.
function decode_rule(text)
  if not text or #text > MAX_RULE_BYTES then return nil end
  local known = rules_by_text.items[text]
  if known then return known end
  local ttl, stale, negative, jitter, scope, max = string.match(text, '^(%d+) (%d+) (%d+) (%d+) (%a+) (%d+)$')
  local rule = {
    ttl = whole(ttl), stale = whole(stale), negative = whole(negative), jitter = whole(jitter), scope = scope, max = whole(max),
  }
  if not is_rule(rule) then return nil end
  rule.exponent, rule.negative_exponent = slice_exponent(rule.ttl + rule.stale), slice_exponent(rule.negative)
  rule.lives = {} -- without jitter, as text
  for _, life in ipairs({rule.ttl + rule.stale, rule.negative}) do rule.lives[life] = string.format('%d', life) end
  make_room(rules_by_text, 1100 + 2 * #text)
  rules_by_text.items[text] = rule
  return rule
end


-- rule_for returns the rule an operation goes by, or nil where it is not cached.
function rule_for(slot, op)
  local key = policy_key(slot)
  local text = field_of(key, keys_of_operation(slot, op).rule, MAX_RULE_BYTES) or field_of(key, 'default', MAX_RULE_BYTES)
  local rule = decode_rule(text)
  if rule and rule.ttl > 0 then return rule end
  return nil
end

-- policy_fields returns the fields and values of the policy.
function policy_fields(slot)
  local most = MAX_OPERATIONS + 8
  return hash_of(policy_key(slot), most, MAX_POLICY_BYTES + most * 512)
end

function read_rules(slot)
  local fields = policy_fields(slot)
  local rules = {operations = {}}
  for i = 1, #fields, 2 do
    local field, value = fields[i], fields[i + 1]
    if field == 'default' then
      rules.default = decode_rule(value)
    elseif string.sub(field, 1, 2) == 'o:' and #field > 2 and #field <= 2 + MAX_OPERATION_BYTES then
      rules.operations[string.sub(field, 3)] = decode_rule(value)
    elseif field == 'hash' or field == 'revision' then
      rules[field] = value
    end
  end
  return rules
end

end

local function ttl_by(rules, op)
  local rule = rules.operations[op] or rules.default
  return rule and rule.ttl or 0
end

---------------------------------------------------------------------------------------------------
-- Counters: one hash, fields <counter>:<op>; "invalidations:" with no operation counts all of them. They also tell which
-- operations there are that the policy does not list: "unlisted" is how many, and "since" the module's epoch when it was
-- begun, from which on none is missing.

local function count(slot, counter, op, by)
  local keys = keys_of_operation(slot, op)
  call('HINCRBY', keys.counters, keys.fields[counter], by or '1')
end

local UNLISTED, SINCE = 'unlisted', 'since'
local admit, known_operations
do
local MAX_COUNTER_FIELDS = #COUNTERS * (MAX_OPERATIONS + MAX_UNLISTED + 1) + 2

local counter_names = {}
for i = 1, #COUNTERS do counter_names[COUNTERS[i]] = true end

-- operation_of returns the operation of a counter, '' for that of the module; nil where the field is none.
local function operation_of(field, value)
  if #field > 16 + MAX_OPERATION_BYTES or #value > 19 or not string.find(value, '^%d+$') then return nil end
  local counter, op = string.match(field, '^(%a+):(.*)$')
  if counter_names[counter] and #op <= MAX_OPERATION_BYTES then return op end
end

-- read_counters returns the counters by their fields, and lists the operations that they are of.
local function read_counters(slot)
  local key, counters, operations, seen, strange = counters_key(slot), {}, {}, {[''] = true}, {}
  local found = hash_of(key, MAX_COUNTER_FIELDS, MAX_COUNTER_FIELDS * 320)
  for i = 1, #found, 2 do
    local op = operation_of(found[i], found[i + 1])
    if op then
      counters[found[i]] = tonumber(found[i + 1])
      if not seen[op] then
        seen[op] = true
        operations[#operations + 1] = op
      end
    elseif found[i] ~= UNLISTED and found[i] ~= SINCE then
      strange[#strange + 1] = found[i]
    end
  end
  if #strange > 0 then drop_fields(key, strange) end
  return counters, operations
end

-- known_operations lists the operations that can have entries, those of the policy, and those that were read or filled under
-- its default, and returns the counters. Counters of more operations than have a place there go.
function known_operations(slot, rules)
  local list, unlisted, counters, counted_operations = {}, 0, read_counters(slot)
  for op in pairs(rules.operations) do list[#list + 1] = op end
  for _, op in ipairs(counted_operations) do
    if rules.operations[op] == nil then
      unlisted = unlisted + 1
      if unlisted <= MAX_UNLISTED then list[#list + 1] = op end
    end
  end
  if unlisted > MAX_UNLISTED then drop(counters_key(slot)) end
  table.sort(list)
  return list, counters
end

-- admit says whether an operation that is cached has a place among the counters, and gives it one: a caller that
-- invents operations under a default TTL must not grow the slot.
function admit(slot, op)
  local key, misses = counters_key(slot), keys_of_operation(slot, op).fields.misses
  if call('HEXISTS', key, misses) == 1 then return true end
  if call('HEXISTS', policy_key(slot), keys_of_operation(slot, op).rule) == 1 then return true end
  if (whole(field_of(key, UNLISTED, 15)) or 0) >= MAX_UNLISTED or call('HLEN', key) >= MAX_COUNTER_FIELDS then return false end
  call('HINCRBY', key, UNLISTED, '1')
  call('HINCRBY', key, misses, '0')
  return true
end
end

---------------------------------------------------------------------------------------------------
-- Heads. The module's and a user's hold an epoch, an operation's an epoch and a fence, which is renewed
-- by each deletion of a single entry and covers loads under way, not entries. A soft epoch follows
-- once there was a soft invalidation.

-- head_keys returns the keys of the heads that cover an entry: module, operation and user.
local function head_keys(slot, op, user)
  if user == '' then return {module_head_key(slot), operation_head_key(slot, op)} end
  return {module_head_key(slot), operation_head_key(slot, op), user_head_key(slot, user)}
end

local function epoch_of(head) return string.sub(head, 1, EPOCH_LEN) end

-- A token is a mark and the heads of its time in a row.
local PLAIN, LOCKED, LOCKED_BYTE = '1', '2', 50
local function token_of(raw) return PLAIN .. table.concat(raw) end

-- is_head says whether these bytes can be a head: whole, with or without a soft epoch. Others count as missing.
local function is_head(i, head)
  local hard = i == 2 and 2 * EPOCH_LEN or EPOCH_LEN
  return #head == hard or #head == hard + EPOCH_LEN
end

local heads_from
do
local function parse_heads(raw, user)
  local heads = {raw = raw, flags = user == '' and 0 or FLAG_USER, soft = ''}
  local epochs = {}
  for i = 1, user == '' and 2 or 3 do
    local head = raw[i]
    if head and is_head(i, head) then
      epochs[i] = epoch_of(head)
      local soft = string.sub(head, (i == 2 and 2 or 1) * EPOCH_LEN + 1)
      if soft ~= '' then
        heads.soft = heads.soft .. soft
        heads.flags = heads.flags + FLAG_SOFT[i]
      end
    else
      heads.missing, raw[i] = true, false
    end
  end
  if heads.missing then return heads end
  heads.epochs, heads.token, heads.index = table.concat(epochs), token_of(raw), epochs[2]
  heads.carried = heads.epochs .. heads.soft
  return heads
end

local SHARED = 0 -- stands for the head of a user where there is none

local function remember_heads(raw, user, heads)
  make_room(heads_by_text, 1800)
  local of_module = heads_by_text.items[raw[1]] or {}
  local of_operation = of_module[raw[2]] or {}
  heads_by_text.items[raw[1]], of_module[raw[2]] = of_module, of_operation
  of_operation[user == '' and SHARED or raw[3]] = heads
end

-- heads_from sums up what covers an entry. epochs and soft are what an entry must carry to be live and
-- fresh, carried is both; flags says which soft epochs those are, token is the lease's; epochs is nil where a head is
-- missing. It is remembered: heads change with invalidations, and are read with each call.
function heads_from(raw, user)
  local of_module = heads_by_text.items[raw[1]]
  local of_operation = of_module and of_module[raw[2]]
  local heads = of_operation and of_operation[user == '' and SHARED or raw[3]]
  if heads then return heads end
  heads = parse_heads(raw, user)
  if not heads.missing then remember_heads(raw, user, heads) end
  return heads
end
end

local function read_heads_by(of_op, slot, user)
  if user == '' then return heads_from(call('MGET', of_op.module_head, of_op.head), user) end
  return heads_from(call('MGET', of_op.module_head, of_op.head, user_head_key(slot, user)), user)
end

local function read_heads(slot, op, user) return read_heads_by(keys_of_operation(slot, op), slot, user) end

-- rule_under is rule_for, remembered with the heads: a rule that changes takes the operation's head along.
local function rule_under(heads, of_op, slot, op)
  if heads.rule and heads.of_op == of_op then return heads.rule end
  heads.rule, heads.of_op = rule_for(slot, op), of_op
  return heads.rule
end

local function fence_of(op_head) return string.sub(op_head, EPOCH_LEN + 1, 2 * EPOCH_LEN) end

-- fence_at returns before which byte of a token taken under such heads the operation's fence stands.
local function fence_at(heads) return 1 + #heads.raw[1] + EPOCH_LEN end

-- differs_by_fence says whether a token is that of the heads, but perhaps for the operation's fence.
local function differs_by_fence(token, heads)
  if #token ~= #heads.token then return false end
  local at = fence_at(heads)
  return string.sub(token, 1, at) .. fence_of(heads.raw[2]) .. string.sub(token, at + EPOCH_LEN + 1) == heads.token
end

local function soft_len(flags)
  local len = 0
  for _, flag in ipairs(FLAG_SOFT) do
    if bit.band(flags, flag) ~= 0 then len = len + EPOCH_LEN end
  end
  return len
end

-- read_entry makes sense of an entry's bytes (at least the header): nil where they are not live, else
-- where its payload begins, whether a soft invalidation made it stale, whether it is negative, and
-- until when it is fresh.
local function read_entry(value, heads, user)
  if not value or not heads.epochs or string.byte(value, 1) ~= ENTRY_VERSION then return nil end
  local flags = string.byte(value, 2) or 0
  local kind = user == '' and 0 or FLAG_USER
  -- 140 are the flags that nobody knows; a shared entry has no soft epoch of a user.
  if bit.band(flags, FLAG_USER) ~= kind or bit.band(flags, 140) ~= 0 then return nil end
  if kind == 0 and bit.band(flags, FLAG_SOFT[3]) ~= 0 then return nil end
  local from = HEADER_FIXED_LEN + #heads.epochs
  if string.sub(value, HEADER_FIXED_LEN + 1, from) ~= heads.epochs then return nil end
  local payload = from + soft_len(flags)
  if #value < payload then return nil end
  local negative = bit.band(flags, FLAG_NEGATIVE) ~= 0
  return {
    payload = payload + 1,
    soft_stale = flags - (negative and FLAG_NEGATIVE or 0) ~= heads.flags or string.sub(value, from + 1, payload) ~= heads.soft,
    negative = negative,
    fresh_until = math.min(bounds.time_ms, (struct.unpack('>I8', value, FRESH_UNTIL_AT + 1))),
  }
end

-- read_header returns enough of an entry to say whether it is live.
local function read_header(key) return call('GETRANGE', key, '0', TO_HEADER_END) end

-- text_at returns what a key holds, or false where there is none, or none that this library made: MGET takes that for
-- missing, and SET puts another in its place.
local function text_at(key) return call('MGET', key)[1] end

-- operation_epoch returns the epoch of an operation, or nil where its head is missing.
local function operation_epoch(slot, op)
  local head = text_at(operation_head_key(slot, op))
  return head and is_head(2, head) and epoch_of(head) or nil
end

-- in_sight lists those of the operations that have a head, each with its epoch.
local function in_sight(slot, operations)
  local keys, seen = {}, {}
  for i, op in ipairs(operations) do keys[i] = operation_head_key(slot, op) end
  for from = 1, #keys, BATCH do
    local heads = call('MGET', unpack(keys, from, math.min(from + BATCH - 1, #keys)))
    for i, head in ipairs(heads) do
      if head and is_head(2, head) then seen[#seen + 1] = {op = operations[from + i - 1], epoch = epoch_of(head)} end
    end
  end
  return seen
end

local function head_exists(key) return call('EXISTS', key) == 1 end

-- keep_for makes sure that a key, if it is there, lives at least this long; where it does not, by some slack longer.
local function keep_for(key, ms, slack)
  if call('PTTL', key) < ms then call('PEXPIRE', key, ms + (slack or 0)) end
end

---------------------------------------------------------------------------------------------------
-- Index of an operation: its entries by when they expire. Time is cut into slices; the members that expire in
-- the same one are kept in lists, its chunks, which are hardly larger than their members and go when the slice is
-- over. An entry's header tells slice and chunk. The index is named by the operation's epoch: without the
-- head it is out of sight. It is a hash of the slices, each with "<open> <closed>": the number of the chunk that
-- is being filled, and how many members those below have in all.
--
-- A slice is a number: 64 times its place in time, plus the exponent of its width, 2^exponent ms.

local function slice_for(expiry, exponent)
  local width = 2 ^ exponent
  return (expiry - expiry % width) / width * 64 + exponent
end

local function slice_begin(slice)
  local exponent = slice % 64
  return (slice - exponent) / 64 * 2 ^ exponent
end

local function slice_end(slice)
  local exponent = slice % 64
  return ((slice - exponent) / 64 + 1) * 2 ^ exponent
end

local function slice_name(slice) return string.format('%d', slice) end

local function parse_slice_state(text)
  if #text > 32 then return nil end
  local open, closed = string.match(text, '^(%d+) (%d+)$')
  open, closed = tonumber(open), tonumber(closed)
  if open and open <= MAX_CHUNK and closed <= open * bounds.chunk_members then return open, closed end
end

-- parse_slice returns the number of a slice, nil where the text is none.
local function parse_slice(text)
  local slice = #text <= 15 and string.find(text, '^[1-9]%d*$') and tonumber(text)
  if slice and slice % 64 <= bounds.slice_exponent and slice_end(slice) <= bounds.time_ms then return slice end
end

local function read_slice(slot, epoch, slice)
  local text = call('HGET', index_key(slot, epoch), slice_name(slice))
  if text then return parse_slice_state(text) end
end

local function write_slice(slot, epoch, slice, open, closed)
  call('HSET', index_key(slot, epoch), slice_name(slice), string.format('%d %d', open, math.max(0, closed)))
end

local function drop_slice(slot, epoch, slice)
  call('HDEL', index_key(slot, epoch), slice_name(slice))
end

-- slices_of lists the slices of an index, each with its state. How many there are may be known.
local function slices_of(slot, epoch, count)
  local key, slices, strange = index_key(slot, epoch), {}, {}
  local found = hash_of(key, bounds.slices, bounds.slices * bounds.slice_bytes, count)
  for i = 1, #found, 2 do
    local slice, open, closed = parse_slice(found[i]), parse_slice_state(found[i + 1])
    if slice and open then
      slices[#slices + 1] = {slice = slice, open = open, closed = closed, size = closed, length = nil}
    else
      strange[#strange + 1] = found[i]
    end
  end
  if #strange > 0 then drop_fields(key, strange) end
  return slices
end

local function chunk_length(slot, epoch, slice, chunk)
  return math.min(bounds.chunk_members, call('LLEN', chunk_key(slot, epoch, slice, chunk)))
end

-- readable returns the length of a chunk and its bytes, and drops it where it is too long or too large.
local function readable(chunk)
  local length = call('LLEN', chunk)
  if length == 0 then return 0, 0 end
  local bytes = length <= bounds.chunk_members and weight(chunk) or math.huge
  if bytes <= bounds.chunk_bytes then return length, bytes end
  drop(chunk)
  return 0, 0
end

-- cost_of returns what members cost that were read, in members of a usual length.
local function cost_of(members)
  local bytes = 0
  for _, member in ipairs(members) do bytes = bytes + #member end
  return math.max(#members, math.ceil(bytes / bounds.member_bytes)), bytes
end

-- pop_members takes up to so many members out of a chunk, and returns what that cost and whether others are left.
local function pop_members(chunk, most)
  local length = readable(chunk)
  if length == 0 then return {}, 1, false end
  local members = call('LPOP', chunk, most) or {}
  return members, math.max(1, (cost_of(members))), length > #members
end

local function slice_size(slot, epoch, at)
  return at.closed + chunk_length(slot, epoch, at.slice, at.open)
end

local enlist
do
-- The chunks that are being filled are remembered, by epoch and slice: {number, key}.
local function open_chunk(slot, epoch, slice)
  local of_epoch = open_chunks.items[epoch]
  local chunk = of_epoch and of_epoch[slice]
  if chunk then return chunk end
  local number = read_slice(slot, epoch, slice) or 0
  make_room(open_chunks, 700 + #slot)
  chunk = {number = number, key = chunk_key(slot, epoch, slice, number)}
  open_chunks.items[epoch] = open_chunks.items[epoch] or {}
  open_chunks.items[epoch][slice] = chunk
  return chunk
end

-- open_slice enters a new slice into the index, and takes out those that are over.
local function open_slice(slot, epoch, slice, now)
  local index, last = index_key(slot, epoch), slice_end(slice) + MARGIN_MS
  local past = {}
  for _, at in ipairs(slices_of(slot, epoch)) do
    if slice_end(at.slice) + CLOCK_SLACK_MS < now then past[#past + 1] = slice_name(at.slice) end
  end
  if #past > 0 then call('HDEL', index, unpack(past)) end
  write_slice(slot, epoch, slice, 0, 0)
  if call('PEXPIRETIME', index) < last then call('PEXPIREAT', index, last) end
end

-- turn_over accounts for a chunk that was begun or is full, which the state of its slice has to tell.
local function turn_over(slot, epoch, slice, chunk, length, now)
  if length == 1 then call('PEXPIREAT', chunk.key, slice_end(slice) + MARGIN_MS) end
  local open, closed = read_slice(slot, epoch, slice)
  if not open then
    open_slice(slot, epoch, slice, now)
    open_chunks.items[epoch] = nil
  elseif open ~= chunk.number then -- another primary went on in between
    write_slice(slot, epoch, slice, open, closed + 1)
    open_chunks.items[epoch] = nil
  elseif length >= CHUNK_MEMBERS and open < MAX_CHUNK then
    write_slice(slot, epoch, slice, open + 1, closed + math.min(length, bounds.chunk_members))
    open_chunks.items[epoch] = nil
  end
end

-- with_room returns the slice to list in, and its open chunk: a slice whose chunks are all full goes on as narrower ones.
local function with_room(slot, epoch, slice, expiry)
  local chunk = open_chunk(slot, epoch, slice)
  while chunk.number >= MAX_CHUNK and slice % 64 > 0 and call('LLEN', chunk.key) >= CHUNK_MEMBERS do
    slice = slice_for(expiry, slice % 64 - 1)
    chunk = open_chunk(slot, epoch, slice)
  end
  return slice, chunk
end

-- enlist lists a member whose entry expires at this time in a slice, and returns in which slice and chunk.
function enlist(slot, epoch, slice, member, now, expiry)
  local chunk = open_chunk(slot, epoch, slice)
  if chunk.number >= MAX_CHUNK then slice, chunk = with_room(slot, epoch, slice, expiry) end
  local length = call('RPUSH', chunk.key, member)
  if length == 1 or length >= CHUNK_MEMBERS then turn_over(slot, epoch, slice, chunk, length, now) end
  return slice, chunk.number
end
end

-- account_for brings the state of a slice up to date with members that were taken out of these chunks.
local function account_for(slot, epoch, slice, chunks)
  local open, closed = read_slice(slot, epoch, slice)
  local gone = 0
  for _, chunk in ipairs(chunks) do
    if open and chunk < open then gone = gone + 1 end
  end
  if gone > 0 then write_slice(slot, epoch, slice, open, closed - gone) end
end

-- take_out takes a member out of the chunk where it is listed, and says whether it was there.
-- account_for is to follow.
local function take_out(slot, epoch, slice, chunk, member)
  local key = chunk_key(slot, epoch, slice, chunk)
  if call('LLEN', key) > bounds.chunk_members then
    drop(key)
    return false
  end
  return call('LREM', key, '1', member) == 1
end

local function delist(slot, epoch, slice, chunk, member)
  if take_out(slot, epoch, slice, chunk, member) then account_for(slot, epoch, slice, {chunk}) end
end

-- listed_in returns the slice and chunk where an entry is listed in the index of this epoch, if it is.
local function listed_in(header, epoch)
  if string.sub(header, OPERATION_EPOCH_AT + 1, OPERATION_EPOCH_AT + EPOCH_LEN) ~= epoch then return nil end
  local slice, chunk = struct.unpack('>I6I2', header, LISTED_AT + 1)
  return slice, chunk
end

local inspect, survey, index_size
do
-- Members that are looked at to count those of a slice that is partly over, and how many of them side by side.
local COUNTED_MEMBERS = 64
local COUNTED_RUN = 4

-- measure learns the sizes of slices from the lengths of their open chunks. It looks at so many of them, and takes the
-- others to be like them.
local function measure(slot, epoch, slices, looks)
  local looked, sum = math.min(#slices, looks), 0
  for i = 0, looked - 1 do
    local at = slices[math.floor(i * #slices / looked) + 1]
    at.length = chunk_length(slot, epoch, at.slice, at.open)
    sum = sum + at.length
  end
  for _, at in ipairs(slices) do at.size = at.closed + (at.length or math.floor(sum / looked)) end
  return looked
end

-- spread returns members from all over a chunk, about as many as are wanted if it has them.
local function spread(chunk, wanted)
  local length = readable(chunk)
  if length == 0 then return {} end
  if length <= wanted then return call('LRANGE', chunk, '0', '-1') end
  local members, runs = {}, math.ceil(wanted / COUNTED_RUN)
  for i = 0, runs - 1 do
    local from = math.floor(i * length / runs)
    for _, member in ipairs(call('LRANGE', chunk, from, from + math.ceil(wanted / runs) - 1)) do
      members[#members + 1] = member
    end
  end
  return members
end

-- count_current counts the entries of a slice of which a part is over, and returns what it looked at: it takes the
-- entries to be like those of so many members.
local function count_current(slot, op, epoch, at, wanted, work)
  local chunks, looked, live = math.min(at.open + 1, wanted), 0, 0
  local share = at.size <= wanted and wanted or math.ceil(wanted / chunks)
  for i = 0, chunks - 1 do
    if work.bytes <= 0 then break end
    local chunk = math.floor(i * (at.open + 1) / chunks)
    local members = spread(chunk_key(slot, epoch, at.slice, chunk), share)
    local _, bytes = cost_of(members)
    work.bytes = work.bytes - bytes
    for _, member in ipairs(members) do
      looked = looked + 1
      if parse_member(member) and listed_in(read_header(member_key(slot, op, member)), epoch) == at.slice then live = live + 1 end
    end
  end
  if looked == 0 then return at.size, chunks end
  return math.floor(live * at.size / looked), looked + chunks
end

-- affordable says whether a call may read an index that has so many slices.
local function affordable(slices, work)
  if slices > bounds.slices then return true end -- the index goes
  work.slices = work.slices - slices
  return work.slices >= 0 or slices <= LEAST_LOOKS
end

-- supposed takes an index that a call cannot read to be like those that it has read.
local function supposed(now, work)
  local size = math.floor(work.size / math.max(1, work.inspected))
  return {slices = {}, size = size, live = size, over = now + 2 * MAX_TTL_MS, looked = 0, whole = false}
end

-- inspect returns an index' slices and how many members they list (size), when the last of them is over, and whether it
-- looked at all of them.
function inspect(slot, epoch, now, work)
  local count = call('HLEN', index_key(slot, epoch))
  if not affordable(count, work) then
    work.operations = work.operations - 1
    return supposed(now, work)
  end
  local found = {slices = slices_of(slot, epoch, count), size = 0, over = now}
  local looked = measure(slot, epoch, found.slices, looks_of(work))
  for _, at in ipairs(found.slices) do
    local over = slice_end(at.slice) + MARGIN_MS
    if over < now then at.size = 0 end
    found.size = found.size + at.size
    if over > found.over then found.over = over end
  end
  found.looked, found.whole = looked, looked == #found.slices
  spend_looks(work, looked)
  work.operations, work.inspected, work.size = work.operations - 1, work.inspected + 1, work.size + found.size
  return found
end

-- survey also counts the entries that are there (live).
function survey(slot, op, epoch, now, work)
  local looks = looks_of(work)
  local found = inspect(slot, epoch, now, work)
  if found.live then return found end
  found.live = 0
  for _, at in ipairs(found.slices) do
    local live, looked = at.size, 0
    if slice_end(at.slice) + CLOCK_SLACK_MS <= now then
      live = 0
    elseif slice_begin(at.slice) <= now + CLOCK_SLACK_MS and at.size > 0 then
      live, looked = count_current(slot, op, epoch, at, math.max(1, math.min(COUNTED_MEMBERS, looks - found.looked)), work)
    end
    found.live = found.live + live
    spend_looks(work, looked)
  end
  return found
end

-- index_size returns how many members an index lists.
function index_size(slot, epoch) return inspect(slot, epoch, now_ms(), new_work(1, 0)).size end
end

-- relist lists a member in a slice whose entry takes the place of one whose header begins like this, or of none,
-- and returns the slice and the chunk.
local function relist(slot, epoch, slice, member, header, now, expiry)
  local before, chunk = listed_in(header, epoch)
  if before == slice then return slice, chunk end
  if before then delist(slot, epoch, before, chunk, member) end
  return enlist(slot, epoch, slice, member, now, expiry)
end

-- Index of a user: a sorted set of the entries' names by when they expire. It lives as long as the longest-lived.

local user_index = {}

function user_index.clean(key, now, most)
  local expired = math.min(most, call('ZCOUNT', key, '-inf', now))
  if expired > 0 then call('ZREMRANGEBYRANK', key, 0, expired - 1) end
end

-- user_index.names lists the names of a user's index, nil where there are more or larger ones than that.
function user_index.names(key, most)
  local count = call('ZCARD', key)
  if count == 0 then return {} end
  if count > most or weight(key) > most * 2 * bounds.member_bytes then return nil end
  return call('ZRANGE', key, 0, -1)
end

-- user_index.add gives the index time for a while of such fills, so that most leave it as it is.
function user_index.add(key, name, now, life)
  call('ZADD', key, now + life, name)
  if call('PTTL', key) < life + MARGIN_MS then call('PEXPIRE', key, 2 * life + MARGIN_MS) end
end

function user_index.count(key, now)
  return call('ZCOUNT', key, '(' .. now, '+inf')
end

---------------------------------------------------------------------------------------------------
-- Freeing entries.

local free, settle, dispose_index, dispose_user_index, shorten, pending_total, reclaim
do
local function unlink_all(keys)
  return batched(keys, function(...) return call('UNLINK', ...) end)
end

local function remove_from_user_index(slot, user, names)
  local key = user_index_key(slot, user)
  batched(names, function(...) return call('ZREM', key, ...) end)
end

-- nested returns the table that another has under a key.
local function nested(tables, key)
  tables[key] = tables[key] or {}
  return tables[key]
end

-- unlist takes entries out of the indexes that are in sight, given those headers of theirs that were read.
local function unlist(slot, names, headers)
  local epochs, taken_out, of_users = {}, {}, {}
  for _, name in ipairs(names) do
    local op, member, user = parse_name(name)
    if epochs[op] == nil then epochs[op] = operation_epoch(slot, op) or false end
    local epoch = epochs[op]
    if epoch then
      local slice, chunk = listed_in(headers[name] or read_header(entry_key(slot, name)), epoch)
      if slice and take_out(slot, epoch, slice, chunk, member) then
        table.insert(nested(nested(taken_out, epoch), slice), chunk)
      end
    end
    if user ~= '' then table.insert(nested(of_users, user), name) end
  end
  for epoch, slices in pairs(taken_out) do
    for slice, chunks in pairs(slices) do account_for(slot, epoch, slice, chunks) end
  end
  for user, of_user in pairs(of_users) do remove_from_user_index(slot, user, of_user) end
end

-- free gives back the memory of entries, many in one command, and returns how many there were.
function free(slot, names, headers)
  unlist(slot, names, headers)
  local keys = {}
  for i, name in ipairs(names) do keys[i] = entry_key(slot, name) end
  return unlink_all(keys)
end

-- dead_of returns those of the names whose entries are not live, and the headers that it had to read. What is no name is
-- left out.
local function dead_of(slot, names)
  local dead, headers, heads_of = {}, {}, {}
  for _, name in ipairs(names) do
    local op, _, user = parse_name(name)
    if op then
      local covering = #op .. ':' .. op .. user
      heads_of[covering] = heads_of[covering] or read_heads(slot, op, user)
      local heads = heads_of[covering]
      -- Without its heads nothing is live, whatever it carries.
      if not heads.missing then headers[name] = read_header(entry_key(slot, name)) end
      if heads.missing or not read_entry(headers[name], heads, user) then dead[#dead + 1] = name end
    end
  end
  return dead, headers
end

---------------------------------------------------------------------------------------------------
-- Work that is left. The list <slot>:pending names it, each piece as <kind>:<sum>:<left>:<what>: about so many members
-- are left of it, and sum is how many were of it and of those before it when it was listed. Of a kind are

--   o  <epoch>:<op>                         an operation's index that is out of sight
--   u  <nonce>                              a user's, that was renamed
--   t  <epoch>:<exponent>:<op>              entries that are to live no longer than the operation's rule says: those in
--                                           slices that go beyond, and negative ones in slices up to this exponent
--   s  <epoch>:<slice>:<chunk>:<last>:<op>  the same of one slice, from one chunk to the last

--   ?                                       anything else, which others wrote: it goes
--
-- Of more pieces than MAX_PENDING all go: what they name expires by itself.

local MAX_PENDING = 10000
local MAX_PIECE_BYTES = 256 + MAX_OPERATION_BYTES
local KINDS = {o = true, u = true, t = true, s = true}

local function format_piece(piece)
  return piece.kind .. string.format(':%d:%d:', piece.sum, piece.left) .. piece.what
end

local function parse_piece(text)
  if #text > MAX_PIECE_BYTES then return nil end
  local kind, sum, left, from = string.match(text, '^(%a):(%d+):(%d+):()')
  sum, left = whole(sum), whole(left)
  if KINDS[kind] and sum and left then return {kind = kind, sum = sum, left = left, what = string.sub(text, from)} end
end

local function piece_at(slot, place)
  local text = call('LINDEX', pending_key(slot), place)
  if not text then return nil end
  return parse_piece(text) or {kind = '?', sum = 0, left = 1, what = text}
end

-- leave notes work for later, which nothing is left of when so many members have expired by themselves.
local function leave(work, kind, members, over, what)
  work.later[#work.later + 1] = {kind = kind, left = math.max(1, members), what = what}
  work.over = math.max(work.over, over)
end

-- settle lists what a call leaves for later.
function settle(slot, work)
  if #work.later == 0 then return end
  local key, last, texts = pending_key(slot), piece_at(slot, '-1'), {}
  local sum = last and last.sum or 0
  for i, piece in ipairs(work.later) do
    sum = sum + piece.left
    piece.sum = sum
    texts[i] = format_piece(piece)
  end
  batched(texts, function(...) return call('RPUSH', key, ...) end)
  local over = math.min(work.over, now_ms() + 3 * MAX_TTL_MS)
  if call('PEXPIRETIME', key) < over then call('PEXPIREAT', key, over) end
  work.later = {}
end

-- pending_total is exact as long as nothing of it expires by itself.
function pending_total(slot)
  local first = piece_at(slot, '0')
  return first and math.max(first.left, first.left + piece_at(slot, '-1').sum - first.sum) or 0
end

local function aside_key(slot, nonce) return slot .. ':a:' .. nonce end

-- free_all frees members of an operation whose index is out of sight, without a look at them.
local function free_all(slot, op, members)
  local keys, of_users = {}, {}
  for _, member in ipairs(members) do
    local user = parse_member(member)
    if user then keys[#keys + 1] = member_key(slot, op, member) end
    if user and user ~= '' then table.insert(nested(of_users, user), name_of(slot, op, member)) end
  end
  for user, names in pairs(of_users) do remove_from_user_index(slot, user, names) end
  return unlink_all(keys)
end

-- free_dead frees those members of an operation that are not live again.
local function free_dead(slot, op, members)
  local names = {}
  for i, member in ipairs(members) do names[i] = name_of(slot, op, member) end
  return free(slot, dead_of(slot, names))
end

-- reclaim_slice frees entries that are listed in a slice, from its open chunk downwards, by a function for those whose
-- index is out of sight, or may be live again. It returns how many it looked at (an empty chunk counts too: a sweep
-- leaves many) and how many it freed.
local function reclaim_slice(slot, epoch, op, at, max, free_members)
  local looked, freed = 0, 0
  while looked < max and at.open >= 0 do
    local members, cost, more = pop_members(chunk_key(slot, epoch, at.slice, at.open), max - looked)
    looked = looked + cost
    freed = freed + free_members(slot, op, members)
    if not more then
      at.open = at.open - 1
      at.closed = at.open >= 0 and at.closed - chunk_length(slot, epoch, at.slice, at.open) or 0
    end
  end
  if at.open < 0 then
    drop_slice(slot, epoch, at.slice)
  else
    write_slice(slot, epoch, at.slice, at.open, at.closed)
  end
  return looked, freed
end

-- reclaim_index frees the entries listed in an index that is out of sight, unless they are live again, and
-- returns how many it looked at and how many it freed.
local function reclaim_index(slot, epoch, op, max)
  local looked_total, freed_total = 0, 0
  local free_members = read_heads(slot, op, '').missing and free_all or free_dead
  for _, at in ipairs(slices_of(slot, epoch)) do
    if looked_total >= max then break end
    local looked, freed = reclaim_slice(slot, epoch, op, at, max - looked_total, free_members)
    looked_total, freed_total = looked_total + looked, freed_total + freed
  end
  return looked_total, freed_total
end

-- dispose_index gives back the memory of an index that is out of sight and of its entries: at once where that is little
-- enough, else later. It returns how many were freed and how many wait.
function dispose_index(slot, op, epoch, found, work)
  if found.whole and found.size == 0 then
    if #found.slices > 0 then call('UNLINK', index_key(slot, epoch)) end
    return 0, 0
  end
  if found.size > work.members or not found.whole then
    leave(work, 'o', found.size, found.over, epoch .. ':' .. op)
    return 0, found.size
  end
  local looked, freed = reclaim_index(slot, epoch, op, MAX_RECLAIM_KEYS)
  spend_members(work, found.size + WORK_COST)
  if looked < MAX_RECLAIM_KEYS then return freed, 0 end
  leave(work, 'o', found.size - freed, found.over, epoch .. ':' .. op)
  return freed, math.max(1, found.size - freed)
end

-- reclaim_user_index returns what it cost, how many it freed, and how many are left. Names of no usual length are none: the index
-- goes.
local function reclaim_user_index(slot, index, max)
  local size = call('ZCARD', index)
  if size == 0 then return 0, 0, 0 end
  if weight(index, max) > size * 2 * bounds.member_bytes then
    drop(index)
    return max, 0, 0
  end
  local popped, names = call('ZPOPMIN', index, max), {}
  for i = 1, #popped, 2 do names[#names + 1] = popped[i] end
  return (cost_of(names)), free(slot, dead_of(slot, names)), size - #names
end

-- dispose_user_index does the same for a user's index whose head is gone. It returns how many wait.
function dispose_user_index(slot, user, work)
  local index = user_index_key(slot, user)
  local size = call('ZCARD', index)
  if size == 0 then return 0 end
  local nonce, over = new_epoch(slot), call('PEXPIRETIME', index)
  local aside, last = aside_key(slot, nonce), now_ms() + 3 * MAX_TTL_MS
  call('RENAME', index, aside)
  if over < 0 or over > last then
    call('PEXPIREAT', aside, last)
    over = last
  end
  if size > work.members then
    leave(work, 'u', size, over, nonce)
    return size
  end
  local _, _, left = reclaim_user_index(slot, aside, size)
  return left
end

-- shorten_entry makes an entry that was listed in this slice live and be fresh for no longer than a rule says, and lists it
-- where it belongs then.
local function shorten_entry(slot, op, epoch, slice, member, rule, now)
  if not parse_member(member) then return end
  local key = member_key(slot, op, member)
  local header = read_header(key)
  if listed_in(header, epoch) ~= slice then return end
  local negative = bit.band(string.byte(header, 2), FLAG_NEGATIVE) ~= 0
  local fresh_until = now + (negative and rule.negative or rule.ttl)
  local deadline = negative and fresh_until or now + life_of(rule)
  local shortened = call('PEXPIREAT', key, deadline, 'LT') == 1
  local expiry = shortened and deadline or call('PEXPIRETIME', key)
  local user = parse_member(member)
  if expiry <= now then
    if user ~= '' then remove_from_user_index(slot, user, {name_of(slot, op, member)}) end
    return
  end
  local target = slice_for(expiry, slice_exponent(expiry - now))
  local fresh = math.min(fresh_until, (struct.unpack('>I8', header, FRESH_UNTIL_AT + 1)))
  local in_slice, chunk = enlist(slot, epoch, target, member, now, expiry)
  call('SETRANGE', key, FRESH_UNTIL_AT, struct.pack('>I8I6I2', fresh, in_slice, chunk))
  if user ~= '' then call('ZADD', user_index_key(slot, user), 'XX', expiry, name_of(slot, op, member)) end
end

local function parse_sweep(piece)
  local slice, chunk, last, from = string.match(string.sub(piece.what, EPOCH_LEN + 1), '^:(%d+):(%d+):(%d+):()')
  if not slice then return nil end
  local w = {
    epoch = string.sub(piece.what, 1, EPOCH_LEN), slice = parse_slice(slice), chunk = whole(chunk), last = whole(last),
    left = piece.left, op = string.sub(piece.what, EPOCH_LEN + from),
  }
  if w.slice and w.chunk and w.last and w.last <= MAX_CHUNK and w.op ~= '' and #w.op <= MAX_OPERATION_BYTES then return w end
end

local function format_sweep(w)
  return w.epoch .. string.format(':%d:%d:%d:', w.slice, w.chunk, w.last) .. w.op
end

-- drop_emptied takes a slice that lists nothing out of the index: sizes may be estimated from a few slices.
local function drop_emptied(slot, epoch, slice)
  local open, closed = read_slice(slot, epoch, slice)
  if not open or closed > 0 or chunk_length(slot, epoch, slice, open) > 0 then return end
  drop_slice(slot, epoch, slice)
  open_chunks.items[epoch] = nil
end

-- sweep goes on with a sweep, by up to max members, for the operation's rule of now: what was filled by it is not
-- shortened, and where it lets entries live longer than the rule that the sweep was made for, nothing is. It returns how
-- many it looked at (an empty chunk counts, too), and whether something is left.
local function sweep(slot, w, rule, max)
  if not rule or operation_epoch(slot, w.op) ~= w.epoch then return 0, false end
  local now, looked = now_ms(), 0
  while looked < max and w.chunk <= w.last do
    local members, cost, others = pop_members(chunk_key(slot, w.epoch, w.slice, w.chunk), max - looked)
    local open, closed = read_slice(slot, w.epoch, w.slice)
    if open and #members > 0 then write_slice(slot, w.epoch, w.slice, open, closed - #members) end
    if not others then w.chunk = w.chunk + 1 end
    looked, w.left = looked + cost, math.max(1, w.left - #members)
    for _, member in ipairs(members) do shorten_entry(slot, w.op, w.epoch, w.slice, member, rule, now) end
  end
  local more = w.chunk <= w.last
  if not more then drop_emptied(slot, w.epoch, w.slice) end
  return looked, more
end

-- close_slice makes further members go to a chunk above those there are, and returns the last of these.
local function close_slice(slot, epoch, at)
  write_slice(slot, epoch, at.slice, math.min(MAX_CHUNK, at.open + 1), slice_size(slot, epoch, at))
  open_chunks.items[epoch] = nil
  return at.open
end

-- outlives says whether a slice may list entries that go beyond a rule: any that are there longer than this reach, or negative
-- ones, which are in slices of up to this exponent. How long an entry is fresh is known by when it expires: not beyond that.
local function outlives(at, rule, reach, exponent, now)
  if at.size == 0 then return false end
  local over = slice_end(at.slice)
  return over > now + reach or at.slice % 64 <= exponent and over > now + rule.negative
end

local function outliving(slices, rule, reach, exponent, now)
  local list, size = {}, 0
  for _, at in ipairs(slices) do
    if outlives(at, rule, reach, exponent, now) then
      list[#list + 1] = at
      size = size + at.size
    end
  end
  return list, size
end

-- shorten_slices begins with sweeps of slices and leaves the rest for later.
local function shorten_slices(slot, op, epoch, slices, rule, work)
  for _, at in ipairs(slices) do
    local last = close_slice(slot, epoch, at)
    local w = {epoch = epoch, slice = at.slice, chunk = 0, last = last, left = at.size, op = op}
    local more = true
    if work.members > 0 then
      local looked
      looked, more = sweep(slot, w, rule, work.members)
      spend_members(work, looked + WORK_COST)
    end
    if more then leave(work, 's', w.left, slice_end(at.slice) + MARGIN_MS, format_sweep(w)) end
  end
end

-- shorten lets the entries of an operation live, and be fresh, no longer than its rule says, so many at once and others later.
-- It looks at those that are there for longer than reach.
function shorten(slot, op, rule, reach, exponent, work)
  local epoch, now = operation_epoch(slot, op), now_ms()
  if not epoch then return end
  local found = inspect(slot, epoch, now, work)
  local slices, size = outliving(found.slices, rule, reach, exponent, now)
  if size == 0 and (found.whole or #found.slices > 0) then return end
  if work.members > 0 and size > 0 then
    shorten_slices(slot, op, epoch, slices, rule, work)
  else
    leave(work, 't', size, found.over, epoch .. string.format(':%d:', exponent) .. op)
  end
end

-- Each kind of work goes on by up to max members, and returns what that cost, in members that are just freed, how many
-- entries it freed, and how many members are left.
local go_on = {}

-- In an index that was read each slice costs a little, too.
local function cost_of_slices(slot, epoch) return math.floor(call('HLEN', index_key(slot, epoch)) / SLICES) end

go_on['?'] = function(_, piece) return math.ceil(#piece.what / bounds.member_bytes), 0, 0 end

function go_on.o(slot, piece, max)
  local epoch, op = string.sub(piece.what, 1, EPOCH_LEN), string.sub(piece.what, EPOCH_LEN + 2)
  if op == '' or #op > MAX_OPERATION_BYTES then return 0, 0, 0 end
  local of_slices = cost_of_slices(slot, epoch)
  local looked, freed = reclaim_index(slot, epoch, op, max)
  if looked < max then return looked + of_slices, freed, 0 end
  local left = piece.left - looked
  return looked + of_slices, freed, left > 0 and left or index_size(slot, epoch)
end

function go_on.u(slot, piece, max)
  local looked, freed, left = reclaim_user_index(slot, aside_key(slot, piece.what), math.ceil(max / MEMBER_COST))
  return looked * MEMBER_COST, freed, left
end

function go_on.s(slot, piece, max)
  local w = parse_sweep(piece)
  if not w then return 0, 0, 0 end
  local looked, more = sweep(slot, w, rule_for(slot, w.op), math.ceil(max / MEMBER_COST))
  piece.what = format_sweep(w)
  return looked * MEMBER_COST, 0, more and w.left or 0
end

function go_on.t(slot, piece)
  local epoch = string.sub(piece.what, 1, EPOCH_LEN)
  local exponent, from = string.match(string.sub(piece.what, EPOCH_LEN + 1), '^:(%-?%d%d?):()')
  local op, now = exponent and string.sub(piece.what, EPOCH_LEN + from) or '', now_ms()
  if op == '' or #op > MAX_OPERATION_BYTES then return 0, 0, 0 end
  local rule = rule_for(slot, op)
  if not rule or operation_epoch(slot, op) ~= epoch then return 0, 0, 0 end
  local work, of_slices = new_work(1, 0), cost_of_slices(slot, epoch)
  local slices = outliving(inspect(slot, epoch, now, work).slices, rule, rule.ttl, tonumber(exponent), now)
  shorten_slices(slot, op, epoch, slices, rule, work)
  settle(slot, work)
  return #slices * MEMBER_COST + of_slices, 0, 0
end

function reclaim(slot, max)
  local key, freed_total = pending_key(slot), 0
  if call('LLEN', key) > MAX_PENDING then
    drop(key)
    return 0
  end
  while max > 0 do
    local piece = piece_at(slot, '0')
    if not piece then break end
    local cost, freed, left = go_on[piece.kind](slot, piece, max)
    if left > 0 then
      piece.left = left
      call('LSET', key, '0', format_piece(piece))
    else
      call('LPOP', key)
    end
    max, freed_total = max - math.max(cost, piece.kind == '?' and 1 or WORK_COST), freed_total + freed
  end
  return freed_total
end
end

---------------------------------------------------------------------------------------------------
-- Invalidation of each scope, by mode: hard; soft, which makes entries stale; or dry, which changes
-- nothing. Each returns the number of live keys that were covered and how many wait to be reclaimed.

local HARD, SOFT, DRY = 'hard', 'soft', 'dry'
local hide, hide_module, invalidate_operation, invalidate_module, invalidate, count_invalidation
do
-- An operation of a user is invalidated precisely where the user has at most so many entries in the module.
local MAX_USER_ENTRIES = 256

-- soften renews the soft epoch of a head, which begins after so many bytes. What is no head goes.
local function soften(slot, head, hard_len)
  local value = text_at(head)
  if not value then return end
  if #value ~= hard_len and #value ~= hard_len + EPOCH_LEN then
    drop(head)
  else
    call('SET', head, string.sub(value, 1, hard_len) .. new_epoch(slot), 'KEEPTTL')
  end
end

-- hide takes the heads of operations away, and so everything that they cover out of sight.
function hide(slot, operations)
  local keys = {}
  for _, seen in ipairs(operations) do
    keys[#keys + 1] = operation_head_key(slot, seen.op)
    keys[#keys + 1] = deletions_key(slot, seen.op)
  end
  batched(keys, function(...) return call('UNLINK', ...) end)
end

-- cover counts what an operation has, and gives its memory back where the head is gone.
local function cover(slot, seen, live, mode, work)
  local found = survey(slot, seen.op, seen.epoch, now_ms(), work)
  local keys = live and found.live or 0
  if mode == HARD then
    local freed, waiting = dispose_index(slot, seen.op, seen.epoch, found, work)
    -- What was freed is exact: entries that were evicted before are not among it.
    if live and waiting == 0 then keys = freed end
    return keys, waiting
  end
  if mode == SOFT then return keys, 0 end
  if keys > work.members then return keys, keys end
  if keys > 0 then spend_members(work, keys + WORK_COST) end
  return keys, 0
end

function invalidate_operation(slot, op, mode, work)
  local seen = in_sight(slot, {op})
  if mode == HARD then hide(slot, {{op = op}}) end
  if not seen[1] then return 0, 0 end
  local keys, waiting = cover(slot, seen[1], head_exists(module_head_key(slot)), mode, work)
  if mode ~= SOFT then return keys, waiting end
  soften(slot, operation_head_key(slot, op), 2 * EPOCH_LEN)
  return keys, 0
end

-- hide_module takes the module's head away, before anything that might fail, and says whether it was there.
function hide_module(slot) return call('UNLINK', module_head_key(slot)) == 1 end

-- invalidate_module is told whether there is, or was, a head of the module.
function invalidate_module(slot, mode, operations, live)
  local seen, total, waiting_total = in_sight(slot, operations), 0, 0
  local work = new_work(#seen, INLINE_RECLAIM_KEYS)
  if mode == HARD then hide(slot, seen) end
  for _, one in ipairs(seen) do
    local keys, waiting = cover(slot, one, live, mode, work)
    total, waiting_total = total + keys, waiting_total + waiting
  end
  settle(slot, work)
  if mode ~= SOFT then return total, waiting_total end
  soften(slot, module_head_key(slot), EPOCH_LEN)
  return total, 0
end

-- heads_with sums up what covers the entries of an operation of a user whose head is, or was, this.
local function heads_with(slot, op, user, user_head)
  local of_op = keys_of_operation(slot, op)
  local raw = call('MGET', of_op.module_head, of_op.head)
  raw[3] = user_head
  return heads_from(raw, user)
end

-- live_names lists those of a user's entries that are, or were, live under this head of the user, those of op apart where it
-- is given.
local function live_names(slot, user, user_head, names, op)
  local of_op, others, heads_of = {}, {}, {}
  for _, name in ipairs(names) do
    local entry_op = parse_name(name)
    if entry_op then
      heads_of[entry_op] = heads_of[entry_op] or heads_with(slot, entry_op, user, user_head)
      if read_entry(read_header(entry_key(slot, name)), heads_of[entry_op], user) then
        local list = op == entry_op and of_op or others
        list[#list + 1] = name
      end
    end
  end
  return of_op, others
end

-- count_user counts the live entries of a user whose head is, or was, this; of many it takes the index' word.
local function count_user(slot, user, user_head)
  if not (user_head and head_exists(module_head_key(slot))) then return 0 end
  local index = user_index_key(slot, user)
  local listed = user_index.names(index, INLINE_RECLAIM_KEYS)
  if not listed then return user_index.count(index, now_ms()) end
  local _, names = live_names(slot, user, user_head, listed, nil)
  return #names
end

local function invalidate_user(slot, user, mode)
  local head = user_head_key(slot, user)
  local before = text_at(head)
  if mode == HARD then call('UNLINK', head) end
  local keys = count_user(slot, user, before)
  if mode == SOFT then
    soften(slot, head, EPOCH_LEN)
    return keys, 0
  end
  if mode == DRY then return keys, keys > INLINE_RECLAIM_KEYS and keys or 0 end
  local work = new_work(0, INLINE_RECLAIM_KEYS)
  local waiting = dispose_user_index(slot, user, work)
  settle(slot, work)
  return keys, waiting
end

-- expire_freshness makes an entry stale now.
local function expire_freshness(slot, name)
  call('SETRANGE', entry_key(slot, name), FRESH_UNTIL_AT, struct.pack('>I8', 0))
end

-- restamp gives entries of a user the user's new epoch, so that they stay live.
local function restamp(slot, names, epoch)
  for _, name in ipairs(names) do
    call('SETRANGE', entry_key(slot, name), USER_EPOCH_AT, epoch)
  end
end

-- invalidate_user_operation works through the user's index: no head covers one operation of one user. Renewing the user's epoch
-- fences loads under way, and leaves no entry live that the index, perhaps evicted in between, does not list. It comes first:
-- whatever else there is, the purge takes effect. A user with many entries is invalidated as a whole: to tell them apart would
-- take too long.
local function invalidate_user_operation(slot, op, user, mode)
  local key, index = user_head_key(slot, user), user_index_key(slot, user)
  local head = text_at(key)
  if not head or not is_head(3, head) then
    if mode ~= DRY then call('UNLINK', key) end
    return 0, 0
  end
  if mode ~= DRY then user_index.clean(index, now_ms(), MAX_RECLAIM_KEYS) end
  local listed = user_index.names(index, MAX_USER_ENTRIES)
  if not listed then return invalidate_user(slot, user, mode) end
  local epoch = new_epoch(slot)
  if mode ~= DRY then call('SET', key, epoch .. string.sub(head, EPOCH_LEN + 1), 'KEEPTTL') end
  local names, others = live_names(slot, user, head, listed, op)
  if mode == DRY then return #names, 0 end
  restamp(slot, others, epoch)
  if mode == SOFT then
    restamp(slot, names, epoch)
    for _, name in ipairs(names) do expire_freshness(slot, name) end
  else
    free(slot, names, {})
  end
  return #names, 0
end

-- invalidate is told which operations the module has, and whether its head is or was there, where all of it is meant.
function invalidate(slot, op, user, mode, operations, live)
  if user == '' and op == '' then return invalidate_module(slot, mode, operations, live) end
  if user == '' then
    local work = new_work(1, INLINE_RECLAIM_KEYS)
    local keys, waiting = invalidate_operation(slot, op, mode, work)
    settle(slot, work)
    return keys, waiting
  end
  if op == '' then return invalidate_user(slot, user, mode) end
  return invalidate_user_operation(slot, op, user, mode)
end

-- count_invalidation counts one of the module for each of its operations.
function count_invalidation(slot, op, user, operations)
  if call('EXISTS', policy_key(slot)) == 0 then return end
  count(slot, 'invalidations', '')
  if op ~= '' then
    count(slot, 'invalidations', op)
  elseif user == '' then
    for _, known in ipairs(operations) do count(slot, 'invalidations', known) end
  end
end
end

---------------------------------------------------------------------------------------------------
-- cw_get KEY op id user [lock_ms]. A hit: [1, payload, remaining_ms, stale], and a token as the fifth
-- where this caller is the one to refresh a stale entry. A negative hit: the same with 2 for 1. A miss:
-- [0, token], and how long another's load lock lasts as the third where lock_ms asked for the lock.

local give_lock_back, cw_get, cw_unlock
do
-- Expired members a lease removes from a user's index: more than the one that its fill adds, so indexes
-- shrink, and few, so that no call pays for a crowd that expired at once.
local CLEAN_MEMBERS = 16
-- Who is told to refresh a stale entry has this long before another is, unless it said otherwise.
local REFRESH_LOCK_MS = 10 * 1000
local MAX_LOCK_MS = 10 * 60 * 1000

local NO_LEASE = '0' -- the token of an operation that is not cached; no fill matches it

-- hide_operations keeps counts exact when the module's head is made anew: what operations list then is not live.
local function hide_operations(slot, op)
  local operations = known_operations(slot, read_rules(slot))
  operations[#operations + 1] = op
  local seen, now = in_sight(slot, operations), now_ms()
  local work = new_work(#seen, 0)
  hide(slot, seen)
  for _, one in ipairs(seen) do
    dispose_index(slot, one.op, one.epoch, inspect(slot, one.epoch, now, work), work)
  end
  settle(slot, work)
end

-- create_head puts a head where none is; whatever else is there goes without making others wait.
local function create_head(key, value, ms)
  call('UNLINK', key)
  call('SET', key, value, 'PX', ms)
  return value
end

-- create_missing_heads also makes those that are there last for a load and its entry.
local function create_missing_heads(slot, op, user, heads, rule)
  local raw, keys = heads.raw, head_keys(slot, op, user)
  local ms, slack = heads_life(rule)
  for i, key in ipairs(keys) do
    if raw[i] then keep_for(key, ms, slack) end
  end
  ms = ms + slack
  if not raw[1] then
    hide_operations(slot, op)
    raw[1], raw[2] = create_head(keys[1], new_epoch(slot), ms), false
    call('HSET', counters_key(slot), SINCE, raw[1])
  end
  raw[2] = raw[2] or create_head(keys[2], new_epoch(slot) .. new_epoch(slot), ms)
  if user ~= '' and not raw[3] then
    local work = new_work(0, 0)
    dispose_user_index(slot, user, work) -- it belonged to a head that is gone
    settle(slot, work)
    raw[3] = create_head(keys[3], new_epoch(slot), ms)
  end
end

local function locked(token) return LOCKED .. string.sub(token, 2) end

-- lease returns the heads that a load begins with.
local function lease(slot, op, user, heads, rule)
  create_missing_heads(slot, op, user, heads, rule)
  if heads.missing then heads = heads_from(heads.raw, user) end
  heads.rule, heads.of_op, heads.kept_by = rule, keys_of_operation(slot, op), rule
  if user ~= '' then user_index.clean(user_index_key(slot, user), now_ms(), CLEAN_MEMBERS) end
  return heads
end

-- read_lock returns the token of the load lock's owner; what is longer than any token is none.
local function read_lock(slot, name) return call('GETRANGE', lock_key(slot, name), '0', '127') end

-- take_lock says whether the caller has the load lock now, or for how long another has it. A lock is worth what its owner's
-- token is: nobody has to wait for a load that will be fenced. Which fence it holds does not matter: the deletion of this entry
-- takes its lock along, and that of another does not fence the load.
local function take_lock(slot, name, heads, ms)
  local key = lock_key(slot, name)
  if differs_by_fence(read_lock(slot, name), heads) then
    local left = call('PTTL', key)
    if left > 0 then return false, math.min(left, MAX_LOCK_MS) end
  end
  call('SET', key, heads.token, 'PX', ms)
  return true, 0
end

function give_lock_back(slot, name, token)
  if read_lock(slot, name) == token then call('UNLINK', lock_key(slot, name)) end
end

local function answer_miss(slot, op, user, name, heads, lock_ms)
  local rule = rule_under(heads, keys_of_operation(slot, op), slot, op)
  if not rule or not admit(slot, op) then return {0, NO_LEASE} end
  heads = lease(slot, op, user, heads, rule)
  count(slot, 'misses', op)
  if lock_ms == 0 then return {0, heads.token} end
  local mine, wait = take_lock(slot, name, heads, lock_ms)
  if mine then return {0, locked(heads.token)} end
  return {0, heads.token, wait}
end

local function answer_stale(slot, op, user, name, heads, reply, lock_ms)
  count(slot, 'stale', op)
  reply[4] = 1
  local rule = rule_under(heads, keys_of_operation(slot, op), slot, op)
  if not rule then return reply end
  heads = lease(slot, op, user, heads, rule)
  if take_lock(slot, name, heads, lock_ms > 0 and lock_ms or REFRESH_LOCK_MS) then reply[5] = locked(heads.token) end
  return reply
end

local function want_lock_ms(text)
  if not text then return 0 end
  local ms = whole(text)
  if not ms or ms > MAX_LOCK_MS then
    refuse('cw_get: lock_ms must be a whole number from 0 to ' .. MAX_LOCK_MS)
  end
  return ms
end

function cw_get(keys, args)
  local slot = slot_of(keys, 'cw_get')
  if #args ~= 4 then want_args('cw_get', args, 'op id user', 3) end
  local op, id, user, lock_ms = args[1], args[2], args[3], want_lock_ms(args[4])
  want_entry('cw_get', op, id, user)
  local name = name_of(slot, op, member_of(user, id))
  local heads = read_heads(slot, op, user)
  local value = heads.epochs and call('GET', entry_key(slot, name))
  local entry = read_entry(value, heads, user)
  if not entry then return answer_miss(slot, op, user, name, heads, lock_ms) end
  local remaining = math.max(0, entry.fresh_until - now_ms())
  local reply = {entry.negative and 2 or 1, string.sub(value, entry.payload), remaining, 0}
  if entry.soft_stale or remaining == 0 then
    reply[3] = 0
    return answer_stale(slot, op, user, name, heads, reply, lock_ms)
  end
  count(slot, 'hits', op)
  return reply
end

-- cw_unlock KEY op id user: 1 if a load lock was given back before its time, else 0. For a caller whose
-- load failed; a fill gives it back by itself.
function cw_unlock(keys, args)
  local slot = slot_of(keys, 'cw_unlock')
  want_args('cw_unlock', args, 'op id user', 3)
  local op, id, user = args[1], args[2], args[3]
  want_entry('cw_unlock', op, id, user)
  return call('UNLINK', lock_key(slot, name_of(slot, op, member_of(user, id))))
end
end

---------------------------------------------------------------------------------------------------
-- cw_set KEY op id user payload token [options]: the TTL in ms, 0 not cached, -1 fenced, -2 refused. Options are the
-- words negative, where the source has nothing under that id, and room, where the payload begins behind as many bytes
-- of any kind as the header will have.

local cw_set, cw_delete, renew_fence
do
local DISABLED, FENCED, REFUSED = 0, -1, -2
local OPTIONS = {
  [''] = {}, negative = {negative = true}, room = {room = true}, ['negative room'] = {negative = true, room = true},
}

-- Deletions of single entries that a lease can look back on.
local DELETION_LOG_LEN = 128
local DIGEST_LEN = 16
local RECORD_BYTES = EPOCH_LEN + DIGEST_LEN
local MAX_LOG_BYTES = DELETION_LOG_LEN * RECORD_BYTES

local function deletion_digest(name) return string.sub(redis.sha1hex(name), 1, DIGEST_LEN) end

-- deleted_since says whether an entry was deleted after a lease saw this fence. The log's records
-- are <the fence a deletion replaced><digest of the entry it deleted>. A fence that is not in it
-- (trimmed, evicted) may hide anything, so the answer is yes.
local function deleted_since(slot, op, name, fence)
  local log = call('GETRANGE', deletions_key(slot, op), -MAX_LOG_BYTES, -1)
  if #log % RECORD_BYTES ~= 0 then return true end
  local digest, seen = deletion_digest(name), false
  for from = 1, #log, RECORD_BYTES do
    local digest_from = from + EPOCH_LEN
    seen = seen or string.sub(log, from, digest_from - 1) == fence
    if seen and string.sub(log, digest_from, from + RECORD_BYTES - 1) == digest then return true end
  end
  return not seen
end

-- is_fenced says whether something that covers the entry was invalidated since a token was taken that is not that of
-- the heads. Where it differs from the heads in the operation's fence only, single entries were deleted, perhaps not
-- this one.
local function is_fenced(slot, op, member, heads, token)
  if heads.missing or not differs_by_fence(token, heads) then return true end
  local at = fence_at(heads)
  return deleted_since(slot, op, name_of(slot, op, member), string.sub(token, at + 1, at + EPOCH_LEN))
end

-- unlocked gives the load lock back that came with a token, if one did, and returns the plain token.
local function unlocked(slot, op, member, token)
  if string.byte(token) ~= LOCKED_BYTE then return token end
  local plain = PLAIN .. string.sub(token, 2)
  give_lock_back(slot, name_of(slot, op, member), plain)
  return plain
end

-- unstored is the answer to a fill that is not stored: the load lock that came with its token goes back all the same.
local function unstored(slot, op, user, id, token, answer)
  unlocked(slot, op, member_of(user, id), token)
  return answer
end

local function with_jitter(slot, ttl, percent)
  local most = math.floor(ttl * percent / 100)
  local random = tonumber(string.sub(draw(slot), 1, 8), 16) / 4294967296
  return math.max(1, ttl - math.floor(random * (most + 1)))
end

-- A header is as long as its token and this.
local HEADER_OVER_TOKEN = HEADER_FIXED_LEN - EPOCH_LEN - #PLAIN

-- keep_user_head makes a user's head last for entries by a rule that came after the lease. Those of module and operation
-- were extended with the policy, which does not know the users.
local function keep_user_head(slot, user, heads, rule)
  keep_for(user_head_key(slot, user), heads_life(rule))
  heads.kept_by = rule
end

local TO_OPERATION_EPOCH_END = (HEADER_FIXED_LEN + 2 * EPOCH_LEN - 1) .. ''

-- store writes the entry first and its header into the room before the payload then: a payload is large, and to put
-- a header before it here would cost as much as all else. When the entry expires tells what time it is.
local function store(slot, of_op, user, member, heads, roomy_payload, rule, ttl, life, negative)
  local key = of_op.entries .. member
  local old = call('GETRANGE', key, '0', TO_OPERATION_EPOCH_END)
  call('PSETEX', key, rule.lives[life] or string.format('%d', life), roomy_payload)
  local expiry = call('PEXPIRETIME', key)
  local now = expiry - life
  local flags = heads.flags + (negative and FLAG_NEGATIVE or 0)
  local wanted = slice_for(expiry, negative and rule.negative_exponent or rule.exponent)
  local slice, chunk = relist(slot, heads.index, wanted, member, old, now, expiry)
  call('SETRANGE', key, '0',
    struct.pack('>BBI8I6I2', ENTRY_VERSION, flags, now + ttl, slice, chunk) .. heads.carried)
  if user == '' then return end
  user_index.add(user_index_key(slot, user), of_op.name .. member, now, life)
  if heads.kept_by ~= rule then keep_user_head(slot, user, heads, rule) end
end

-- terms returns how long an entry will be fresh, and how long it will be there; nil where it is not cached.
local function terms(slot, rule, negative)
  local ttl = negative and rule.negative or rule.ttl
  if ttl == 0 then return nil end
  if rule.jitter > 0 then ttl = with_jitter(slot, ttl, rule.jitter) end
  return ttl, negative and ttl or ttl + rule.stale
end

local function refuse_room(bytes, room)
  refuse('cw_set: the payload must begin behind room for a header, here ' .. room .. ' bytes, but has ' .. bytes .. ' in all')
end

function cw_set(keys, args)
  local slot = slot_of(keys, 'cw_set')
  if #args < 5 or #args > 6 then want_args('cw_set', args, 'op id user payload token', 5) end
  local op, id, user, payload, token = args[1], args[2], args[3], args[4], args[5]
  want_entry('cw_set', op, id, user)
  if token == '' then refuse('cw_set: the token is empty; take one with cw_get before loading') end
  local options = OPTIONS[args[6] or '']
  if not options then refuse("cw_set: the options must be negative, room, 'negative room', empty or left out") end
  local negative, room = options.negative, #token + HEADER_OVER_TOKEN
  local bytes = #payload
  if options.room then
    bytes = bytes - room
    if bytes < 0 then refuse_room(#payload, room) end
  end
  local of_op = keys_of_operation(slot, op)
  local heads = read_heads_by(of_op, slot, user)
  local rule = rule_under(heads, of_op, slot, op)
  if not rule then return unstored(slot, op, user, id, token, DISABLED) end
  local ttl, life = terms(slot, rule, negative)
  if not ttl then return unstored(slot, op, user, id, token, DISABLED) end
  if (rule.scope == 'User' and user == '') or bytes > rule.max then return unstored(slot, op, user, id, token, REFUSED) end
  local member = member_of(user, id)
  if token ~= heads.token then token = unlocked(slot, op, member, token) end
  if token ~= heads.token and is_fenced(slot, op, member, heads, token) then
    count(slot, 'fenced', op)
    return FENCED
  end
  if not options.room then payload = string.rep('\0', room) .. payload end
  store(slot, of_op, user, member, heads, payload, rule, ttl, life, negative)
  call('HINCRBY', of_op.counters, of_op.fields.fills, '1')
  return ttl
end

---------------------------------------------------------------------------------------------------
-- cw_delete KEY op id user: 1 if a live entry was removed, else 0. Fences loads of it under way.

-- log_deletion keeps the log to whole records, and to twice as many bytes as are read of it.
local function log_deletion(log, record)
  local length = call('APPEND', log, record)
  if length % RECORD_BYTES ~= 0 then
    call('SET', log, record)
  elseif length > 2 * MAX_LOG_BYTES then
    call('SET', log, call('GETRANGE', log, -MAX_LOG_BYTES, -1))
  end
end

-- fence_deletion fences loads of an entry, and of no other.
local function fence_deletion(slot, op, name, op_head)
  local head, log = operation_head_key(slot, op), deletions_key(slot, op)
  local renewed = string.sub(op_head, 1, EPOCH_LEN) .. new_epoch(slot) .. string.sub(op_head, 2 * EPOCH_LEN + 1)
  call('SET', head, renewed, 'KEEPTTL')
  log_deletion(log, fence_of(op_head) .. deletion_digest(name))
  call('PEXPIRE', log, math.max(call('PTTL', head), 1))
end

-- renew_fence changes the head of an operation without an effect on entries and loads.
function renew_fence(slot, op)
  local head = text_at(operation_head_key(slot, op))
  if head and is_head(2, head) then fence_deletion(slot, op, '', head) end
end

function cw_delete(keys, args)
  local slot = slot_of(keys, 'cw_delete')
  want_args('cw_delete', args, 'op id user', 3)
  local op, id, user = args[1], args[2], args[3]
  want_entry('cw_delete', op, id, user)
  local name = name_of(slot, op, member_of(user, id))
  local heads = read_heads(slot, op, user)
  local live = read_entry(read_header(entry_key(slot, name)), heads, user)
  if heads.raw[2] then fence_deletion(slot, op, name, heads.raw[2]) end
  free(slot, {name}, {})
  call('UNLINK', lock_key(slot, name)) -- its owner's load is fenced now
  return live and 1 or 0
end
end

---------------------------------------------------------------------------------------------------
-- cw_invalidate KEY op user mode request_id: [keys, pending].

local cw_invalidate
do
local MAX_REQUEST_ID_BYTES = 128
-- How long a request id keeps its answer.
local REQUEST_MS = 24 * 3600 * 1000

-- request_digest tells what an invalidation asks for from anything else.
local function request_digest(op, user, mode)
  return string.sub(redis.sha1hex(mode .. ':' .. #op .. ':' .. op .. user), 1, 16)
end

-- recorded_answer returns what a request id was answered before: "<keys> <pending> <digest>", the digest of what it asked
-- for. An answer without one is a mark that others leave, who need not know what a digest is.
local function recorded_answer(slot, request_id, digest)
  if request_id == '' then return nil end
  local recorded = call('GETRANGE', request_key(slot, request_id), '0', '63')
  local keys, waiting, asked = string.match(recorded, '^(%d+) (%d+) ?(%x*)$')
  keys, waiting = whole(keys), whole(waiting)
  if not keys or not waiting then return nil end
  if asked ~= '' and asked ~= digest then
    refuse('cw_invalidate: this request_id named an invalidation of another op, user or mode; take a new one for each')
  end
  return {keys, waiting}
end

function cw_invalidate(keys, args)
  local slot = slot_of(keys, 'cw_invalidate')
  want_args('cw_invalidate', args, 'op user mode request_id', 4)
  local op, user, mode, request_id = args[1], args[2], args[3], args[4]
  want_bytes('cw_invalidate', 'op', op, 0, MAX_OPERATION_BYTES)
  want_bytes('cw_invalidate', 'user', user, 0, MAX_USER_BYTES)
  want_bytes('cw_invalidate', 'request_id', request_id, 0, MAX_REQUEST_ID_BYTES)
  if mode ~= HARD and mode ~= SOFT and mode ~= DRY then
    refuse('cw_invalidate: mode must be hard, soft or dry')
  end
  local digest = request_digest(op, user, mode)
  local answer = mode ~= DRY and recorded_answer(slot, request_id, digest)
  if answer then return answer end
  local operations, live = {}, false
  if op == '' and user == '' then
    if mode == HARD then live = hide_module(slot) else live = head_exists(module_head_key(slot)) end
    operations = known_operations(slot, read_rules(slot))
  end
  local covered_keys, waiting = invalidate(slot, op, user, mode, operations, live)
  if mode ~= DRY then
    count_invalidation(slot, op, user, operations)
    if request_id ~= '' then
      call('SET', request_key(slot, request_id), covered_keys .. ' ' .. waiting .. ' ' .. digest, 'PX', REQUEST_MS)
    end
  end
  return {covered_keys, waiting}
end
end

---------------------------------------------------------------------------------------------------
-- cw_reclaim KEY max: [freed, pending].

local function cw_reclaim(keys, args)
  local slot = slot_of(keys, 'cw_reclaim')
  want_args('cw_reclaim', args, 'max', 1)
  local max = tonumber(args[1])
  if not max or max < 1 or max % 1 ~= 0 then
    refuse('cw_reclaim: max must be a whole number of at least 1')
  end
  return {reclaim(slot, math.min(max, MAX_RECLAIM_KEYS)), pending_total(slot)}
end

---------------------------------------------------------------------------------------------------
-- cw_policy_apply KEY json: [changed, purged].

-- The calls on policies by their names, as Lua allows a file 200 local names in all.
local parse_policy
local cw_policy = {}
do
local MAX_REVISION_BYTES = 128
local function want_whole(where, value, min, max)
  if type(value) ~= 'number' or value % 1 ~= 0 or value < min or value > max then
    refuse(string.format('cw_policy_apply: %s must be a whole number from %.0f to %.0f', where, min, max))
  end
  return value
end

local function want_known_fields(where, object, known)
  for field in pairs(object) do
    if not known[field] then
      refuse('cw_policy_apply: unknown field ' .. where .. string.gsub(string.sub(tostring(field), 1, 64), '[^!-~]', '?'))
    end
  end
end

local POLICY_FIELDS = {revision = true, defaultTtlMs = true, operations = true}
local OPERATION_FIELDS = {
  name = true, ttlMs = true, staleForMs = true, negativeTtlMs = true, jitterPercent = true, scope = true,
  maxEntryBytes = true, localTtlMs = true,
}

local function parse_operation(at, operation)
  local where = 'operations[' .. at .. ']'
  if type(operation) ~= 'table' then refuse('cw_policy_apply: ' .. where .. ' must be an object') end
  where = where .. '.'
  want_known_fields(where, operation, OPERATION_FIELDS)
  local name = operation.name
  if type(name) ~= 'string' then refuse('cw_policy_apply: ' .. where .. 'name must be a string') end
  want_bytes('cw_policy_apply', where .. 'name', name, 1, MAX_OPERATION_BYTES)
  local scope = operation.scope or 'Any'
  if scope ~= 'Any' and scope ~= 'User' then
    refuse('cw_policy_apply: ' .. where .. 'scope must be "Any" or "User"')
  end
  -- Only for caches in the applications' memory, which read it from the document.
  want_whole(where .. 'localTtlMs', operation.localTtlMs or 0, 0, MAX_TTL_MS)
  return name, {
    ttl = want_whole(where .. 'ttlMs', operation.ttlMs, 0, MAX_TTL_MS),
    stale = want_whole(where .. 'staleForMs', operation.staleForMs or 0, 0, MAX_TTL_MS),
    negative = want_whole(where .. 'negativeTtlMs', operation.negativeTtlMs or 0, 0, MAX_TTL_MS),
    jitter = want_whole(where .. 'jitterPercent', operation.jitterPercent or 0, 0, MAX_JITTER_PERCENT),
    scope = scope,
    max = want_whole(where .. 'maxEntryBytes', operation.maxEntryBytes or MAX_PAYLOAD_BYTES, 1, MAX_PAYLOAD_BYTES),
  }
end

local function parse_operations(list, rules, text)
  -- The decoder makes the same of {} and [].
  local is_object = type(list) == 'table' and next(list) == nil and not string.find(text, '"operations"%s*:%s*%[')
  if type(list) ~= 'table' or is_object then refuse('cw_policy_apply: operations must be a list') end
  local length = 0
  for _ in pairs(list) do length = length + 1 end
  if length ~= #list then refuse('cw_policy_apply: operations must be a list') end
  if length > MAX_OPERATIONS then
    refuse('cw_policy_apply: at most ' .. MAX_OPERATIONS .. ' operations, not ' .. length)
  end
  for i, operation in ipairs(list) do
    local name, rule = parse_operation(i - 1, operation)
    if rules.operations[name] then
      refuse('cw_policy_apply: operations[' .. (i - 1) .. '].name is there twice')
    end
    rules.operations[name] = rule
  end
end

local function count_fields(object)
  local fields = 0
  for _ in pairs(object) do fields = fields + 1 end
  return fields
end

-- want_fields_once refuses a field that is there twice: the decoder takes the last, whatever the first was. plain is
-- the text without its strings, where each field has left its colon.
local function want_fields_once(plain, document)
  local fields = count_fields(document)
  for _, operation in ipairs(type(document.operations) == 'table' and document.operations or {}) do
    if type(operation) == 'table' then fields = fields + count_fields(operation) end
  end
  local _, colons = string.gsub(plain, ':', '')
  if colons > fields then refuse('cw_policy_apply: a field is there twice') end
end

-- want_strict_json refuses what the decoder lets pass and other readers of the document do not: line
-- breaks in strings, numbers that are not plain digits, and fields that are there twice. These come first: then there are not
-- more strings and numbers than known fields have.
local function want_strict_json(text, document)
  local escaped = string.gsub(text, '\\.', '')
  local plain = string.gsub(escaped, '"[^"]*"', '')
  want_fields_once(plain, document)
  for quoted in string.gmatch(escaped, '"([^"]*)"') do
    if string.find(quoted, '[%z\1-\31]') then refuse('cw_policy_apply: a string holds a control character') end
  end
  for word in string.gmatch(plain, '[^%s{}%[%]:,]+') do
    if not string.match(word, '^[1-9]%d*$') and word ~= '0' then
      refuse('cw_policy_apply: values must be strings, objects, lists, and whole numbers in plain digits')
    end
  end
end

function parse_policy(text)
  want_bytes('cw_policy_apply', 'the document', text, 2, MAX_POLICY_BYTES)
  local ok, document = pcall(cjson.decode, text)
  if not ok or not string.match(text, '^%s*{') then
    refuse('cw_policy_apply: the document must be a JSON object')
  end
  want_known_fields('', document, POLICY_FIELDS)
  local rules = {operations = {}, revision = document.revision}
  if rules.revision ~= nil then
    if type(rules.revision) ~= 'string' then refuse('cw_policy_apply: revision must be a string') end
    want_bytes('cw_policy_apply', 'revision', rules.revision, 0, MAX_REVISION_BYTES)
    if rules.revision == '' then rules.revision = nil end
  end
  if document.defaultTtlMs ~= nil then
    local ttl = want_whole('defaultTtlMs', document.defaultTtlMs, 0, MAX_TTL_MS)
    rules.default = {ttl = ttl, stale = 0, negative = 0, jitter = 0, scope = 'Any', max = MAX_PAYLOAD_BYTES}
  end
  if document.operations ~= nil then parse_operations(document.operations, rules, text) end
  want_strict_json(text, document)
  return rules
end

end

do
-- seal_of sums up the other fields of a policy, so that it shows where one was edited by hand.
local function seal_of(fields)
  local parts = {}
  for i = 1, #fields, 2 do
    if fields[i] ~= 'seal' then parts[#parts + 1] = #fields[i] .. ':' .. #fields[i + 1] .. ':' .. fields[i] .. fields[i + 1] end
  end
  table.sort(parts)
  return redis.sha1hex(table.concat(parts))
end

-- hash_in_place returns the hash of the policy if all of it is there as it was written. It also finds out whether
-- what lasts beside it is what it should be: nothing would replace that.
local function hash_in_place(slot)
  dropped = false
  call('HGET', counters_key(slot), 'misses:')
  call('LLEN', pending_key(slot))
  local fields, of = policy_fields(slot), {}
  for i = 1, #fields, 2 do of[fields[i]] = fields[i + 1] end
  return not dropped and of.seal and of.seal == seal_of(fields) and of.hash or false
end

local function write_policy(slot, text, hash, rules, revision)
  local fields = {'json', text, 'hash', hash}
  local function add(field, value)
    fields[#fields + 1] = field
    fields[#fields + 1] = value
  end
  if revision then add('revision', revision) end
  if rules.default then add('default', encode_rule(rules.default)) end
  for op, rule in pairs(rules.operations) do add('o:' .. op, encode_rule(rule)) end
  add('seal', seal_of(fields))
  call('UNLINK', policy_key(slot))
  call('HSET', policy_key(slot), unpack(fields))
  forget(slot)
end

local function life_by(rules, op)
  local rule = rules.operations[op] or rules.default
  return rule and life_of(rule) or 0
end

local function scope_by(rules, op)
  local rule = rules.operations[op] or rules.default
  return rule and rule.scope or 'Any'
end

-- obey_operation makes entries that are there already keep to the new policy: of an operation that
-- is no longer cached, or now is users' only, none stays; where the TTL was lowered, none lives longer.
local function obey_operation(slot, op, old, new, is_known, work)
  local before, rule = old.operations[op] or old.default, new.operations[op] or new.default
  local narrowed = scope_by(new, op) == 'User' and not (is_known and scope_by(old, op) == 'User')
  if ttl_by(new, op) == 0 or narrowed then
    invalidate_operation(slot, op, HARD, work)
    return
  end
  local shorter = life_of(rule) < (is_known and life_by(old, op) or 2 * MAX_TTL_MS)
  local less_fresh = not is_known or rule.ttl < ttl_by(old, op)
  local negative_before = not is_known and MAX_TTL_MS or before and before.negative or 0
  local fewer_negative = rule.negative < negative_before
  if shorter or fewer_negative then
    local exponent = fewer_negative and slice_exponent(negative_before) or -1
    shorten(slot, op, rule, less_fresh and rule.ttl or life_of(rule), exponent, work)
  end
  if not shorter and rule.ttl < ttl_by(old, op) then
    -- They may be there as long as before, but not fresh.
    invalidate_operation(slot, op, SOFT, work)
  end
end

-- all_counted says whether the counters tell each operation that has live entries, if the policy does not.
local function all_counted(slot)
  local head = text_at(module_head_key(slot))
  return not head or call('HGET', counters_key(slot), SINCE) == string.sub(head, 1, EPOCH_LEN)
end

local function fields_of(slot, op)
  local fields = {}
  for i, counter in ipairs(COUNTERS) do fields[i] = keys_of_operation(slot, op).fields[counter] end
  return fields
end

-- drop_counters forgets operations that are neither listed nor cached by default. Where the default caches more than have a
-- place, others lose theirs, and what is cached of them.
local function drop_counters(slot, operations, rules)
  local key, unlisted, without_place = counters_key(slot), 0, {}
  for _, op in ipairs(operations) do
    if not rules.operations[op] then
      if ttl_by(rules, op) > 0 and unlisted < MAX_UNLISTED then
        unlisted = unlisted + 1
      else
        without_place[#without_place + 1] = {op = op}
        call('HDEL', key, unpack(fields_of(slot, op)))
      end
    end
  end
  hide(slot, without_place)
  if call('EXISTS', key) == 1 then call('HSET', key, UNLISTED, unlisted) end
end

-- lowers_default says whether entries that the default let be cached may be there for longer than the new one lets.
local function lowers_default(old, new, is_known)
  local before = is_known and (old.default and old.default.ttl or 0) or MAX_TTL_MS
  return (new.default and new.default.ttl or 0) < before
end

local function is_changed(op, old, new)
  local before, after = old.operations[op] or old.default, new.operations[op] or new.default
  return not before or not after or encode_rule(before) ~= encode_rule(after)
end

-- cover_longer makes heads last for entries by a rule that lets them live longer than the one of their leases.
local function cover_longer(slot, op, old, new)
  local before, after = old.operations[op] or old.default, new.operations[op] or new.default
  if not after or after.ttl == 0 then return end
  local ms, slack = heads_life(after)
  if before and ms <= heads_life(before) then return end
  keep_for(module_head_key(slot), ms, slack)
  keep_for(operation_head_key(slot, op), ms, slack)
end

local function obey(slot, operations, old, new, is_known)
  local work = new_work(#operations, MAX_RECLAIM_KEYS / MEMBER_COST)
  for _, op in ipairs(operations) do
    obey_operation(slot, op, old, new, is_known, work)
    cover_longer(slot, op, old, new)
    -- What a former primary remembers with the head (see rule_under) is over.
    if not is_known or is_changed(op, old, new) then renew_fence(slot, op) end
  end
  settle(slot, work)
end

-- tidy drops what stands where the module's and the operations' keys are, and is none of them.
local function tidy(slot, operations)
  local function want_length(key, is_right)
    local length = #call('GETRANGE', key, '0', '63')
    if length > 0 and not is_right(length) then drop(key) end
  end
  local function is_short_head(length) return length == EPOCH_LEN or length == 2 * EPOCH_LEN end
  local function is_head_of_operation(length) return is_short_head(length - EPOCH_LEN) end
  want_length(module_head_key(slot), is_short_head)
  for _, op in ipairs(operations) do
    want_length(operation_head_key(slot, op), is_head_of_operation)
    call('GETRANGE', deletions_key(slot, op), '0', '0')
  end
  for _, seen in ipairs(in_sight(slot, operations)) do
    local index = index_key(slot, seen.epoch)
    if call('HLEN', index) > bounds.slices then drop(index) end
  end
end

-- joined lists operations and those that a policy lists.
local function joined(operations, rules)
  local list, seen = {}, {}
  for i, op in ipairs(operations) do list[i], seen[op] = op, true end
  for op in pairs(rules.operations) do
    if not seen[op] then list[#list + 1] = op end
  end
  table.sort(list)
  return list
end

local function put_in_force(slot, text, new)
  local hash, in_place = redis.sha1hex(text), hash_in_place(slot)
  local old = read_rules(slot)
  local before = known_operations(slot, old)
  local operations = joined(before, new)
  tidy(slot, operations)
  if in_place == hash then return {0, 0} end

  -- Without the old policy nobody knows which revision the entries are of: they go.
  local purged = 0
  if new.revision and new.revision ~= old.revision and head_exists(module_head_key(slot)) then
    invalidate_module(slot, HARD, before, hide_module(slot))
    count_invalidation(slot, '', '', before)
    purged = 1
  elseif lowers_default(old, new, in_place) and not all_counted(slot) then
    invalidate_module(slot, HARD, before, hide_module(slot))
  end
  -- Nor does anybody know by which rules they were stored, if it was edited by hand.
  obey(slot, operations, old, new, in_place)
  drop_counters(slot, operations, new)
  write_policy(slot, text, hash, new, new.revision or old.revision)
  return {1, purged}
end

do
-- The owner of a policy is who keeps it in force: one who finds another there changes nothing. It ends a day after it was
-- last renewed. Whatever else is under its key is no owner.
local OWNER_MS = 24 * 3600 * 1000
local MAX_OWNER_BYTES = 512

function cw_policy.owner_key(slot) return slot .. ':owner' end

local function is_owner(text)
  return type(text) == 'string' and #text <= MAX_OWNER_BYTES and string.find(text, '^[!-~]+$') ~= nil
end

-- claim takes the policy for owner, or renews that, and returns nil. If it is another's, and not that of over, it changes
-- nothing and returns the other. Without an owner it does neither.
function cw_policy.claim(slot, owner, over)
  if not owner then return nil end
  local key = cw_policy.owner_key(slot)
  local present = call('GETRANGE', key, '0', string.format('%d', MAX_OWNER_BYTES))
  if is_owner(present) and present ~= owner and present ~= over then return present end
  call('SET', key, owner, 'PX', string.format('%d', OWNER_MS))
end

-- owners_in returns the arguments owner and over of a call, from the first of them on; nil where they are left out.
function cw_policy.owners_in(name, args, first, names)
  if #args < first - 1 or #args > first + 1 then
    refuse(string.format('%s takes %d to %d arguments (%s), not %d', name, first - 1, first + 1, names, #args))
  end
  for i = first, #args do
    if not is_owner(args[i]) and not (i > first and args[i] == '') then
      refuse(name .. ': owner and over must be 1 to ' .. MAX_OWNER_BYTES .. ' printable ASCII characters without spaces')
    end
  end
  return args[first], args[first + 1]
end
end

-- cw_policy_apply KEY json [owner [over]]: [changed, purged]; [-1, 0, the other] if the policy is another's.
function cw_policy.apply(keys, args)
  local slot = slot_of(keys, 'cw_policy_apply')
  local owner, over = cw_policy.owners_in('cw_policy_apply', args, 2, 'json [owner [over]]')
  local new = parse_policy(args[1])
  local other = cw_policy.claim(slot, owner, over)
  if other then return {-1, 0, other} end
  return put_in_force(slot, args[1], new)
end

-- cw_policy_hash KEY: the hash of the policy in force, nil if there is none, or if it is not there as cw_policy_apply
-- wrote it.
function cw_policy.hash(keys, args)
  local slot = slot_of(keys, 'cw_policy_hash')
  want_args('cw_policy_hash', args, '', 0)
  return hash_in_place(slot)
end

function cw_policy.get(keys, args)
  local slot = slot_of(keys, 'cw_policy_get')
  want_args('cw_policy_get', args, '', 0)
  local document = field_of(policy_key(slot), 'json', MAX_POLICY_BYTES)
  return document ~= '' and document
end

-- cw_policy_own KEY owner [over]: nil once the policy is the owner's for another day; the other if it is another's.
function cw_policy.own(keys, args)
  local slot = slot_of(keys, 'cw_policy_own')
  local owner, over = cw_policy.owners_in('cw_policy_own', args, 1, 'owner [over]')
  if not owner then refuse('cw_policy_own takes 1 to 2 arguments (owner [over]), not 0') end
  return cw_policy.claim(slot, owner, over)
end

-- cw_policy_delete KEY [owner [over]]: 1 or 0; the other if the policy is another's. Without a policy nothing is cached, so
-- the entries go too.
function cw_policy.delete(keys, args)
  local slot = slot_of(keys, 'cw_policy_delete')
  local other = cw_policy.claim(slot, cw_policy.owners_in('cw_policy_delete', args, 1, '[owner [over]]'))
  if other then return other end
  local live = hide_module(slot)
  invalidate_module(slot, HARD, (known_operations(slot, read_rules(slot))), live)
  local existed = call('UNLINK', policy_key(slot))
  forget(slot)
  call('UNLINK', counters_key(slot), cw_policy.owner_key(slot))
  return existed
end
end

---------------------------------------------------------------------------------------------------
-- cw_report KEY op counter n …: adds the counters of a client that reads by MGET, and returns how
-- many it added. Operations that are not cached have none.

local MAX_REPORTED = 16

local function cw_report(keys, args)
  local slot = slot_of(keys, 'cw_report')
  if #args < 3 or #args % 2 ~= 1 or #args > 1 + 2 * MAX_REPORTED then
    refuse('cw_report takes op and 1 to ' .. MAX_REPORTED .. ' pairs of counter and n, not ' .. #args .. ' arguments')
  end
  want_bytes('cw_report', 'op', args[1], 1, MAX_OPERATION_BYTES)
  for i = 2, #args, 2 do
    if not REPORTED[args[i]] then
      refuse('cw_report: the counters are hits, misses, stale and errors')
    end
    if not string.match(args[i + 1], '^%d+$') or #args[i + 1] > 15 then
      refuse('cw_report: n must be a whole number from 0 to 999999999999999')
    end
  end
  if not rule_for(slot, args[1]) or not admit(slot, args[1]) then return 0 end
  for i = 2, #args, 2 do count(slot, args[i], args[1], args[i + 1]) end
  return (#args - 1) / 2
end

---------------------------------------------------------------------------------------------------
-- cw_stats KEY: a flat map of keys, memory, pending, invalidations, and <figure>:<op> for the keys,
-- ttl and counters of each operation.

local cw_stats
do
-- Entries whose memory is measured to estimate that of an operation.
local MEMORY_SAMPLES = 5

local function memory_usage(key, ...)
  return tonumber(call('MEMORY', 'USAGE', key, ...) or 0) or 0
end

-- estimate_memory measures a few chunks and entries of an operation and takes the rest to be like them.
local function estimate_memory(slot, op, seen, found, looks)
  local entries, measured, chunks, listed, bytes = 0, 0, 0, 0, bounds.read_bytes
  for i = 0, math.min(#found.slices, looks) - 1 do
    local at = found.slices[math.floor(i * #found.slices / math.min(#found.slices, looks)) + 1]
    local chunk = chunk_key(slot, seen.epoch, at.slice, at.open)
    local length, of_chunk = readable(chunk)
    local members = length > 0 and bytes > 0 and call('LRANGE', chunk, 0, MEMORY_SAMPLES - 1) or {}
    bytes = bytes - select(2, cost_of(members))
    if #members > 0 then chunks, listed = chunks + of_chunk, listed + length end
    for _, member in ipairs(members) do
      local is_wanted = parse_member(member) and measured < math.min(MEMORY_SAMPLES, looks)
      local taken = is_wanted and memory_usage(member_key(slot, op, member)) or 0
      if taken > 0 then entries, measured = entries + taken, measured + 1 end
    end
  end
  local index = memory_usage(index_key(slot, seen.epoch)) + (listed > 0 and chunks / listed * found.size or 0)
  return math.floor((measured > 0 and entries / measured * found.live or 0) + index)
end

-- weigh returns how many live entries each operation has, and how much memory they take.
local function weigh(slot, operations)
  local seen, now, weights = in_sight(slot, operations), now_ms(), {}
  local work = new_work(#seen, 0)
  for _, one in ipairs(seen) do
    local looks = math.min(MEMORY_SAMPLES * SLICES, math.ceil(looks_of(work) / LEAST_LOOKS))
    local found = survey(slot, one.op, one.epoch, now, work)
    local memory = found.live > 0 and estimate_memory(slot, one.op, one, found, looks) or 0
    weights[one.op] = {keys = found.live, memory = memory}
  end
  return weights
end

function cw_stats(keys, args)
  local slot = slot_of(keys, 'cw_stats')
  want_args('cw_stats', args, '', 0)
  local rules = read_rules(slot)
  local operations, counters = known_operations(slot, rules)
  local weights = head_exists(module_head_key(slot)) and weigh(slot, operations) or {}
  local total, memory, reply = 0, 0, {}
  for _, op in ipairs(operations) do
    local weight = weights[op] or {keys = 0, memory = 0}
    total, memory = total + weight.keys, memory + weight.memory
    local figures = {'keys:' .. op, weight.keys, 'ttl:' .. op, ttl_by(rules, op)}
    for _, counter in ipairs(COUNTERS) do
      figures[#figures + 1] = counter .. ':' .. op
      figures[#figures + 1] = counters[counter .. ':' .. op] or 0
    end
    for _, figure in ipairs(figures) do reply[#reply + 1] = figure end
  end
  local sums = {
    'keys', total, 'memory', memory, 'pending', pending_total(slot),
    'invalidations', counters['invalidations:'] or 0,
  }
  for _, figure in ipairs(reply) do sums[#sums + 1] = figure end
  return sums
end
end

---------------------------------------------------------------------------------------------------
-- Registration, one by one: while a library is being loaded Lua has no pairs. allow-oom: what frees
-- memory, reads, or writes next to nothing works when Redis has reached maxmemory.

redis.register_function{function_name = 'cw_get', callback = guarded_hot(cw_get), flags = {'allow-oom'}}
redis.register_function{function_name = 'cw_set', callback = guarded_hot(cw_set)}
redis.register_function{function_name = 'cw_unlock', callback = guarded(cw_unlock), flags = {'allow-oom'}}
redis.register_function{function_name = 'cw_delete', callback = guarded(cw_delete), flags = {'allow-oom'}}
redis.register_function{function_name = 'cw_invalidate', callback = guarded(cw_invalidate), flags = {'allow-oom'}}
redis.register_function{function_name = 'cw_reclaim', callback = guarded(cw_reclaim), flags = {'allow-oom'}}
redis.register_function{function_name = 'cw_policy_apply', callback = guarded(cw_policy.apply), flags = {'allow-oom'}}
redis.register_function{function_name = 'cw_policy_hash', callback = guarded(cw_policy.hash, true), flags = {'no-writes'}}
redis.register_function{function_name = 'cw_policy_get', callback = guarded(cw_policy.get, true), flags = {'no-writes'}}
redis.register_function{function_name = 'cw_policy_own', callback = guarded(cw_policy.own), flags = {'allow-oom'}}
redis.register_function{function_name = 'cw_policy_delete', callback = guarded(cw_policy.delete), flags = {'allow-oom'}}
redis.register_function{function_name = 'cw_report', callback = guarded_hot(cw_report), flags = {'allow-oom'}}
redis.register_function{function_name = 'cw_stats', callback = guarded(cw_stats, true), flags = {'no-writes'}}

-- cw_writable (no key: it is asked of each node): 1. Redis refuses the call, as it declares to write, where it takes no writes.
redis.register_function{function_name = 'cw_writable', callback = function() return 1 end, flags = {'allow-oom'}}

-- cw_version (no key: it is asked of each node): the version of this library.
redis.register_function{
  function_name = 'cw_version',
  callback = function() return VERSION end,
  flags = {'no-writes', 'allow-oom', 'allow-stale'},
}
