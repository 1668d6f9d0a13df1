---------------------------------------------------------------------------------------------------
-- cw_set
--   KEYS   the slot
--   ARGV   op id user payload token [options]
--   reply  the TTL in ms; 0: not cached; -1: fenced; -2: refused
--
-- options is one argument with words. negative: the source has nothing under this id. room: the
-- payload begins behind as many bytes of any value as the header takes. schema: a byte with the
-- length of the schema, and the schema, precede the payload.

local DISABLED, FENCED, REFUSED = 0, -1, -2
local OPTIONS = {
  [''] = {flags = 0},
  negative = {negative = true, flags = FLAG_NEGATIVE},
  room = {room = true, flags = 0},
  schema = {schema = true, flags = FLAG_SCHEMA},
  ['negative room'] = {negative = true, room = true, flags = FLAG_NEGATIVE},
  ['negative schema'] = {negative = true, schema = true, flags = FLAG_NEGATIVE + FLAG_SCHEMA},
  ['room schema'] = {room = true, schema = true, flags = FLAG_SCHEMA},
  ['negative room schema'] = {
    negative = true, room = true, schema = true, flags = FLAG_NEGATIVE + FLAG_SCHEMA,
  },
}

-- A header is longer than its token by so many bytes.
local HEADER_OVER_TOKEN = HEADER_FIXED_LEN - EPOCH_LEN - #PLAIN
local OPERATION_EPOCH_END = (HEADER_FIXED_LEN + 2 * EPOCH_LEN - 1) .. ''

-- is_fenced says whether an invalidation covered the entry since the token was taken. The token is
-- not that of the heads. If it differs from it only by the operation's fence, there were only
-- deletions of single entries, perhaps not of this one.
local function is_fenced(slot, op, member, heads, token)
  if heads.missing or not differs_by_fence(token, heads) then return true end
  local at = fence_at(heads)
  local fence = string.sub(token, at + 1, at + EPOCH_LEN)
  return deletions.covers(slot, op, name_of(slot, op, member), fence)
end

-- unlocked releases the load lock that came with a token, if any, and returns the plain token.
local function unlocked(slot, op, member, token)
  if string.byte(token) ~= LOCKED_BYTE then return token end
  local plain = PLAIN .. string.sub(token, 2)
  lock.release(slot, name_of(slot, op, member), plain)
  return plain
end

-- not_stored answers a fill that is not stored. It still releases the load lock.
local function not_stored(slot, op, user, id, token, answer)
  unlocked(slot, op, member_of(user, id), token)
  return answer
end

local function with_jitter(slot, ttl, percent)
  local max = math.floor(ttl * percent / 100)
  local random = tonumber(string.sub(draw(slot), 1, 8), 16) / 4294967296
  return math.max(1, ttl - math.floor(random * (max + 1)))
end

-- keep_user_head extends a user's head if the rule changed after the lease. The policy extended
-- those of the module and the operation, but it does not know the users.
local function keep_user_head(slot, user, heads, rule)
  keep_for(user_head_key(slot, user), heads_life(rule))
  heads.kept_by = rule
end

-- store first writes the padded payload, then the header over its padding. Payloads are large, and
-- concatenating header and payload here would double the cost of a fill. The expiry of the entry
-- tells the time. It does not replace a mark, and says so.
local function store(slot, of_op, user, member, heads, padded, rule, ttl, life, options)
  local key = of_op.entries .. member
  local old = call('GETRANGE', key, '0', OPERATION_EPOCH_END)
  local is_new = old == ''
  if not is_new and string.byte(old) == marks.BYTE and marks.is_mark(old) then return false end
  call('PSETEX', key, rule.lives[life] or string.format('%d', life), padded)
  local expiry = call('PEXPIRETIME', key)
  local now = expiry - life
  local flags = heads.flags + options.flags
  local wanted = slice_for(expiry, options.negative and rule.negative_exponent or rule.exponent)
  local slice, chunk
  if is_new then
    slice, chunk = enlist(slot, heads.index, wanted, member, now, expiry)
  else
    slice, chunk = relist(slot, heads.index, wanted, member, old, now, expiry)
  end
  call('SETRANGE', key, '0',
    struct.pack('>BBI8I6I2', ENTRY_VERSION, flags, now + ttl, slice, chunk) .. heads.carried)
  if user == '' then return true end
  user_index.add(user_index_key(slot, user), of_op.name .. member, now, life)
  if heads.kept_by ~= rule then keep_user_head(slot, user, heads, rule) end
  return true
end

-- lifetimes returns how long an entry is fresh and how long it exists, or nil if it is not cached.
local function lifetimes(slot, rule, negative)
  local ttl = negative and rule.negative or rule.ttl
  if ttl == 0 then return nil end
  if rule.jitter > 0 then ttl = with_jitter(slot, ttl, rule.jitter) end
  return ttl, negative and ttl or ttl + rule.stale
end

local function refuse_room(bytes, room)
  refuse('cw_set: the option room needs ' .. room .. ' bytes before the payload, but there are '
    .. bytes .. ' in total')
end

function calls.cw_set(keys, args)
  local slot = slot_of(keys, 'cw_set')
  if #args < 5 or #args > 6 then want_args('cw_set', args, 'op id user payload token', 5) end
  local op, id, user, payload, token = args[1], args[2], args[3], args[4], args[5]
  want_entry('cw_set', op, id, user)
  if token == '' then refuse('cw_set: the token is empty; take one with cw_get before loading') end
  local options = OPTIONS[args[6] or '']
  if not options then
    refuse('cw_set: options must be empty or omitted, or the words negative, room, schema, '
      .. 'in this order')
  end
  local negative, room = options.negative, #token + HEADER_OVER_TOKEN
  local bytes = #payload
  if options.room then
    bytes = bytes - room
    if bytes < 0 then refuse_room(#payload, room) end
  end
  if options.schema then bytes = bytes - schemas.bytes_of(payload, options.room and room or 0) end
  local of_op = keys_of_operation(slot, op)
  local heads = read_heads_by(of_op, slot, user)
  local rule = rule_under(heads, of_op, slot, op)
  if not rule then return not_stored(slot, op, user, id, token, DISABLED) end
  local ttl, life = lifetimes(slot, rule, negative)
  if not ttl then return not_stored(slot, op, user, id, token, DISABLED) end
  if (rule.scope == 'User' and user == '') or bytes > rule.max then
    return not_stored(slot, op, user, id, token, REFUSED)
  end
  local member = member_of(user, id)
  if token ~= heads.token then token = unlocked(slot, op, member, token) end
  if token ~= heads.token and is_fenced(slot, op, member, heads, token) then
    count(slot, 'fenced', op)
    return FENCED
  end
  if not options.room then payload = string.rep('\0', room) .. payload end
  if not store(slot, of_op, user, member, heads, payload, rule, ttl, life, options) then
    count(slot, 'fenced', op)
    return FENCED
  end
  call('HINCRBY', of_op.counters, of_op.fields.fills, '1')
  return ttl
end

