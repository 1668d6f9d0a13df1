---------------------------------------------------------------------------------------------------
-- cw_fence
--   KEYS   the slot
--   ARGV   [check]
--   reply  {incarnation, state}. state 0: the module was fenced in this incarnation already; 1: this
--          call fenced it; -1, only with check: it is not fenced, and nothing changed
--
-- After a restart or a failover, Redis may hold what was invalidated since. A fence is the first
-- invalidation of the module in such an incarnation of the data. It is remembered as an invalidation
-- with a request id is, but longer.

local fence = {
  CHECK = 'check',
  IN_PLACE = 0, PUT = 1, MISSING = -1,
  lifetime_ms = 30 * 24 * 3600 * 1000,
}

-- fence.info returns the reply to INFO. A function has the rights of its caller, and an ACL may
-- forbid INFO, which versions of Redis say in different words.
function fence.info()
  local info = redis.pcall('INFO', 'server', 'replication')
  if type(info) == 'string' then return info end
  local text = guard.text_of(info)
  if has_prefix(text, 'NOPERM') or string.find(text, 'ACL failure', 1, true)
    or has_prefix(text, 'ERR The user executing the script') then
    refuse('NOPERM cw_fence needs the right to call INFO (+info)')
  end
  return ''
end

-- fence.incarnation names one life of the data: the process that holds it, and its history.
function fence.incarnation()
  local info = fence.info()
  local run_id = string.match(info, '\nrun_id:(%w*)') or ''
  local history = string.match(info, '\nmaster_replid:(%w*)') or ''
  if run_id == '' and history == '' then
    refuse('cw_fence: INFO has neither run_id nor master_replid, or is unknown to this server; '
      .. 'nobody can see whether an older state of the data came back')
  end
  return run_id .. '/' .. history
end

-- fence.is_in_place says whether the module was fenced. What is under the key may be an answer to
-- another request, or not be from the library.
function fence.is_in_place(slot, id, digest)
  local answer, asked = request.read(slot, id)
  return answer and (asked == '' or asked == digest)
end

function calls.cw_fence(keys, args)
  local slot = slot_of(keys, 'cw_fence')
  local check = args[1] == fence.CHECK
  if #args > 1 or #args == 1 and not check then
    refuse('cw_fence takes no argument, or only the word check')
  end
  local incarnation = fence.incarnation()
  local id, digest = 'fence/' .. incarnation, request.digest('', '', HARD)
  if fence.is_in_place(slot, id, digest) then
    call('PEXPIRE', request_key(slot, id), string.format('%d', fence.lifetime_ms))
    return {incarnation, fence.IN_PLACE}
  end
  if check then return {incarnation, fence.MISSING} end
  local answer = request.carry_out(slot, '', '', HARD)
  request.record(slot, id, answer, digest, fence.lifetime_ms)
  return {incarnation, fence.PUT}
end

