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

