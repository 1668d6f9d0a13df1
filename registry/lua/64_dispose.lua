---------------------------------------------------------------------------------------------------
-- Freeing detached indexes and the entries that they list: at once if these are few, else as a job.

local dispose = {}

function dispose.aside_key(slot, nonce) return slot .. ':a:' .. nonce end

-- dispose.of_slice frees entries listed in a slice, from its open chunk downwards, with a function
-- that frees members. It returns how many it examined and how many it freed. Empty chunks count as
-- examined, since a sweep leaves many. at has the key and the length of the open chunk if these are
-- known.
function dispose.of_slice(slot, epoch, op, at, max, free_members)
  local examined, freed = 0, 0
  while examined < max and at.open >= 0 do
    local chunk = at.key or chunk_key(slot, epoch, at.slice, at.open)
    local members, cost, more = index.pop_members(chunk, max - examined, at.length)
    at.length, at.key = nil, nil
    examined = examined + cost
    freed = freed + free_members(slot, op, members)
    if not more then
      at.open = at.open - 1
      local length = at.open >= 0 and index.chunk_length(slot, epoch, at.slice, at.open)
      at.closed = length and at.closed - length or 0
    end
  end
  return examined, freed
end

-- dispose.write_slices writes what is left of the slices of an index: those up to this one were
-- examined.
function dispose.write_slices(slot, epoch, slices, last)
  if last == #slices and slices[last].open < 0 then
    call('UNLINK', index_key(slot, epoch))
    return
  end
  for i = 1, last do
    local at = slices[i]
    if at.open < 0 then
      index.delete_slice(slot, epoch, at.slice)
    else
      index.write_slice(slot, epoch, at.slice, at.open, at.closed)
    end
  end
end

-- dispose.of_slices frees entries listed in slices of a detached index, which are all that it has,
-- with a function that frees members. It returns how many it examined and how many it freed.
function dispose.of_slices(slot, epoch, op, slices, max, free_members)
  local examined, freed, last = 0, 0, 0
  for i, at in ipairs(slices) do
    if examined >= max then break end
    local left = max - examined
    local examined_here, freed_here = dispose.of_slice(slot, epoch, op, at, left, free_members)
    examined, freed, last = examined + examined_here, freed + freed_here, i
  end
  if last > 0 then dispose.write_slices(slot, epoch, slices, last) end
  return examined, freed
end

-- dispose.some_of_index does the same for the slices that it reads. It leaves entries that are live
-- again.
function dispose.some_of_index(slot, epoch, op, max)
  local is_dead = read_heads(slot, op, '').missing
  local free_members = is_dead and entries.free_members or entries.free_dead_members
  return dispose.of_slices(slot, epoch, op, index.slices(slot, epoch), max, free_members)
end

-- dispose.is_at_once says whether an index is small enough to free it in the call.
function dispose.is_at_once(found, work)
  return found.complete and found.size <= work.members
end

-- dispose.of_index frees an index and its entries, whose head is gone. It returns how many entries
-- it freed and how many wait.
function dispose.of_index(slot, op, epoch, found, work)
  if found.complete and found.size == 0 then
    if #found.slices > 0 then call('UNLINK', index_key(slot, epoch)) end
    return 0, 0
  end
  if not dispose.is_at_once(found, work) then
    jobs.defer(work, 'o', found.size, found.expiry, epoch .. ':' .. op)
    return 0, found.size
  end
  local examined, freed = dispose.of_slices(slot, epoch, op, found.slices, budget.reclaim_keys,
    entries.free_members)
  budget.spend_members(work, found.size + budget.job_cost)
  if examined < budget.reclaim_keys then return freed, 0 end
  jobs.defer(work, 'o', found.size - freed, found.expiry, epoch .. ':' .. op)
  return freed, math.max(1, found.size - freed)
end

-- dispose.some_of_user_index returns what it cost, how many entries it freed, and how many are
-- left. It drops an index whose names are too long to be names.
function dispose.some_of_user_index(slot, key, max)
  local size = call('ZCARD', key)
  if size == 0 then return 0, 0, 0 end
  if foreign.memory_of(key, max) > size * 2 * bounds.member_bytes then
    foreign.drop(key)
    return max, 0, 0
  end
  local popped, names = call('ZPOPMIN', key, max), {}
  for i = 1, #popped, 2 do names[#names + 1] = popped[i] end
  local freed = entries.free(slot, entries.dead(slot, names))
  return (index.cost_of(names)), freed, size - #names
end

-- dispose.of_user_index does the same for the index of a user whose head is gone. It returns how
-- many entries wait.
function dispose.of_user_index(slot, user, work)
  local key = user_index_key(slot, user)
  local size = call('ZCARD', key)
  if size == 0 then return 0 end
  local nonce, expiry = new_epoch(slot), call('PEXPIRETIME', key)
  local aside, max_expiry = dispose.aside_key(slot, nonce), now_ms() + 3 * MAX_TTL_MS
  call('RENAME', key, aside)
  if expiry < 0 or expiry > max_expiry then
    call('PEXPIREAT', aside, max_expiry)
    expiry = max_expiry
  end
  if size > work.members then
    jobs.defer(work, 'u', size, expiry, nonce)
    return size
  end
  local _, _, left = dispose.some_of_user_index(slot, aside, size)
  budget.spend_members(work, size + budget.job_cost)
  return left
end

