---------------------------------------------------------------------------------------------------
-- cw_reclaim
--   KEYS   the slot
--   ARGV   max
--   reply  {freed, pending}

function calls.cw_reclaim(keys, args)
  local slot = slot_of(keys, 'cw_reclaim')
  want_args('cw_reclaim', args, 'max', 1)
  local max = tonumber(args[1])
  if not max or max < 1 or max % 1 ~= 0 then
    refuse('cw_reclaim: max must be a whole number of at least 1')
  end
  return {jobs.run(slot, math.min(max, budget.reclaim_keys)), jobs.total(slot)}
end

