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

function hold.want_thing(name, kind, op, user, id)
  if kind == hold.ENTRY then
    want_entry(name, op, id, user)
  elseif kind == hold.SCOPE then
    want_bytes(name, 'op', op, 0, MAX_OPERATION_BYTES)
    want_bytes(name, 'user', user, 0, MAX_USER_BYTES)
    if id ~= '' then refuse(name .. ': the id of a scope must be empty') end
  else
    refuse(name .. ': kind must be s for a scope or e for an entry')
  end
end

-- hold.want_things checks the arguments from this one on, and returns how many things they name.
function hold.want_things(name, args, first)
  local count = (#args - first + 1) / 4
  if count < 1 or count > hold.max_things or count % 1 ~= 0 then
    refuse(name .. ' takes 1 to ' .. hold.max_things .. ' things, each as kind, op, user and id')
  end
  for i = first, #args, 4 do
    hold.want_thing(name, args[i], args[i + 1], args[i + 2], args[i + 3])
  end
  return count
end

-- hold.key_of returns the key where a thing has its mark. An operation of a user marks the user.
function hold.key_of(slot, kind, op, user, id)
  if kind == hold.ENTRY then return member_key(slot, op, member_of(user, id)) end
  if user ~= '' then return user_head_key(slot, user) end
  return op ~= '' and operation_head_key(slot, op) or module_head_key(slot)
end

function hold.is_module(thing)
  return thing.kind == hold.SCOPE and thing.op == '' and thing.user == ''
end

-- hold.new returns what the things of one call share.
function hold.new(slot, id, things) return {slot = slot, id = id, things = things, noted = 0} end

-- hold.work_of returns the budget of a call.
function hold.work_of(held)
  held.work = held.work or budget.new(held.things, budget.inline_keys)
  return held.work
end

-- hold.of_each passes each thing to a function, but not twice if two have their mark in one place.
-- It returns the sums of its two results. The second counts for each thing.
function hold.of_each(held, args, first, fn)
  local slot, first_sum, second_sum, of_key = held.slot, 0, 0, {}
  for i = first, #args, 4 do
    local thing = {kind = args[i], op = args[i + 1], user = args[i + 2], id = args[i + 3]}
    local key = hold.key_of(slot, thing.kind, thing.op, thing.user, thing.id)
    if not of_key[key] then
      thing.key = key
      local first_result, second_result = fn(held, thing)
      first_sum, of_key[key] = first_sum + first_result, second_result
    end
    second_sum = second_sum + of_key[key]
  end
  if held.work then jobs.save(slot, held.work) end
  return first_sum, second_sum
end

-- hold.heads_of returns what is under the keys of the heads of an operation and of the module.
function hold.heads_of(held, thing)
  thing.heads = thing.heads or call('MGET', thing.key, module_head_key(held.slot))
  return thing.heads
end

-- hold.purge_module invalidates the operations of a module whose head is gone. live says whether it
-- had one.
function hold.purge_module(held, live)
  local slot, operations = held.slot, counters.operations_now(held.slot)
  return (invalidation.of_module(slot, HARD, operations, live, hold.work_of(held)))
end

-- hold.invalidate_scope returns how many live entries a scope without a mark had.
function hold.invalidate_scope(held, thing, value)
  local slot, work = held.slot, hold.work_of(held)
  if thing.user ~= '' then return (invalidation.of_user(slot, thing.user, HARD, work, value)) end
  if thing.op ~= '' then
    return (invalidation.purge_operation(slot, thing.op, hold.heads_of(held, thing), work))
  end
  return hold.purge_module(held, call('UNLINK', thing.key) == 1)
end

-- hold.invalidate invalidates a thing without a mark, and returns how many live entries it had.
-- value begins with what is under its key. The caller may overwrite that next.
function hold.invalidate(held, thing, value, is_overwritten)
  if thing.kind ~= hold.ENTRY then return hold.invalidate_scope(held, thing, value) end
  local op, user, id = thing.op, thing.user, thing.id
  return deletions.of_entry(held.slot, op, user, id, value, is_overwritten) and 1 or 0
end

-- hold.note lets the key that says that entries have marks last until this deadline.
function hold.note(held, thing, deadline)
  if thing.kind ~= hold.ENTRY or deadline <= held.noted then return end
  marks.note_entry(held.slot, deadline)
  held.noted = deadline
end

-- hold.begin invalidates what has no mark, and puts one there. value begins with what is under the
-- key. The mark of a module overwrites its head, which invalidates it.
function hold.begin(held, thing, value)
  if hold.is_module(thing) then
    marks.put(thing.key, held.mark, held.deadline)
    return hold.purge_module(held, value ~= '')
  end
  hold.note(held, thing, held.deadline)
  local live = hold.invalidate(held, thing, value, true)
  marks.put(thing.key, held.mark, held.deadline)
  return live
end

-- hold.write replaces a mark by these records.
function hold.write(held, thing, records)
  hold.note(held, thing, marks.write(thing.key, records))
end

-- hold.enter gives this hold a deadline in a mark. It says whether the mark named it before.
function hold.enter(held, thing, mark)
  local records = marks.parse(mark, now_ms())
  local was_there = marks.enter(records, held.id, held.deadline)
  hold.write(held, thing, records)
  return was_there
end

-- hold.read returns the mark of a thing, or nil, and the beginning of what is there. Of an
-- operation it reads what an invalidation needs.
function hold.read(held, thing)
  if thing.kind == hold.ENTRY or thing.user ~= '' or thing.op == '' then
    return marks.read(thing.key)
  end
  local value = hold.heads_of(held, thing)[1] or ''
  return marks.is_mark(value) and value or nil, value
end

-- hold.put returns how many live entries a thing had, and 1 if a mark named this hold before.
function hold.put(held, thing)
  local mark, value = hold.read(held, thing)
  if not mark then return hold.begin(held, thing, value), 0 end
  return 0, hold.enter(held, thing, mark) and 1 or 0
end

function calls.cw_hold(keys, args)
  local slot = slot_of(keys, 'cw_hold')
  if #args < 2 then refuse('cw_hold takes hold_id, ms and things') end
  local id, ms = args[1], hold.want_ms(args[2])
  hold.want_id('cw_hold', id)
  local held = hold.new(slot, id, hold.want_things('cw_hold', args, 3))
  held.deadline = now_ms() + ms
  held.mark = marks.of_one(id, held.deadline)
  local live, stood = hold.of_each(held, args, 3, hold.put)
  -- A call that is repeated after repairs finds marks that it put itself. Nobody knows which.
  return {live, call == guard.repairing_call and 0 or stood}
end
