---------------------------------------------------------------------------------------------------
-- cw_set KEY op id user payload token [options]: the TTL in ms, 0 not cached, -1 fenced, -2 refused. Options are the
-- words negative, where the source has nothing under that id, and room, where the payload begins behind as many bytes
-- of any kind as the header will have.

local cw_set, cw_delete, renew_fence
do
local DISABLED, FENCED, REFUSED = 0, -1, -2
local OPTIONS = {
  [''] = {}, negative = {negative = true}, room = {room = true}, ['negative room'] = {negative = true, room = true},
}

-- Deletions of single entries that a lease can look back on.
local DELETION_LOG_LEN = 128
local DIGEST_LEN = 16
local RECORD_BYTES = EPOCH_LEN + DIGEST_LEN
local MAX_LOG_BYTES = DELETION_LOG_LEN * RECORD_BYTES

local function deletion_digest(name) return string.sub(redis.sha1hex(name), 1, DIGEST_LEN) end

-- deleted_since says whether an entry was deleted after a lease saw this fence. The log's records
-- are <the fence a deletion replaced><digest of the entry it deleted>. A fence that is not in it
-- (trimmed, evicted) may hide anything, so the answer is yes.
local function deleted_since(slot, op, name, fence)
  local log = call('GETRANGE', deletions_key(slot, op), -MAX_LOG_BYTES, -1)
  if #log % RECORD_BYTES ~= 0 then return true end
  local digest, seen = deletion_digest(name), false
  for from = 1, #log, RECORD_BYTES do
    local digest_from = from + EPOCH_LEN
    seen = seen or string.sub(log, from, digest_from - 1) == fence
    if seen and string.sub(log, digest_from, from + RECORD_BYTES - 1) == digest then return true end
  end
  return not seen
end

-- is_fenced says whether something that covers the entry was invalidated since a token was taken that is not that of
-- the heads. Where it differs from the heads in the operation's fence only, single entries were deleted, perhaps not
-- this one.
local function is_fenced(slot, op, member, heads, token)
  if heads.missing or not differs_by_fence(token, heads) then return true end
  local at = fence_at(heads)
  return deleted_since(slot, op, name_of(slot, op, member), string.sub(token, at + 1, at + EPOCH_LEN))
end

-- unlocked gives the load lock back that came with a token, if one did, and returns the plain token.
local function unlocked(slot, op, member, token)
  if string.byte(token) ~= LOCKED_BYTE then return token end
  local plain = PLAIN .. string.sub(token, 2)
  give_lock_back(slot, name_of(slot, op, member), plain)
  return plain
end

-- unstored is the answer to a fill that is not stored: the load lock that came with its token goes back all the same.
local function unstored(slot, op, user, id, token, answer)
  unlocked(slot, op, member_of(user, id), token)
  return answer
end

local function with_jitter(slot, ttl, percent)
  local most = math.floor(ttl * percent / 100)
  local random = tonumber(string.sub(draw(slot), 1, 8), 16) / 4294967296
  return math.max(1, ttl - math.floor(random * (most + 1)))
end

-- A header is as long as its token and this.
local HEADER_OVER_TOKEN = HEADER_FIXED_LEN - EPOCH_LEN - #PLAIN

-- keep_user_head makes a user's head last for entries by a rule that came after the lease. Those of module and operation
-- were extended with the policy, which does not know the users.
local function keep_user_head(slot, user, heads, rule)
  keep_for(user_head_key(slot, user), heads_life(rule))
  heads.kept_by = rule
end

local TO_OPERATION_EPOCH_END = (HEADER_FIXED_LEN + 2 * EPOCH_LEN - 1) .. ''

-- store writes the entry first and its header into the room before the payload then: a payload is large, and to put
-- a header before it here would cost as much as all else. When the entry expires tells what time it is.
local function store(slot, of_op, user, member, heads, roomy_payload, rule, ttl, life, negative)
  local key = of_op.entries .. member
  local old = call('GETRANGE', key, '0', TO_OPERATION_EPOCH_END)
  call('PSETEX', key, rule.lives[life] or string.format('%d', life), roomy_payload)
  local expiry = call('PEXPIRETIME', key)
  local now = expiry - life
  local flags = heads.flags + (negative and FLAG_NEGATIVE or 0)
  local wanted = slice_for(expiry, negative and rule.negative_exponent or rule.exponent)
  local slice, chunk = relist(slot, heads.index, wanted, member, old, now, expiry)
  call('SETRANGE', key, '0',
    struct.pack('>BBI8I6I2', ENTRY_VERSION, flags, now + ttl, slice, chunk) .. heads.carried)
  if user == '' then return end
  user_index.add(user_index_key(slot, user), of_op.name .. member, now, life)
  if heads.kept_by ~= rule then keep_user_head(slot, user, heads, rule) end
end

-- terms returns how long an entry will be fresh, and how long it will be there; nil where it is not cached.
local function terms(slot, rule, negative)
  local ttl = negative and rule.negative or rule.ttl
  if ttl == 0 then return nil end
  if rule.jitter > 0 then ttl = with_jitter(slot, ttl, rule.jitter) end
  return ttl, negative and ttl or ttl + rule.stale
end

local function refuse_room(bytes, room)
  refuse('cw_set: the payload must begin behind room for a header, here ' .. room .. ' bytes, but has ' .. bytes .. ' in all')
end

function cw_set(keys, args)
  local slot = slot_of(keys, 'cw_set')
  if #args < 5 or #args > 6 then want_args('cw_set', args, 'op id user payload token', 5) end
  local op, id, user, payload, token = args[1], args[2], args[3], args[4], args[5]
  want_entry('cw_set', op, id, user)
  if token == '' then refuse('cw_set: the token is empty; take one with cw_get before loading') end
  local options = OPTIONS[args[6] or '']
  if not options then refuse("cw_set: the options must be negative, room, 'negative room', empty or left out") end
  local negative, room = options.negative, #token + HEADER_OVER_TOKEN
  local bytes = #payload
  if options.room then
    bytes = bytes - room
    if bytes < 0 then refuse_room(#payload, room) end
  end
  local of_op = keys_of_operation(slot, op)
  local heads = read_heads_by(of_op, slot, user)
  local rule = rule_under(heads, of_op, slot, op)
  if not rule then return unstored(slot, op, user, id, token, DISABLED) end
  local ttl, life = terms(slot, rule, negative)
  if not ttl then return unstored(slot, op, user, id, token, DISABLED) end
  if (rule.scope == 'User' and user == '') or bytes > rule.max then return unstored(slot, op, user, id, token, REFUSED) end
  local member = member_of(user, id)
  if token ~= heads.token then token = unlocked(slot, op, member, token) end
  if token ~= heads.token and is_fenced(slot, op, member, heads, token) then
    count(slot, 'fenced', op)
    return FENCED
  end
  if not options.room then payload = string.rep('\0', room) .. payload end
  store(slot, of_op, user, member, heads, payload, rule, ttl, life, negative)
  call('HINCRBY', of_op.counters, of_op.fields.fills, '1')
  return ttl
end

