---------------------------------------------------------------------------------------------------
-- cw_report
--   KEYS   the slot
--   ARGV   op counter n …
--   reply  how many counters it added; 0 for an operation that is not cached
--
-- For clients that read by MGET, which Redis does not count.

local reported = {max = 16, counters = {hits = true, misses = true, stale = true, errors = true}}

function calls.cw_report(keys, args)
  local slot = slot_of(keys, 'cw_report')
  if #args < 3 or #args % 2 ~= 1 or #args > 1 + 2 * reported.max then
    refuse('cw_report takes op and 1 to ' .. reported.max .. ' pairs of counter and n, not '
      .. #args .. ' arguments')
  end
  want_bytes('cw_report', 'op', args[1], 1, MAX_OPERATION_BYTES)
  for i = 2, #args, 2 do
    if not reported.counters[args[i]] then
      refuse('cw_report: the counters are hits, misses, stale and errors')
    end
    if not string.match(args[i + 1], '^%d+$') or #args[i + 1] > 15 then
      refuse('cw_report: n must be a whole number from 0 to 999999999999999')
    end
  end
  if not rule_for(slot, args[1]) or not admit(slot, args[1]) then return 0 end
  for i = 2, #args, 2 do count(slot, args[i], args[1], args[i + 1]) end
  return (#args - 1) / 2
end

