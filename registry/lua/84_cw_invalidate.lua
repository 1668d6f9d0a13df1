---------------------------------------------------------------------------------------------------
-- cw_invalidate
--   KEYS   the slot
--   ARGV   op user mode request_id; empty op and user: the whole module
--   reply  {keys, pending}: live keys in scope, and how many wait for reclaim

local request = {
  max_id_bytes = 128,
  -- How long the answer to a request id is kept.
  lifetime_ms = 24 * 3600 * 1000,
}

-- request.digest identifies what an invalidation asks for.
function request.digest(op, user, mode)
  return string.sub(redis.sha1hex(mode .. ':' .. #op .. ':' .. op .. user), 1, 16)
end

-- request.read returns the answer recorded for a request id, "<keys> <pending> <digest>", and the
-- digest. Marks written by the Go client have no digest and match any request.
function request.read(slot, id)
  local recorded = call('GETRANGE', request_key(slot, id), '0', '63')
  local keys, waiting, asked = string.match(recorded, '^(%d+) (%d+) ?(%x*)$')
  keys, waiting = parse_whole(keys), parse_whole(waiting)
  if keys and waiting then return {keys, waiting}, asked end
  return nil
end

-- request.recorded returns the answer recorded for a request id.
function request.recorded(slot, id, digest)
  if id == '' then return nil end
  local answer, asked = request.read(slot, id)
  if answer and asked ~= '' and asked ~= digest then
    refuse('cw_invalidate: this request_id was used for another op, user or mode; use a new one')
  end
  return answer
end

-- request.record keeps the answer to a request for so many ms.
function request.record(slot, id, answer, digest, ms)
  local record = answer[1] .. ' ' .. answer[2] .. ' ' .. digest
  call('SET', request_key(slot, id), record, 'PX', string.format('%d', ms))
end

-- request.carry_out invalidates, and counts that.
function request.carry_out(slot, op, user, mode)
  local operations, live = {}, false
  if op == '' and user == '' then
    if mode == HARD then
      live = invalidation.delete_module_head(slot)
    else
      live = head_exists(module_head_key(slot))
    end
    operations = counters.all_operations(slot) -- each counts it
  end
  local covered, waiting, has_policy = invalidation.run(slot, op, user, mode, operations, live)
  if mode ~= DRY then invalidation.record(slot, op, user, operations, has_policy) end
  return {covered, waiting}
end

function calls.cw_invalidate(keys, args)
  local slot = slot_of(keys, 'cw_invalidate')
  want_args('cw_invalidate', args, 'op user mode request_id', 4)
  local op, user, mode, request_id = args[1], args[2], args[3], args[4]
  want_bytes('cw_invalidate', 'op', op, 0, MAX_OPERATION_BYTES)
  want_bytes('cw_invalidate', 'user', user, 0, MAX_USER_BYTES)
  want_bytes('cw_invalidate', 'request_id', request_id, 0, request.max_id_bytes)
  if mode ~= HARD and mode ~= SOFT and mode ~= DRY then
    refuse('cw_invalidate: mode must be hard, soft or dry')
  end
  local digest = request.digest(op, user, mode)
  local answer = mode ~= DRY and request.recorded(slot, request_id, digest)
  if answer then return answer end
  answer = request.carry_out(slot, op, user, mode)
  if mode ~= DRY and request_id ~= '' then
    request.record(slot, request_id, answer, digest, request.lifetime_ms)
  end
  return answer
end

