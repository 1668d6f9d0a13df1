---------------------------------------------------------------------------------------------------
-- The log of single deletions of an operation. A deletion renews the fence in the operation's head,
-- which concerns every load in progress. The log tells which of them the deletion does not cover.
-- Its records are <the fence that a deletion replaced><digest of the deleted entry's name>.

local deletions = {digest_bytes = 16}

deletions.record_bytes = EPOCH_LEN + deletions.digest_bytes
-- A lease can look back on the last 128 deletions.
deletions.max_bytes = 128 * deletions.record_bytes

function deletions.digest(name)
  return string.sub(redis.sha1hex(name), 1, deletions.digest_bytes)
end

-- deletions.covers says whether an entry was deleted after a lease saw this fence. A fence that is
-- not in the log, because it was trimmed or evicted, may hide any deletion.
function deletions.covers(slot, op, name, fence)
  local record_bytes = deletions.record_bytes
  local log = call('GETRANGE', deletions_key(slot, op), -deletions.max_bytes, -1)
  if #log % record_bytes ~= 0 then return true end
  local digest, seen = deletions.digest(name), false
  for from = 1, #log, record_bytes do
    local digest_from = from + EPOCH_LEN
    seen = seen or string.sub(log, from, digest_from - 1) == fence
    local record_end = from + record_bytes - 1
    if seen and string.sub(log, digest_from, record_end) == digest then return true end
  end
  return not seen
end

-- deletions.add keeps the log to complete records, and to twice the bytes that are read.
function deletions.add(log, record)
  local length = call('APPEND', log, record)
  if length % deletions.record_bytes ~= 0 then
    call('SET', log, record)
  elseif length > 2 * deletions.max_bytes then
    call('SET', log, call('GETRANGE', log, -deletions.max_bytes, -1))
  end
end

-- deletions.fence fences the loads of an entry and no others.
function deletions.fence(slot, op, name, op_head)
  local head, log = operation_head_key(slot, op), deletions_key(slot, op)
  local soft = string.sub(op_head, 2 * EPOCH_LEN + 1)
  call('SET', head, epoch_of(op_head) .. new_epoch(slot) .. soft, 'KEEPTTL')
  deletions.add(log, fence_of(op_head) .. deletions.digest(name))
  call('PEXPIRE', log, math.max(call('PTTL', head), 1))
end

-- deletions.of_entry removes an entry, but no mark, and fences loads of it that are in progress. It
-- says whether the entry was live. header begins with what is under its key.
function deletions.of_entry(slot, op, user, id, header)
  local name = name_of(slot, op, member_of(user, id))
  local heads, lock = read_heads(slot, op, user), lock_key(slot, name)
  if heads.raw[2] then deletions.fence(slot, op, name, heads.raw[2]) end
  -- The load of the lock's owner is fenced now.
  if header == '' or marks.is_mark(header) then
    call('UNLINK', lock)
  else
    entries.delist(slot, {name}, {[name] = header})
    call('UNLINK', lock, entry_key(slot, name))
  end
  return read_entry(header, heads, user) ~= nil
end

-- deletions.fence_entry fences the loads of an entry.
function deletions.fence_entry(slot, op, user, id)
  local head = read_string(operation_head_key(slot, op))
  if head and is_head(2, head) then
    deletions.fence(slot, op, name_of(slot, op, member_of(user, id)), head)
  end
end

-- deletions.renew_fence changes the head of an operation without effect on entries and loads.
function deletions.renew_fence(slot, op)
  local head = read_string(operation_head_key(slot, op))
  if head and is_head(2, head) then deletions.fence(slot, op, '', head) end
end

