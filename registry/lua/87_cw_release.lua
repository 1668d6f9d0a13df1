---------------------------------------------------------------------------------------------------
-- cw_release
--   KEYS   the slot
--   ARGV   hold_id {kind op user id}…, as cw_hold
--   reply  for how many things it took this hold out of a mark
--
-- It deletes a mark without other holders. If there is no mark, it was evicted or has expired, and
-- what it covered may have been filled since. So that is invalidated.

-- hold.mark_lag leaves a mark for as long as loads may read what was before the release.
function hold.mark_lag(held, thing)
  if held.has_lag == nil then held.has_lag = source_lag.is_in_policy(held.slot) end
  if not held.has_lag then return end
  if thing.kind == hold.ENTRY then
    source_lag.mark_entry(held.slot, thing.op, thing.key)
  else
    source_lag.mark_head(held.slot, thing.op, thing.user)
  end
end

-- hold.read_entry returns the mark of an entry, or nil, and the head of its operation, if it has
-- one.
function hold.read_entry(held, thing)
  local values = call('MGET', thing.key, operation_head_key(held.slot, thing.op))
  local mark, head = values[1], values[2]
  return mark and marks.is_mark(mark) and mark or nil, head and is_head(2, head) and head or nil
end

-- hold.fence fences the loads of an entry: callers could have used tokens of other entries for it.
function hold.fence(held, thing, op_head)
  local of_op = keys_of_operation(held.slot, thing.op)
  deletions.fence(held.slot, of_op, of_op.name .. member_of(thing.user, thing.id), op_head)
end

-- hold.take_out takes this hold out of a mark, and says whether the mark named it.
function hold.take_out(held, thing, mark)
  if marks.is_of_one(mark, held.id) then
    call('UNLINK', thing.key)
    return true
  end
  local records, was_there = marks.leave(marks.parse(mark, now_ms()), held.id)
  hold.write(held, thing, records)
  return was_there
end

-- hold.lift ends the hold of a thing. Its second result is 1 if a mark named it, else 0.
function hold.lift(held, thing)
  local mark, op_head, value
  if thing.kind == hold.ENTRY then
    mark, op_head = hold.read_entry(held, thing)
  else
    mark, value = marks.read(thing.key)
  end
  local was_there = false
  if mark then
    if op_head then hold.fence(held, thing, op_head) end
    was_there = hold.take_out(held, thing, mark)
  else
    hold.invalidate(held, thing, value or read_header(thing.key))
  end
  hold.mark_lag(held, thing)
  return 0, was_there and 1 or 0
end

function calls.cw_release(keys, args)
  local slot = slot_of(keys, 'cw_release')
  if #args < 1 then refuse('cw_release takes hold_id and things') end
  local id = args[1]
  hold.want_id('cw_release', id)
  local held = hold.new(slot, id, hold.want_things('cw_release', args, 2))
  local _, lifted = hold.of_each(held, args, 2, hold.lift)
  return lifted
end
