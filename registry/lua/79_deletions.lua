---------------------------------------------------------------------------------------------------
-- The log of single deletions of an operation. A deletion renews the fence in the operation's head,
-- which concerns every load in progress, and every near cache. The log tells which of them the
-- deletion does not cover.
-- Its records are <the fence that a deletion replaced><digest of the deleted entry's name>.

local deletions = {
  digest_bytes = 16,
  memoised_bytes = 160, -- of the name of an entry
  FENCE_AT = EPOCH_LEN .. '', -- position in the head of an operation
  -- A log that lasts no longer than this is made to last with each deletion.
  short_ms = 20 * 1000,
}

deletions.record_bytes = EPOCH_LEN + deletions.digest_bytes
-- A lease can look back on the last 128 deletions.
deletions.max_bytes = 128 * deletions.record_bytes

-- deletions.digest identifies an entry. The last one of an operation is memoised, because the
-- release of a hold often follows.
function deletions.digest(of_op, name)
  if of_op.digested == name then return of_op.digest end
  local digest = string.sub(redis.sha1hex(name), 1, deletions.digest_bytes)
  if #name <= deletions.memoised_bytes then of_op.digested, of_op.digest = name, digest end
  return digest
end

-- deletions.covers says whether an entry was deleted after a lease saw this fence. A fence that is
-- not in the log, because it was trimmed or evicted, may hide any deletion.
function deletions.covers(slot, op, name, fence)
  local record_bytes = deletions.record_bytes
  local log = call('GETRANGE', deletions_key(slot, op), -deletions.max_bytes, -1)
  if #log % record_bytes ~= 0 then return true end
  local digest, seen = deletions.digest(keys_of_operation(slot, op), name), false
  for from = 1, #log, record_bytes do
    local digest_from = from + EPOCH_LEN
    seen = seen or string.sub(log, from, digest_from - 1) == fence
    local record_end = from + record_bytes - 1
    if seen and string.sub(log, digest_from, record_end) == digest then return true end
  end
  return not seen
end

-- deletions.keep makes a log last as long as the head, which lasts for the loads that began under
-- it. It remembers for how long that need not be done again.
function deletions.keep(of_op)
  local ms = math.max(call('PTTL', of_op.head), 1)
  call('PEXPIRE', of_op.deletions, string.format('%d', ms))
  of_op.log_kept_until = now_ms() + (ms > deletions.short_ms and ms / 2 or 0)
end

-- deletions.add keeps the log to complete records, and to twice the bytes that are read.
function deletions.add(of_op, record)
  local log = of_op.deletions
  local length = call('APPEND', log, record)
  local is_new = length == deletions.record_bytes
  if length % deletions.record_bytes ~= 0 then
    call('SET', log, record)
    is_new = true
  elseif length > 2 * deletions.max_bytes then
    call('SET', log, call('GETRANGE', log, -deletions.max_bytes, -1))
    is_new = true
  end
  if is_new or now_ms() >= (of_op.log_kept_until or 0) then deletions.keep(of_op) end
end

-- deletions.fence fences the loads of an entry and no others. The record comes first: if Redis
-- refuses the rest, the log tells of a deletion too many, and never of one too few.
function deletions.fence(slot, of_op, name, op_head)
  deletions.add(of_op, fence_of(op_head) .. deletions.digest(of_op, name))
  call('SETRANGE', of_op.head, deletions.FENCE_AT, new_epoch(slot))
end

-- deletions.delist takes an entry out of the indexes that are in use. epoch is that of its
-- operation, or nil.
function deletions.delist(slot, epoch, user, member, name, header)
  local slice, chunk
  if epoch then slice, chunk = listed_in(header, epoch) end
  if slice then delist(slot, epoch, slice, chunk, member) end
  if user ~= '' then call('ZREM', user_index_key(slot, user), name) end
end

-- deletions.of_entry removes an entry, but no mark, and fences loads of it that are in progress. It
-- says whether the entry was live. header begins with what is under its key. An entry that the
-- caller overwrites next is not deleted.
function deletions.of_entry(slot, op, user, id, header, is_overwritten)
  local of_op, member = keys_of_operation(slot, op), member_of(user, id)
  local name, heads = of_op.name .. member, heads_once(raw_heads(of_op, slot, user), user)
  local op_head, lock = heads.raw[2], lock_key(slot, name)
  if op_head then deletions.fence(slot, of_op, name, op_head) end
  local is_entry = header ~= '' and not marks.is_mark(header)
  if is_entry then
    deletions.delist(slot, op_head and epoch_of(op_head), user, member, name, header)
  end
  -- The load of the lock's owner is fenced now.
  if is_entry and not is_overwritten then
    call('UNLINK', lock, of_op.entries .. member)
  else
    call('UNLINK', lock)
  end
  return read_entry(header, heads, user) ~= nil
end

-- deletions.renew_fence changes the head of an operation without effect on entries and loads.
function deletions.renew_fence(slot, op)
  local of_op = keys_of_operation(slot, op)
  local head = read_string(of_op.head)
  if head and is_head(2, head) then deletions.fence(slot, of_op, '', head) end
end
