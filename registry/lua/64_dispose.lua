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

