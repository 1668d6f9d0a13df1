---------------------------------------------------------------------------------------------------
-- Keys. slot is KEYS[1], cw:{<namespace>/<module>}.
--
-- Redis hashes every byte of each string that Lua creates. Therefore the library builds the keys of
-- slots and operations once and memoises them. Building them each time would dominate the cost of
-- a fill.
--
-- A memo lasts as long as the loaded library, on this server only. A server that was a replica in
-- between has missed calls. So each value is stored under bytes that change whenever it changes:
--
--   slots          keys, which follow from names. Writing a policy drops those of its slot: forget.
--                  With them are the operations that a policy lists, by its seal. With those of
--                  an operation are the digest of a name, and until when the log of deletions
--                  lasts at least, unless it is evicted.
--   rules_by_text  rules, which follow from their text.
--   heads_by_text  parsed heads, which follow from their bytes. They also hold a rule. It is void
--                  once the slot's keys (of_op) were dropped, or the operation's fence changes:
--                  each change of the rule renews that. kept_by is the rule whose lifetime the
--                  heads were extended for, and kept_until when that is due again. It may be too
--                  late on a server that was a replica in between: then heads end as if evicted.
--   operations_by_field  operations, which follow from the names of counters.
--   open_chunks    the chunks being filled, by epoch and slice. The index is authoritative:
--                  index.turn_over reads it when a chunk begins or is full, and
--                  index.close_slice, which advances it, drops the memoised chunk.
--
-- A full memo is emptied. Its size is in bytes, because callers choose the lengths of names and the
-- memory of the Lua VM does not count towards maxmemory.

local memo = {}

function memo.new(max_bytes) return {items = {}, bytes = 0, max_bytes = max_bytes} end

local heads_by_text = memo.new(2560 * KIB)
local slots = memo.new(2560 * KIB)
local rules_by_text = memo.new(256 * KIB)
local open_chunks = memo.new(512 * KIB)
local operations_by_field = memo.new(512 * KIB)

function memo.clear(of) of.items, of.bytes = {}, 0 end

-- memo.reserve is called before adding a value that takes about so many bytes of the Lua VM. Heads
-- refer to keys and rules, so they are dropped together with these.
function memo.reserve(of, bytes)
  if of.bytes + bytes > of.max_bytes then
    memo.clear(of)
    if of == slots or of == rules_by_text then memo.clear(heads_by_text) end
  end
  of.bytes = of.bytes + bytes
end

local function keys_of(slot)
  local keys = slots.items[slot]
  if keys then return keys end
  memo.reserve(slots, 900 + 6 * #slot)
  keys = {
    policy = slot .. ':policy', counters = slot .. ':counters', pending = slot .. ':pending',
    module_head = slot .. ':m', entries = slot .. ':e:', operations = {},
  }
  slots.items[slot] = keys
  return keys
end

-- forget drops the keys of a slot, and so invalidates the rules memoised with its heads.
local function forget(slot) slots.items[slot] = nil end

function memo.add_operation(slot, op)
  memo.reserve(slots, 2200 + 3 * #slot + 13 * #op)
  local of_slot = keys_of(slot)
  local keys = {
    module_head = of_slot.module_head, counters = of_slot.counters, fields = {}, -- of the counters
    head = slot .. ':o:' .. op, rule = 'o:' .. op, name = #op .. ':' .. op .. ':',
    deletions = slot .. ':d:' .. op,
    entries = of_slot.entries .. #op .. ':' .. op .. ':',
  }
  for _, counter in ipairs(COUNTERS) do keys.fields[counter] = counter .. ':' .. op end
  of_slot.operations[op] = keys
  return keys
end

local function keys_of_operation(slot, op)
  local of_slot = slots.items[slot]
  return of_slot and of_slot.operations[op] or memo.add_operation(slot, op)
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
local function deletions_key(slot, op) return keys_of_operation(slot, op).deletions end
local function lock_key(slot, name) return slot .. ':l:' .. name end
local function request_key(slot, request_id) return slot .. ':r:' .. request_id end

-- A name identifies an entry of the slot: the operation, then the member, which identifies it among
-- the entries of the operation. Length prefixes make both unambiguous for any bytes.
local function member_of(user, id)
  if user == '' then return '0::' .. id end
  return #user .. ':' .. user .. ':' .. id
end
local function name_of(slot, op, member) return keys_of_operation(slot, op).name .. member end
local function entry_key(slot, name) return keys_of(slot).entries .. name end
local function member_key(slot, op, member) return keys_of_operation(slot, op).entries .. member end

-- parse_counted reads "<length>:<bytes>:<rest>" with a length from min to max. It returns the bytes
-- and the rest, or nil if the text has another form.
local function parse_counted(text, min, max)
  local digits, from = string.match(text, '^(%d%d?%d?%d?):()')
  local length = tonumber(digits)
  if not length or length < min or length > max or length .. '' ~= digits then return nil end
  local to = from + length
  if string.byte(text, to) ~= 58 then return nil end
  return string.sub(text, from, to - 1), string.sub(text, to + 1)
end

-- parse_member returns the user of a member, '' for none, or nil if it is not a member. Members
-- without a user, which begin with "0::", are most of them and take a short way.
local function parse_member(member)
  if #member > bounds.listed_bytes then return nil end
  local first, second, third = string.byte(member, 1, 3)
  if first == 48 and second == 58 and third == 58 then
    return #member - 3 <= MAX_ID_BYTES and '' or nil
  end
  local user, id = parse_counted(member, 0, MAX_USER_BYTES)
  return user and #id <= MAX_ID_BYTES and user or nil
end

-- parse_name returns operation, member and user of a name, or nil if it is not a name.
local function parse_name(name)
  if #name > bounds.listed_bytes then return nil end
  local op, member = parse_counted(name, 1, MAX_OPERATION_BYTES)
  local user = op and parse_member(member)
  if user then return op, member, user end
end

