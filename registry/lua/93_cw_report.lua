---------------------------------------------------------------------------------------------------
-- cw_report KEY op counter n …: adds the counters of a client that reads by MGET, and returns how
-- many it added. Operations that are not cached have none.

local MAX_REPORTED = 16

local function cw_report(keys, args)
  local slot = slot_of(keys, 'cw_report')
  if #args < 3 or #args % 2 ~= 1 or #args > 1 + 2 * MAX_REPORTED then
    refuse('cw_report takes op and 1 to ' .. MAX_REPORTED .. ' pairs of counter and n, not ' .. #args .. ' arguments')
  end
  want_bytes('cw_report', 'op', args[1], 1, MAX_OPERATION_BYTES)
  for i = 2, #args, 2 do
    if not REPORTED[args[i]] then
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

