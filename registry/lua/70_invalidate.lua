---------------------------------------------------------------------------------------------------
-- Invalidation of each scope, by mode: hard; soft, which makes entries stale; or dry, which changes
-- nothing. Each function returns the number of live keys in scope, and how many wait for reclaim.

local HARD, SOFT, DRY = 'hard', 'soft', 'dry'

local invalidation = {
  -- An operation of a user with more entries in the module is invalidated together with all of
  -- them.
  max_user_entries = 256,
}

-- invalidation.soften renews the soft epoch of a head, which begins after so many bytes. It drops
-- what is not a head.
function invalidation.soften(slot, head, hard_len)
  local value = read_string(head)
  if not value or marks.is_mark(value) then return end
  if #value ~= hard_len and #value ~= hard_len + EPOCH_LEN then
    foreign.drop(head)
  else
    call('SET', head, string.sub(value, 1, hard_len) .. new_epoch(slot), 'KEEPTTL')
  end
end

-- invalidation.delete_heads deletes the heads of operations, which invalidates their entries and
-- detaches their indexes. Those that are held have a mark instead, which stays.
function invalidation.delete_heads(slot, operations)
  local keys = {}
  for _, operation in ipairs(operations) do
    if not operation.held then keys[#keys + 1] = operation_head_key(slot, operation.op) end
    keys[#keys + 1] = deletions_key(slot, operation.op)
  end
  batched(keys, function(...) return call('UNLINK', ...) end)
end

-- invalidation.free frees the entries of an operation, whose head was deleted, and counts them.
function invalidation.free(slot, operation, live, work)
  local op, epoch, now, reads = operation.op, operation.epoch, now_ms(), budget.reads_of_next(work)
  local found = survey.inspect(slot, epoch, now, work)
  if live and not dispose.is_at_once(found, work) then
    survey.add_live(slot, op, epoch, found, reads, now, work)
  end
  local freed, waiting = dispose.of_index(slot, op, epoch, found, work)
  if not live then return 0, waiting end
  -- The number of freed entries is exact: it excludes those evicted before.
  if waiting == 0 then return freed, 0 end
  return found.live or found.size, waiting
end

-- invalidation.count counts the entries of an operation.
function invalidation.count(slot, operation, live, work, mode)
  local found = survey.count(slot, operation.op, operation.epoch, now_ms(), work)
  local keys = live and found.live or 0
  if mode == SOFT then return keys, 0 end
  if keys > work.members then return keys, keys end
  if keys > 0 then budget.spend_members(work, keys + budget.job_cost) end
  return keys, 0
end

-- invalidation.purge_operation invalidates an operation, hard. heads is what is under the keys of
-- its head and of the module's.
function invalidation.purge_operation(slot, op, heads, work)
  local of_op, operation = keys_of_operation(slot, op), operation_under(op, heads[1])
  if operation.held then
    call('UNLINK', of_op.deletions)
  else
    call('UNLINK', of_op.head, of_op.deletions)
  end
  if not operation.epoch then return 0, 0 end
  local live = heads[2] and not marks.is_mark(heads[2])
  return invalidation.free(slot, operation, live, work)
end

function invalidation.of_operation(slot, op, mode, work)
  local of_op = keys_of_operation(slot, op)
  local heads = call('MGET', of_op.head, of_op.module_head)
  if mode == HARD then return invalidation.purge_operation(slot, op, heads, work) end
  local operation = operation_under(op, heads[1])
  if not operation.epoch then return 0, 0 end
  local live = heads[2] and not marks.is_mark(heads[2])
  local keys, waiting = invalidation.count(slot, operation, live, work, mode)
  if mode == DRY then return keys, waiting end
  invalidation.soften(slot, of_op.head, 2 * EPOCH_LEN)
  return keys, 0
end

-- invalidation.delete_module_head precedes anything that may fail. It says whether there was a
-- head.
function invalidation.delete_module_head(slot)
  local key = module_head_key(slot)
  return not marks.is_at(key) and call('UNLINK', key) == 1
end

-- invalidation.of_module invalidates all operations. live says whether the module has, or had, a
-- head.
function invalidation.of_module(slot, mode, operations, live, work)
  local with_heads, total, waiting_total = operations_with_heads(slot, operations), 0, 0
  work.operations = work.operations + #with_heads
  if mode == HARD then invalidation.delete_heads(slot, with_heads) end
  local each = mode == HARD and invalidation.free or invalidation.count
  for _, operation in ipairs(with_heads) do
    local keys, waiting = each(slot, operation, live, work, mode)
    total, waiting_total = total + keys, waiting_total + waiting
  end
  if mode ~= SOFT then return total, waiting_total end
  invalidation.soften(slot, module_head_key(slot), EPOCH_LEN)
  return total, 0
end

-- invalidation.heads_with parses the heads over a user's entries, with this head of the user.
function invalidation.heads_with(slot, op, user, user_head)
  local of_op = keys_of_operation(slot, op)
  local raw = call('MGET', of_op.module_head, of_op.head)
  raw[3] = user_head
  return heads_from(raw, user)
end

-- invalidation.live_names lists the entries that are live, or were, under this head of their user:
-- first those of op, then the others.
function invalidation.live_names(slot, user, user_head, names, op)
  local of_op, others, heads_of = {}, {}, {}
  for _, name in ipairs(names) do
    local entry_op = parse_name(name)
    if entry_op then
      local heads = heads_of[entry_op] or invalidation.heads_with(slot, entry_op, user, user_head)
      heads_of[entry_op] = heads
      if read_entry(read_header(entry_key(slot, name)), heads, user) then
        local list = op == entry_op and of_op or others
        list[#list + 1] = name
      end
    end
  end
  return of_op, others
end

-- invalidation.count_user counts the entries that are live, or were, under this head of their
-- user. If there are more than max, it trusts the index.
function invalidation.count_user(slot, user, user_head, max)
  if not (user_head and is_head(3, user_head)) then return 0 end
  if not head_exists(module_head_key(slot)) then return 0 end
  local key = user_index_key(slot, user)
  local listed = user_index.names(key, max)
  if not listed then return user_index.count(key, now_ms()) end
  local _, names = invalidation.live_names(slot, user, user_head, listed, nil)
  return #names
end

-- invalidation.of_user invalidates a user. The caller may know what begins the head.
function invalidation.of_user(slot, user, mode, work, known)
  local head = user_head_key(slot, user)
  local before = known or read_string(head)
  if mode == HARD then delete_head(head, before) end
  local keys = invalidation.count_user(slot, user, before, work.members)
  if mode == SOFT then
    invalidation.soften(slot, head, EPOCH_LEN)
    return keys, 0
  end
  if mode == DRY then return keys, keys > budget.inline_keys and keys or 0 end
  return keys, dispose.of_user_index(slot, user, work)
end

-- invalidation.expire_freshness makes an entry stale now.
function invalidation.expire_freshness(slot, name)
  call('SETRANGE', entry_key(slot, name), FRESH_UNTIL_AT, struct.pack('>I8', 0))
end

-- invalidation.restamp writes the user's new epoch into entries, so that they stay live.
function invalidation.restamp(slot, names, epoch)
  for _, name in ipairs(names) do
    call('SETRANGE', entry_key(slot, name), USER_EPOCH_AT, epoch)
  end
end

-- invalidation.of_user_operation uses the user's index, because no head covers one operation of one
-- user. Renewing the user's epoch fences loads in progress. It also invalidates entries that the
-- index lacks, for example because it was evicted. It comes first, so that the invalidation is in
-- effect even if the rest fails. A user with many entries is invalidated as a whole: separating the
-- entries would take too long.
function invalidation.of_user_operation(slot, op, user, mode, work)
  local key, listing = user_head_key(slot, user), user_index_key(slot, user)
  local head = read_string(key)
  if not head or not is_head(3, head) then
    if mode ~= DRY then delete_head(key, head) end
    return 0, 0
  end
  if mode ~= DRY then user_index.clean(listing, now_ms(), budget.reclaim_keys) end
  local listed = user_index.names(listing, invalidation.max_user_entries)
  if not listed then return invalidation.of_user(slot, user, mode, work) end
  local epoch = new_epoch(slot)
  if mode ~= DRY then call('SET', key, epoch .. string.sub(head, EPOCH_LEN + 1), 'KEEPTTL') end
  local names, others = invalidation.live_names(slot, user, head, listed, op)
  if mode == DRY then return #names, 0 end
  invalidation.restamp(slot, others, epoch)
  if mode == SOFT then
    invalidation.restamp(slot, names, epoch)
    for _, name in ipairs(names) do invalidation.expire_freshness(slot, name) end
  else
    entries.free(slot, names, {})
  end
  return #names, 0
end

-- invalidation.of_operation_or_user invalidates any scope but a module.
function invalidation.of_operation_or_user(slot, op, user, mode, work)
  if user == '' then return invalidation.of_operation(slot, op, mode, work) end
  -- A mark takes the place of the user's head, which covers all operations of the user.
  local marks_user = op == '' or mode ~= SOFT and source_lag.is_in_policy(slot)
    and source_lag.of_operation(slot, op) > 0
  if marks_user then return invalidation.of_user(slot, user, mode, work) end
  return invalidation.of_user_operation(slot, op, user, mode, work)
end

-- invalidation.run takes the module's operations, and whether it has or had a head, for the scope
-- of the whole module. Its third result says whether there is a policy for sure.
function invalidation.run(slot, op, user, mode, operations, live)
  local work, keys, waiting = budget.new(user == '' and op ~= '' and 1 or 0, budget.inline_keys)
  if user == '' and op == '' then
    keys, waiting = invalidation.of_module(slot, mode, operations, live, work)
  else
    keys, waiting = invalidation.of_operation_or_user(slot, op, user, mode, work)
  end
  jobs.save(slot, work)
  return keys, waiting, mode == HARD and source_lag.mark_scope(slot, op, user)
end

-- invalidation.record updates the counters, unless there is no policy. An invalidation of the
-- module counts for each operation.
function invalidation.record(slot, op, user, operations, has_policy)
  if not has_policy and call('EXISTS', policy_key(slot)) == 0 then return end
  count(slot, 'invalidations', '')
  if op ~= '' then
    count(slot, 'invalidations', op)
  elseif user == '' then
    for _, known in ipairs(operations) do count(slot, 'invalidations', known) end
  end
end

