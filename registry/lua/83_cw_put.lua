---------------------------------------------------------------------------------------------------
-- cw_put
--   KEYS   the slot
--   ARGV   op id user payload [options]
--   reply  the TTL in ms; 0: not cached; -1: held; -2: refused
--
-- The caller says that the source has this value now. So whatever the reply, the entry that was
-- there is gone, and loads of it that are in progress are fenced. options are those of cw_set, but
-- there is no room: the caller has no token, which says how much.

local put = {}

-- put.nothing answers if nothing is stored: the entry is deleted.
function put.nothing(slot, of_op, op, user, id, answer)
  local key = of_op.entries .. member_of(user, id)
  deletions.of_entry(slot, op, user, id, read_header(key))
  source_lag.mark_entry(slot, op, key)
  return answer
end

-- put.held answers if a mark forbids fills.
function put.held(slot, of_op, op, user, id)
  count(slot, 'fenced', op)
  return put.nothing(slot, of_op, op, user, id, FENCED)
end

-- put.lease takes the heads, as the lease of a load does, and fences the loads of the entry.
function put.lease(slot, of_op, op, user, name, heads, rule)
  heads = lease.take(slot, op, user, heads, rule)
  deletions.fence(slot, of_op, name, heads.raw[2])
  call('UNLINK', lock_key(slot, name))
  return heads
end

function calls.cw_put(keys, args)
  local slot = slot_of(keys, 'cw_put')
  if #args < 4 or #args > 5 then want_args('cw_put', args, 'op id user payload', 4) end
  local op, id, user, payload = args[1], args[2], args[3], args[4]
  want_entry('cw_put', op, id, user)
  local options, wanted = fill.options('cw_put', args[5] or '', false)
  local bytes = #payload
  if options.schema then bytes = bytes - schemas.bytes_of('cw_put', payload, 0) end
  local of_op = keys_of_operation(slot, op)
  local heads = heads_once(raw_heads(of_op, slot, user), user)
  local rule, ttl, life, exponent = rule_under(heads, of_op, slot, op), nil, nil, nil
  if rule then
    ttl, life, exponent = lifetimes('cw_put', slot, rule, options.negative, wanted)
  end
  if not ttl then return put.nothing(slot, of_op, op, user, id, DISABLED) end
  if rule.scope == 'User' and user == '' or bytes > rule.max then
    return put.nothing(slot, of_op, op, user, id, REFUSED)
  end
  local member = member_of(user, id)
  if heads.held or marks.is_at(of_op.entries .. member) then
    return put.held(slot, of_op, op, user, id)
  end
  if not admit(slot, op) then return put.nothing(slot, of_op, op, user, id, DISABLED) end
  heads = put.lease(slot, of_op, op, user, of_op.name .. member, heads, rule)
  payload = string.rep('\0', #heads.token + HEADER_OVER_TOKEN) .. payload
  store(slot, of_op, user, member, heads, payload, ttl, life, exponent, options)
  count(slot, 'fills', op)
  return ttl
end

