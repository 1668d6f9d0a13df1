---------------------------------------------------------------------------------------------------
-- cw_set
--   KEYS   the slot
--   ARGV   op id user payload token [options]
--   reply  the TTL in ms; 0: not cached; -1: fenced; -2: refused

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

function calls.cw_set(keys, args)
  local slot = slot_of(keys, 'cw_set')
  if #args < 5 or #args > 6 then want_args('cw_set', args, 'op id user payload token', 5) end
  local op, id, user, payload, token = args[1], args[2], args[3], args[4], args[5]
  want_entry('cw_set', op, id, user)
  if token == '' then refuse('cw_set: the token is empty; take one with cw_get before loading') end
  local options, wanted = OPTIONS[args[6] or ''], nil
  if not options then options, wanted = fill.options('cw_set', args[6], true) end
  local room = #token + HEADER_OVER_TOKEN
  local bytes = #payload
  if options.room then
    bytes = bytes - room
    if bytes < 0 then refuse_room(#payload, room) end
  end
  if options.schema then
    bytes = bytes - schemas.bytes_of('cw_set', payload, options.room and room or 0)
  end
  local of_op = keys_of_operation(slot, op)
  local heads = read_heads_by(of_op, slot, user)
  local rule = rule_under(heads, of_op, slot, op)
  if not rule then return not_stored(slot, op, user, id, token, DISABLED) end
  local ttl, life, exponent = lifetimes('cw_set', slot, rule, options.negative, wanted)
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
  if fill.count(of_op) <= 1 and not fill.admit(slot, of_op, op) then
    return not_stored(slot, op, user, id, token, DISABLED)
  end
  if not options.room then payload = string.rep('\0', room) .. payload end
  if not store(slot, of_op, user, member, heads, payload, ttl, life, exponent, options) then
    fill.uncount(of_op)
    count(slot, 'fenced', op)
    return FENCED
  end
  return ttl
end

