---------------------------------------------------------------------------------------------------
-- cw_hold
--   KEYS   the slot
--   ARGV   hold_id ms {kind op user id}…; kind s: a scope, with empty id; kind e: an entry
--   reply  {live, stood}: live entries that it invalidated, and for how many things a mark named
--          this hold before
--
-- It invalidates what is named, and leaves marks there for so many ms. What has a mark already is
-- invalid and stays so until the last mark ends.

local hold = {max_things = 64, SCOPE = 's', ENTRY = 'e'}

function hold.want_id(name, id)
  want_bytes(name, 'hold_id', id, marks.id_bytes, marks.id_bytes)
  if id == marks.NOBODY then refuse(name .. ': hold_id must be random, not 16 zero bytes') end
end

function hold.want_ms(text)
  local ms = parse_whole(text)
  if not ms or ms < 1 or ms > marks.max_ms then
    refuse('cw_hold: ms must be a whole number from 1 to ' .. marks.max_ms)
  end
  return ms
end

-- hold.key_of returns the key where a thing has its mark. An operation of a user marks the user.
function hold.key_of(slot, thing)
  if thing.kind == hold.ENTRY then
    return member_key(slot, thing.op, member_of(thing.user, thing.id))
  end
  if thing.user ~= '' then return user_head_key(slot, thing.user) end
  return thing.op ~= '' and operation_head_key(slot, thing.op) or module_head_key(slot)
end

function hold.want_thing(name, thing)
  if thing.kind == hold.ENTRY then
    want_entry(name, thing.op, thing.id, thing.user)
  elseif thing.kind == hold.SCOPE then
    want_bytes(name, 'op', thing.op, 0, MAX_OPERATION_BYTES)
    want_bytes(name, 'user', thing.user, 0, MAX_USER_BYTES)
    if thing.id ~= '' then refuse(name .. ': the id of a scope must be empty') end
  else
    refuse(name .. ': kind must be s for a scope or e for an entry')
  end
end

-- hold.things returns what the arguments from this one on name.
function hold.things(name, slot, args, first)
  local things, count = {}, (#args - first + 1) / 4
  if count < 1 or count > hold.max_things or count % 1 ~= 0 then
    refuse(name .. ' takes 1 to ' .. hold.max_things .. ' things, each as kind, op, user and id')
  end
  for i = first, #args, 4 do
    local thing = {kind = args[i], op = args[i + 1], user = args[i + 2], id = args[i + 3]}
    hold.want_thing(name, thing)
    things[#things + 1] = thing
  end
  for _, thing in ipairs(things) do thing.key = hold.key_of(slot, thing) end
  return things
end

-- hold.of_each passes each thing to a function, with the budget that they share, but not twice if
-- two have their mark in one place. It returns the sums of its two results. The second counts for
-- each thing.
function hold.of_each(slot, things, fn)
  local work, first_sum, second_sum, of_key = budget.new(#things, budget.inline_keys), 0, 0, {}
  for _, thing in ipairs(things) do
    if not of_key[thing.key] then
      local first, second = fn(slot, thing, work)
      first_sum, of_key[thing.key] = first_sum + first, second
    end
    second_sum = second_sum + of_key[thing.key]
  end
  jobs.save(slot, work)
  return first_sum, second_sum
end

-- hold.invalidate invalidates a thing without a mark, and returns how many live entries it had.
-- value begins with what is under its key.
function hold.invalidate(slot, thing, value, work)
  if thing.kind == hold.ENTRY then
    return deletions.of_entry(slot, thing.op, thing.user, thing.id, value) and 1 or 0
  end
  if thing.user ~= '' then return (invalidation.of_user(slot, thing.user, HARD, work)) end
  if thing.op ~= '' then return (invalidation.of_operation(slot, thing.op, HARD, work)) end
  local live = invalidation.delete_module_head(slot)
  local operations = counters.operations(slot, policy.rules(slot))
  return (invalidation.of_module(slot, HARD, operations, live, work))
end

-- hold.write writes the mark of a thing.
function hold.write(slot, thing, records)
  local last = marks.write(thing.key, records)
  if last > 0 and thing.kind == hold.ENTRY then marks.note_entry(slot, last) end
end

function calls.cw_hold(keys, args)
  local slot = slot_of(keys, 'cw_hold')
  if #args < 2 then refuse('cw_hold takes hold_id, ms and things') end
  local id, ms = args[1], hold.want_ms(args[2])
  hold.want_id('cw_hold', id)
  local things, now = hold.things('cw_hold', slot, args, 3), now_ms()
  local live, stood = hold.of_each(slot, things, function(_, thing, work)
    local mark, value = marks.read(thing.key)
    local covered = mark and 0 or hold.invalidate(slot, thing, value, work)
    local records = mark and marks.parse(mark, now) or {}
    local was_there = marks.enter(records, id, now + ms)
    hold.write(slot, thing, records)
    return covered, was_there and 1 or 0
  end)
  return {live, stood}
end
