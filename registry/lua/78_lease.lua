---------------------------------------------------------------------------------------------------
-- Leases and load locks, which cw_get gives and cw_set ends.

-- The time a caller has to refresh a stale entry before another is asked to, unless it sets its
-- own.
local REFRESH_LOCK_MS = 10 * 1000
local MAX_LOCK_MS = 10 * 60 * 1000

local lease = {
  -- The token of an operation that is not cached. It matches no fill.
  NONE = '0',
}

-- lease.detach_operations keeps counts exact when the module's head is created: entries that the
-- operations list so far are not live.
function lease.detach_operations(slot, op)
  local operations = {op, unpack(counters.operations_now(slot))}
  local with_heads, now = operations_with_heads(slot, operations), now_ms()
  local work = budget.new(#with_heads, 0)
  invalidation.delete_heads(slot, with_heads)
  for _, operation in ipairs(with_heads) do
    local found = survey.inspect(slot, operation.epoch, now, work)
    dispose.of_index(slot, operation.op, operation.epoch, found, work)
  end
  jobs.save(slot, work)
end

-- lease.create_head replaces what is under the key, in a way that frees large values in the
-- background.
function lease.create_head(key, value, ms)
  call('UNLINK', key)
  call('SET', key, value, 'PX', ms)
  return value
end

-- lease.create_heads creates the heads that are missing, makes the others last, and returns all.
function lease.create_heads(slot, op, user, heads, rule)
  local raw, keys = heads.raw, head_keys(slot, op, user)
  local ms, slack = heads_life(rule)
  local least = ms + slack
  for i, key in ipairs(keys) do
    if raw[i] then least = math.min(least, keep_for(key, ms, slack)) end
  end
  ms = ms + slack
  if not raw[1] then
    lease.detach_operations(slot, op)
    raw[1], raw[2] = lease.create_head(keys[1], new_epoch(slot), ms), false
    call('HSET', counters_key(slot), counters.SINCE, raw[1])
  end
  raw[2] = raw[2] or lease.create_head(keys[2], new_epoch(slot) .. new_epoch(slot), ms)
  if user ~= '' and not raw[3] then
    local work = budget.new(0, 0)
    dispose.of_user_index(slot, user, work) -- it belonged to a former head
    jobs.save(slot, work)
    raw[3] = lease.create_head(keys[3], new_epoch(slot), ms)
  end
  heads = heads_from(raw, user)
  note_kept(heads, rule, now_ms(), least)
  return heads
end

-- lease.take returns the heads that a load begins with, and makes them last.
function lease.take(slot, op, user, heads, rule)
  local of_op = keys_of_operation(slot, op)
  if heads.missing then
    heads = lease.create_heads(slot, op, user, heads, rule)
  else
    keep_heads(slot, of_op, user, heads, rule, now_ms())
  end
  heads.rule, heads.of_op = rule, of_op
  if user ~= '' then
    user_index.clean(user_index_key(slot, user), now_ms(), user_index.clean_names)
  end
  return heads
end

-- lease.is_entry_held says whether a mark takes the place of an entry. value is what was read of it
-- if no head is missing.
function lease.is_entry_held(slot, name, heads, value)
  if heads.missing then return marks.is_at(entry_key(slot, name)) end
  return value and marks.is_mark(value)
end

-- lease.held_ms returns for how many ms marks keep an entry from being filled. A mark that does not
-- expire gets an expiry, else it would stand forever.
function lease.held_ms(slot, op, user, name)
  local keys, longest = head_keys(slot, op, user), 0
  keys[#keys + 1] = entry_key(slot, name)
  local ms, is_endless
  for _, key in ipairs(keys) do
    ms, is_endless = marks.remaining(key)
    if is_endless then call('PEXPIRE', key, ms) end
    longest = math.max(longest, ms)
  end
  if ms > 0 then marks.note_again(slot, ms) end -- the last of them is that of the entry
  return longest
end

-- A load lock holds the token of the caller that loads.

local lock = {}

-- lock.mark returns the token that a caller gets together with the lock.
function lock.mark(token) return LOCKED .. string.sub(token, 2) end

-- lock.read returns the token of the load lock's owner. Whatever is longer than a token is not one.
function lock.read(slot, name) return call('GETRANGE', lock_key(slot, name), '0', '127') end

-- lock.take says whether the caller now has the load lock, or for how long another has it. A lock
-- counts only while its owner's token does: nobody waits for a load that will be fenced. The fence
-- in the token does not matter: deleting this entry also deletes its lock, and deleting another
-- does not fence the load.
function lock.take(slot, name, heads, ms)
  local key = lock_key(slot, name)
  if differs_by_fence(lock.read(slot, name), heads) then
    local left = call('PTTL', key)
    if left > 0 then return false, math.min(left, MAX_LOCK_MS) end
  end
  call('SET', key, heads.token, 'PX', ms)
  return true, 0
end

function lock.release(slot, name, token)
  if lock.read(slot, name) == token then call('UNLINK', lock_key(slot, name)) end
end

