---------------------------------------------------------------------------------------------------
-- Keys. slot is KEYS[1], cw:{<namespace>/<module>}.
--
-- The keys of slots and operations are made once and remembered: Redis hashes each byte of each string that Lua
-- makes, so making them anew would cost more than all else that a fill does here.

-- What is remembered lives as long as the loaded library, on this server alone: one that was a replica in between has missed
-- calls. So it hangs on bytes that change with what it says, and each of these is emptied when it is full. Full is a number of
-- bytes: names are as long as callers like, and what Lua holds is beside maxmemory.
--
--   slots          keys, which follow from names. A policy that is written drops a slot's, see forget.
--   rules_by_text  rules, which follow from their text.
--   heads_by_text  what heads say, which follows from their bytes. And with them a rule: void when the operation's fence
--                  changes, which each change of its rule renews, or when the slot's keys (of_op) were dropped; and
--                  kept_by, the rule that a user's head was made to last for.
--   open_chunks    the chunks that are being filled, by epoch and slice. The index has the last word: turn_over asks it
--                  when a chunk is begun or full, and close_slice, which moves it on, drops what is remembered.

local function new_memory(most) return {items = {}, bytes = 0, most = most} end

local function empty(memory) memory.items, memory.bytes = {}, 0 end

local KIB = 1024
local heads_by_text = new_memory(2560 * KIB)
local slots = new_memory(2560 * KIB)
local rules_by_text = new_memory(256 * KIB)
local open_chunks = new_memory(512 * KIB)

-- make_room is called before something is remembered that takes about so many bytes of the Lua VM. Heads refer to keys and
-- rules, so they do not outlast them.
local function make_room(memory, bytes)
  if memory.bytes + bytes > memory.most then
    empty(memory)
    if memory ~= open_chunks then empty(heads_by_text) end
  end
  memory.bytes = memory.bytes + bytes
end

local function keys_of(slot)
  local keys = slots.items[slot]
  if keys then return keys end
  make_room(slots, 900 + 6 * #slot)
  keys = {
    policy = slot .. ':policy', counters = slot .. ':counters', pending = slot .. ':pending',
    module_head = slot .. ':m', entries = slot .. ':e:', operations = {},
  }
  slots.items[slot] = keys
  return keys
end

-- forget also parts the slot's operations from the rules that are remembered for them.
local function forget(slot) slots.items[slot] = nil end

local function make_keys_of_operation(slot, op)
  make_room(slots, 1700 + 2 * #slot + 11 * #op)
  local of_slot = keys_of(slot)
  local keys = {
    module_head = of_slot.module_head, counters = of_slot.counters, fields = {}, -- of the counters
    head = slot .. ':o:' .. op, rule = 'o:' .. op, name = #op .. ':' .. op .. ':',
    entries = of_slot.entries .. #op .. ':' .. op .. ':',
  }
  for _, counter in ipairs(COUNTERS) do keys.fields[counter] = counter .. ':' .. op end
  of_slot.operations[op] = keys
  return keys
end

local function keys_of_operation(slot, op)
  local of_slot = slots.items[slot]
  return of_slot and of_slot.operations[op] or make_keys_of_operation(slot, op)
end

local function policy_key(slot) return keys_of(slot).policy end
local function counters_key(slot) return keys_of(slot).counters end
local function pending_key(slot) return keys_of(slot).pending end
local function module_head_key(slot) return keys_of(slot).module_head end
local function operation_head_key(slot, op) return keys_of_operation(slot, op).head end
local function user_head_key(slot, user) return slot .. ':u:' .. user end
local function index_key(slot, epoch) return slot .. ':i:' .. epoch end
local function chunk_key(slot, epoch, slice, chunk)
  return slot .. ':i:' .. epoch .. string.format(':%d:%d', slice, chunk)
end
local function user_index_key(slot, user) return slot .. ':iu:' .. user end
local function deletions_key(slot, op) return slot .. ':d:' .. op end
local function lock_key(slot, name) return slot .. ':l:' .. name end
local function request_key(slot, request_id) return slot .. ':r:' .. request_id end

-- A name is what tells an entry from others of its slot: the operation, then the member, which tells it from
-- others of the operation. Lengths make both unambiguous for any bytes.
local function member_of(user, id)
  if user == '' then return '0::' .. id end
  return #user .. ':' .. user .. ':' .. id
end
local function name_of(slot, op, member) return keys_of_operation(slot, op).name .. member end
local function entry_key(slot, name) return keys_of(slot).entries .. name end
local function member_key(slot, op, member) return keys_of_operation(slot, op).entries .. member end

-- counted cuts a string of at least and at most so many bytes, that stands behind its length and a colon, off, and returns what
-- follows too; nil where the text is not like that.
local function counted(text, least, most)
  local digits, from = string.match(text, '^(%d%d?%d?%d?):()')
  local length = tonumber(digits)
  if not length or length < least or length > most or length .. '' ~= digits then return nil end
  local to = from + length
  if string.byte(text, to) ~= 58 then return nil end
  return string.sub(text, from, to - 1), string.sub(text, to + 1)
end

-- parse_member returns the user of a member, '' for none; nil where it is no member.
local function parse_member(member)
  if #member > bounds.listed_bytes then return nil end
  local user, id = counted(member, 0, MAX_USER_BYTES)
  return user and #id <= MAX_ID_BYTES and user or nil
end

-- parse_name returns operation, member and user of a name; nil where it is none.
local function parse_name(name)
  if #name > bounds.listed_bytes then return nil end
  local op, member = counted(name, 1, MAX_OPERATION_BYTES)
  local user = op and parse_member(member)
  if user then return op, member, user end
end

