---------------------------------------------------------------------------------------------------
-- cw_release
--   KEYS   the slot
--   ARGV   hold_id {kind op user id}…, as cw_hold
--   reply  for how many things it took this hold out of a mark
--
-- It deletes a mark without other holders. If there is no mark, it was evicted or has expired, and
-- what it covered may have been filled since. So that is invalidated.

-- hold.mark_lag leaves a mark for as long as loads may read what was before the release.
function hold.mark_lag(slot, thing)
  if thing.kind == hold.ENTRY then
    source_lag.mark_entry(slot, thing.op, thing.key)
  else
    source_lag.mark_scope(slot, thing.op, thing.user)
  end
end

-- hold.lift returns 1 if the mark of a thing named this hold, else 0.
function hold.lift(slot, thing, id, now, work)
  local mark, value = marks.read(thing.key)
  if not mark then
    hold.invalidate(slot, thing, value, work)
    return 0
  end
  -- Callers could have used tokens of other entries for loads of this one.
  if thing.kind == hold.ENTRY then deletions.fence_entry(slot, thing.op, thing.user, thing.id) end
  local records, was_there = marks.leave(marks.parse(mark, now), id)
  hold.write(slot, thing, records)
  return was_there and 1 or 0
end

function calls.cw_release(keys, args)
  local slot = slot_of(keys, 'cw_release')
  if #args < 1 then refuse('cw_release takes hold_id and things') end
  local id = args[1]
  hold.want_id('cw_release', id)
  local things, now = hold.things('cw_release', slot, args, 2), now_ms()
  local _, lifted = hold.of_each(slot, things, function(_, thing, work)
    local lifted = hold.lift(slot, thing, id, now, work)
    hold.mark_lag(slot, thing)
    return 0, lifted
  end)
  return lifted
end
