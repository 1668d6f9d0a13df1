---------------------------------------------------------------------------------------------------
-- cw_invalidate KEY op user mode request_id: [keys, pending].

local cw_invalidate
do
local MAX_REQUEST_ID_BYTES = 128
-- How long a request id keeps its answer.
local REQUEST_MS = 24 * 3600 * 1000

-- request_digest tells what an invalidation asks for from anything else.
local function request_digest(op, user, mode)
  return string.sub(redis.sha1hex(mode .. ':' .. #op .. ':' .. op .. user), 1, 16)
end

-- recorded_answer returns what a request id was answered before: "<keys> <pending> <digest>", the digest of what it asked
-- for. An answer without one is a mark that others leave, who need not know what a digest is.
local function recorded_answer(slot, request_id, digest)
  if request_id == '' then return nil end
  local recorded = call('GETRANGE', request_key(slot, request_id), '0', '63')
  local keys, waiting, asked = string.match(recorded, '^(%d+) (%d+) ?(%x*)$')
  keys, waiting = whole(keys), whole(waiting)
  if not keys or not waiting then return nil end
  if asked ~= '' and asked ~= digest then
    refuse('cw_invalidate: this request_id named an invalidation of another op, user or mode; take a new one for each')
  end
  return {keys, waiting}
end

function cw_invalidate(keys, args)
  local slot = slot_of(keys, 'cw_invalidate')
  want_args('cw_invalidate', args, 'op user mode request_id', 4)
  local op, user, mode, request_id = args[1], args[2], args[3], args[4]
  want_bytes('cw_invalidate', 'op', op, 0, MAX_OPERATION_BYTES)
  want_bytes('cw_invalidate', 'user', user, 0, MAX_USER_BYTES)
  want_bytes('cw_invalidate', 'request_id', request_id, 0, MAX_REQUEST_ID_BYTES)
  if mode ~= HARD and mode ~= SOFT and mode ~= DRY then
    refuse('cw_invalidate: mode must be hard, soft or dry')
  end
  local digest = request_digest(op, user, mode)
  local answer = mode ~= DRY and recorded_answer(slot, request_id, digest)
  if answer then return answer end
  local operations, live = {}, false
  if op == '' and user == '' then
    if mode == HARD then live = hide_module(slot) else live = head_exists(module_head_key(slot)) end
    operations = known_operations(slot, read_rules(slot))
  end
  local covered_keys, waiting = invalidate(slot, op, user, mode, operations, live)
  if mode ~= DRY then
    count_invalidation(slot, op, user, operations)
    if request_id ~= '' then
      call('SET', request_key(slot, request_id), covered_keys .. ' ' .. waiting .. ' ' .. digest, 'PX', REQUEST_MS)
    end
  end
  return {covered_keys, waiting}
end
end

