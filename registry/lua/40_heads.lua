---------------------------------------------------------------------------------------------------
-- Heads. The head of the module or of a user holds an epoch; that of an operation an epoch and a
-- fence. Each deletion of a single entry renews the fence, which covers loads but not entries.
-- After a soft invalidation, a soft epoch follows.

-- head_keys returns the keys of the heads that cover an entry: module, operation and user.
local function head_keys(slot, op, user)
  if user == '' then return {module_head_key(slot), operation_head_key(slot, op)} end
  return {module_head_key(slot), operation_head_key(slot, op), user_head_key(slot, user)}
end

local function epoch_of(head) return string.sub(head, 1, EPOCH_LEN) end

-- A token is a mark, which says whether a load lock came with it, and the heads at that time.
local PLAIN, LOCKED, LOCKED_BYTE = '1', '2', 50

-- is_head says whether these bytes can be a head, with or without a soft epoch. Others count as
-- missing.
local function is_head(i, head)
  if marks.is_mark(head) then return false end
  local hard = i == 2 and 2 * EPOCH_LEN or EPOCH_LEN
  return #head == hard or #head == hard + EPOCH_LEN
end

local heads_memo = {SHARED = 0} -- SHARED takes the place of a user's head if there is no user

function heads_memo.parse(raw, user)
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
      heads.held = heads.held or head and marks.is_mark(head)
      heads.missing, raw[i] = true, false
    end
  end
  if heads.missing then return heads end
  heads.epochs, heads.index = table.concat(epochs), epochs[2]
  heads.token = PLAIN .. table.concat(raw)
  heads.carried = heads.epochs .. heads.soft
  return heads
end

function heads_memo.add(raw, user, heads)
  memo.reserve(heads_by_text, 1800)
  local of_module = heads_by_text.items[raw[1]] or {}
  local of_operation = of_module[raw[2]] or {}
  heads_by_text.items[raw[1]], of_module[raw[2]] = of_module, of_operation
  of_operation[user == '' and heads_memo.SHARED or raw[3]] = heads
end

function heads_memo.find(raw, user)
  local of_module = heads_by_text.items[raw[1]]
  local of_operation = of_module and of_module[raw[2]]
  return of_operation and of_operation[user == '' and heads_memo.SHARED or raw[3]]
end

-- heads_from parses the heads that cover an entry. The result is memoised, because each call reads
-- heads but only invalidations change them:
--
--   epochs   what an entry must carry to be live; nil if a head is missing
--   soft     what it must carry in addition to be fresh
--   carried  both
--   flags    which soft epochs those are
--   token    the token of a lease
--   index    the epoch that names the operation's index
--   held     a mark takes the place of a head
local function heads_from(raw, user)
  local heads = heads_memo.find(raw, user)
  if heads then return heads end
  heads = heads_memo.parse(raw, user)
  if not heads.missing then heads_memo.add(raw, user, heads) end
  return heads
end

-- heads_once is heads_from for a call that changes one of the heads: it memoises nothing.
local function heads_once(raw, user)
  return heads_memo.find(raw, user) or heads_memo.parse(raw, user)
end

local function raw_heads(of_op, slot, user)
  if user == '' then return call('MGET', of_op.module_head, of_op.head) end
  return call('MGET', of_op.module_head, of_op.head, user_head_key(slot, user))
end

local function read_heads_by(of_op, slot, user)
  return heads_from(raw_heads(of_op, slot, user), user)
end

local function read_heads(slot, op, user)
  return read_heads_by(keys_of_operation(slot, op), slot, user)
end

-- rule_under is rule_for, memoised with the heads: a change of the rule also changes the head.
local function rule_under(heads, of_op, slot, op)
  if heads.rule and heads.of_op == of_op then return heads.rule end
  heads.rule, heads.of_op = rule_for(slot, op), of_op
  return heads.rule
end

local function fence_of(op_head) return string.sub(op_head, EPOCH_LEN + 1, 2 * EPOCH_LEN) end

-- fence_at returns the position just before the operation's fence in a token taken under such
-- heads.
local function fence_at(heads) return 1 + #heads.raw[1] + EPOCH_LEN end

-- differs_by_fence says whether a token equals that of the heads, apart from the operation's fence.
local function differs_by_fence(token, heads)
  if #token ~= #heads.token then return false end
  local at = fence_at(heads)
  local fence = fence_of(heads.raw[2])
  return string.sub(token, 1, at) .. fence .. string.sub(token, at + EPOCH_LEN + 1) == heads.token
end

local function soft_len(flags)
  local len = 0
  for _, flag in ipairs(FLAG_SOFT) do
    if bit.band(flags, flag) ~= 0 then len = len + EPOCH_LEN end
  end
  return len
end

-- read_entry parses an entry, given at least its header. It returns nil if the entry is not live.
-- Else it returns its flags, where its payload begins, whether a soft invalidation made it stale,
-- and until when it is fresh. A schema counts as part of the payload: see schemas.
local function read_entry(value, heads, user)
  if not value or not heads.epochs or string.byte(value, 1) ~= ENTRY_VERSION then return nil end
  local flags = string.byte(value, 2) or 0
  local kind = user == '' and 0 or FLAG_USER
  if bit.band(flags, FLAG_USER) ~= kind or bit.band(flags, UNKNOWN_FLAGS) ~= 0 then return nil end
  -- A shared entry cannot have the soft epoch of a user.
  if kind == 0 and bit.band(flags, FLAG_SOFT[3]) ~= 0 then return nil end
  local from = HEADER_FIXED_LEN + #heads.epochs
  if string.sub(value, HEADER_FIXED_LEN + 1, from) ~= heads.epochs then return nil end
  local payload = from + soft_len(flags)
  if #value < payload then return nil end
  return {
    flags = flags,
    payload = payload + 1,
    soft_stale = bit.band(flags, HEADS_FLAGS) ~= heads.flags
      or string.sub(value, from + 1, payload) ~= heads.soft,
    fresh_until = math.min(bounds.time_ms, (struct.unpack('>I8', value, FRESH_UNTIL_AT + 1))),
  }
end

-- read_header returns enough of an entry to decide whether it is live.
local function read_header(key) return call('GETRANGE', key, '0', HEADER_END) end

-- read_string returns the value of a key, or false if there is none or it is of another type. MGET
-- treats that as missing, and SET overwrites it.
local function read_string(key) return call('MGET', key)[1] end

-- operation_epoch returns the epoch of an operation, or nil if its head is missing.
local function operation_epoch(slot, op)
  local head = read_string(operation_head_key(slot, op))
  return head and is_head(2, head) and epoch_of(head) or nil
end

-- operation_under describes an operation by what is under the key of its head: its epoch if that
-- is a head, or that it is held.
local function operation_under(op, head)
  if not head then return {op = op} end
  local held = marks.is_mark(head)
  return {op = op, held = held, epoch = not held and is_head(2, head) and epoch_of(head) or nil}
end

-- operations_with_heads returns {op, epoch} for each of the operations that has a head.
local function operations_with_heads(slot, operations)
  local keys, found = {}, {}
  for i, op in ipairs(operations) do keys[i] = operation_head_key(slot, op) end
  for from = 1, #keys, BATCH do
    local heads = call('MGET', unpack(keys, from, math.min(from + BATCH - 1, #keys)))
    for i, head in ipairs(heads) do
      if head and is_head(2, head) then
        found[#found + 1] = {op = operations[from + i - 1], epoch = epoch_of(head)}
      end
    end
  end
  return found
end

local function head_exists(key)
  local first = call('GETRANGE', key, '0', '1')
  return first ~= '' and first ~= marks.PREFIX
end

-- delete_head deletes what is under the key of a head, but no mark. value is what is there.
local function delete_head(key, value)
  if not value or not marks.is_mark(value) then call('UNLINK', key) end
end

-- keep_for extends a head that lives shorter than this, by some slack more. It creates no key. It
-- returns for how many ms a head that is there lives now.
local function keep_for(key, ms, slack)
  local left = call('PTTL', key)
  if left >= ms then return left end
  call('PEXPIRE', key, ms + slack)
  return ms + slack
end

-- note_kept remembers that heads live for so many ms, at least, under a rule.
local function note_kept(heads, rule, now, least)
  heads.kept_by, heads.kept_until = rule, now + least - heads_life(rule)
end

-- keep_heads makes the heads of an entry, all of which are there, last for a load and the entry
-- filled afterwards. While it remembers that they do, it asks nothing.
local function keep_heads(slot, of_op, user, heads, rule, now)
  if heads.kept_by == rule and now < heads.kept_until then return end
  local ms, slack = heads_life(rule)
  local least = math.min(keep_for(of_op.module_head, ms, slack), keep_for(of_op.head, ms, slack))
  if user ~= '' then least = math.min(least, keep_for(user_head_key(slot, user), ms, slack)) end
  note_kept(heads, rule, now, least)
end

