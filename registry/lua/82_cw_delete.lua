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

