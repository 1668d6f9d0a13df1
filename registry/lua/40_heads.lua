---------------------------------------------------------------------------------------------------
-- Heads. The module's and a user's hold an epoch, an operation's an epoch and a fence, which is renewed
-- by each deletion of a single entry and covers loads under way, not entries. A soft epoch follows
-- once there was a soft invalidation.

-- head_keys returns the keys of the heads that cover an entry: module, operation and user.
local function head_keys(slot, op, user)
  if user == '' then return {module_head_key(slot), operation_head_key(slot, op)} end
  return {module_head_key(slot), operation_head_key(slot, op), user_head_key(slot, user)}
end

local function epoch_of(head) return string.sub(head, 1, EPOCH_LEN) end

-- A token is a mark and the heads of its time in a row.
local PLAIN, LOCKED, LOCKED_BYTE = '1', '2', 50
local function token_of(raw) return PLAIN .. table.concat(raw) end

-- is_head says whether these bytes can be a head: whole, with or without a soft epoch. Others count as missing.
local function is_head(i, head)
  local hard = i == 2 and 2 * EPOCH_LEN or EPOCH_LEN
  return #head == hard or #head == hard + EPOCH_LEN
end

local heads_from
do
local function parse_heads(raw, user)
  local heads = {raw = raw, flags = user == '' and 0 or FLAG_USER, soft = ''}
  local epochs = {}
  for i = 1, user == '' and 2 or 3 do
    local head = raw[i]
    if head and is_head(i, head) then
      epochs[i] = epoch_of(head)
      local soft = string.sub(head, (i == 2 and 2 or 1) * EPOCH_LEN + 1)
      if soft ~= '' then
        heads.soft = heads.soft .. soft
        heads.flags = heads.flags + FLAG_SOFT[i]
      end
    else
      heads.missing, raw[i] = true, false
    end
  end
  if heads.missing then return heads end
  heads.epochs, heads.token, heads.index = table.concat(epochs), token_of(raw), epochs[2]
  heads.carried = heads.epochs .. heads.soft
  return heads
end

local SHARED = 0 -- stands for the head of a user where there is none

local function remember_heads(raw, user, heads)
  make_room(heads_by_text, 1800)
  local of_module = heads_by_text.items[raw[1]] or {}
  local of_operation = of_module[raw[2]] or {}
  heads_by_text.items[raw[1]], of_module[raw[2]] = of_module, of_operation
  of_operation[user == '' and SHARED or raw[3]] = heads
end

-- heads_from sums up what covers an entry. epochs and soft are what an entry must carry to be live and
-- fresh, carried is both; flags says which soft epochs those are, token is the lease's; epochs is nil where a head is
-- missing. It is remembered: heads change with invalidations, and are read with each call.
function heads_from(raw, user)
  local of_module = heads_by_text.items[raw[1]]
  local of_operation = of_module and of_module[raw[2]]
  local heads = of_operation and of_operation[user == '' and SHARED or raw[3]]
  if heads then return heads end
  heads = parse_heads(raw, user)
  if not heads.missing then remember_heads(raw, user, heads) end
  return heads
end
end

local function read_heads_by(of_op, slot, user)
  if user == '' then return heads_from(call('MGET', of_op.module_head, of_op.head), user) end
  return heads_from(call('MGET', of_op.module_head, of_op.head, user_head_key(slot, user)), user)
end

local function read_heads(slot, op, user) return read_heads_by(keys_of_operation(slot, op), slot, user) end

-- rule_under is rule_for, remembered with the heads: a rule that changes takes the operation's head along.
local function rule_under(heads, of_op, slot, op)
  if heads.rule and heads.of_op == of_op then return heads.rule end
  heads.rule, heads.of_op = rule_for(slot, op), of_op
  return heads.rule
end

local function fence_of(op_head) return string.sub(op_head, EPOCH_LEN + 1, 2 * EPOCH_LEN) end

-- fence_at returns before which byte of a token taken under such heads the operation's fence stands.
local function fence_at(heads) return 1 + #heads.raw[1] + EPOCH_LEN end

-- differs_by_fence says whether a token is that of the heads, but perhaps for the operation's fence.
local function differs_by_fence(token, heads)
  if #token ~= #heads.token then return false end
  local at = fence_at(heads)
  return string.sub(token, 1, at) .. fence_of(heads.raw[2]) .. string.sub(token, at + EPOCH_LEN + 1) == heads.token
end

local function soft_len(flags)
  local len = 0
  for _, flag in ipairs(FLAG_SOFT) do
    if bit.band(flags, flag) ~= 0 then len = len + EPOCH_LEN end
  end
  return len
end

-- read_entry makes sense of an entry's bytes (at least the header): nil where they are not live, else
-- where its payload begins, whether a soft invalidation made it stale, whether it is negative, and
-- until when it is fresh.
local function read_entry(value, heads, user)
  if not value or not heads.epochs or string.byte(value, 1) ~= ENTRY_VERSION then return nil end
  local flags = string.byte(value, 2) or 0
  local kind = user == '' and 0 or FLAG_USER
  -- 140 are the flags that nobody knows; a shared entry has no soft epoch of a user.
  if bit.band(flags, FLAG_USER) ~= kind or bit.band(flags, 140) ~= 0 then return nil end
  if kind == 0 and bit.band(flags, FLAG_SOFT[3]) ~= 0 then return nil end
  local from = HEADER_FIXED_LEN + #heads.epochs
  if string.sub(value, HEADER_FIXED_LEN + 1, from) ~= heads.epochs then return nil end
  local payload = from + soft_len(flags)
  if #value < payload then return nil end
  local negative = bit.band(flags, FLAG_NEGATIVE) ~= 0
  return {
    payload = payload + 1,
    soft_stale = flags - (negative and FLAG_NEGATIVE or 0) ~= heads.flags or string.sub(value, from + 1, payload) ~= heads.soft,
    negative = negative,
    fresh_until = math.min(bounds.time_ms, (struct.unpack('>I8', value, FRESH_UNTIL_AT + 1))),
  }
end

-- read_header returns enough of an entry to say whether it is live.
local function read_header(key) return call('GETRANGE', key, '0', TO_HEADER_END) end

-- text_at returns what a key holds, or false where there is none, or none that this library made: MGET takes that for
-- missing, and SET puts another in its place.
local function text_at(key) return call('MGET', key)[1] end

-- operation_epoch returns the epoch of an operation, or nil where its head is missing.
local function operation_epoch(slot, op)
  local head = text_at(operation_head_key(slot, op))
  return head and is_head(2, head) and epoch_of(head) or nil
end

-- in_sight lists those of the operations that have a head, each with its epoch.
local function in_sight(slot, operations)
  local keys, seen = {}, {}
  for i, op in ipairs(operations) do keys[i] = operation_head_key(slot, op) end
  for from = 1, #keys, BATCH do
    local heads = call('MGET', unpack(keys, from, math.min(from + BATCH - 1, #keys)))
    for i, head in ipairs(heads) do
      if head and is_head(2, head) then seen[#seen + 1] = {op = operations[from + i - 1], epoch = epoch_of(head)} end
    end
  end
  return seen
end

local function head_exists(key) return call('EXISTS', key) == 1 end

-- keep_for makes sure that a key, if it is there, lives at least this long; where it does not, by some slack longer.
local function keep_for(key, ms, slack)
  if call('PTTL', key) < ms then call('PEXPIRE', key, ms + (slack or 0)) end
end

