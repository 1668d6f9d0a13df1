---------------------------------------------------------------------------------------------------
-- cw_reclaim KEY max: [freed, pending].

local function cw_reclaim(keys, args)
  local slot = slot_of(keys, 'cw_reclaim')
  want_args('cw_reclaim', args, 'max', 1)
  local max = tonumber(args[1])
  if not max or max < 1 or max % 1 ~= 0 then
    refuse('cw_reclaim: max must be a whole number of at least 1')
  end
  return {reclaim(slot, math.min(max, MAX_RECLAIM_KEYS)), pending_total(slot)}
end

