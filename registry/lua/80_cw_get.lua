---------------------------------------------------------------------------------------------------
-- cw_get
--   KEYS   the slot
--   ARGV   op id user [lock_ms [schema]]
--   reply  hit: {1, payload, remaining_ms, stale}, and a token as fifth if this caller is to
--          refresh a stale entry; negative hit: the same with 2 instead of 1; miss: {0, token}, and
--          for how many ms another caller has the load lock as third, if lock_ms asked for it;
--          held: {0, '0', 0, ms}; nothing is stored for so many ms

local function answer_held(slot, op, user, name)
  count(slot, 'heldReads', op)
  return {0, lease.NONE, 0, lease.held_ms(slot, op, user, name)}
end

local function answer_miss(slot, op, user, name, heads, value, lock_ms)
  local rule = rule_under(heads, keys_of_operation(slot, op), slot, op)
  local is_held = rule and (heads.held or lease.is_entry_held(slot, name, heads, value))
  if not rule or is_held and rule.scope == 'User' and user == '' or not admit(slot, op) then
    return {0, lease.NONE}
  end
  if is_held then return answer_held(slot, op, user, name) end
  heads = lease.take(slot, op, user, heads, rule)
  count(slot, 'misses', op)
  if lock_ms == 0 then return {0, heads.token} end
  local mine, wait = lock.take(slot, name, heads, lock_ms)
  if mine then return {0, lock.mark(heads.token)} end
  return {0, heads.token, wait}
end

local function answer_stale(slot, op, user, name, heads, reply, lock_ms)
  count(slot, 'stale', op)
  reply[4] = 1
  local rule = rule_under(heads, keys_of_operation(slot, op), slot, op)
  if not rule then return reply end
  heads = lease.take(slot, op, user, heads, rule)
  local ms = lock_ms > 0 and lock_ms or REFRESH_LOCK_MS
  if lock.take(slot, name, heads, ms) then reply[5] = lock.mark(heads.token) end
  return reply
end

local function want_lock_ms(text)
  if not text then return 0 end
  local ms = parse_whole(text)
  if not ms or ms > MAX_LOCK_MS then
    refuse('cw_get: lock_ms must be a whole number from 0 to ' .. MAX_LOCK_MS)
  end
  return ms
end

function calls.cw_get(keys, args)
  local slot = slot_of(keys, 'cw_get')
  if #args < 4 or #args > 5 then want_args('cw_get', args, 'op id user', 3) end
  local op, id, user, lock_ms = args[1], args[2], args[3], want_lock_ms(args[4])
  local schema = schemas.want('cw_get', args[5])
  want_entry('cw_get', op, id, user)
  local name = name_of(slot, op, member_of(user, id))
  local heads = read_heads(slot, op, user)
  local value = heads.epochs and call('GET', entry_key(slot, name))
  local entry = read_entry(value, heads, user)
  local payload = entry and schemas.payload_of(value, entry, schema)
  if not payload then return answer_miss(slot, op, user, name, heads, value, lock_ms) end
  local remaining = math.max(0, entry.fresh_until - now_ms())
  local kind = bit.band(entry.flags, FLAG_NEGATIVE) == 0 and 1 or 2
  local reply = {kind, string.sub(value, payload), remaining, 0}
  if entry.soft_stale or remaining == 0 then
    reply[3] = 0
    return answer_stale(slot, op, user, name, heads, reply, lock_ms)
  end
  count(slot, 'hits', op)
  return reply
end

