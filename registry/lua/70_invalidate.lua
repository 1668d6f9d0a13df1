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

