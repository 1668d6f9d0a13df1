---------------------------------------------------------------------------------------------------
-- The index of a user is a sorted set of the names of its entries by expiry. It expires after all
-- of them.

local user_index = {
  -- Expired names that a lease, or a fill without one, removes. Each fill adds one at most, so the
  -- index shrinks; but no call pays for many that expired at once.
  clean_names = 16,
}

-- user_index.clean removes expired names.
function user_index.clean(key, now, max)
  local expired = math.min(max, call('ZCOUNT', key, '-inf', now))
  if expired > 0 then call('ZREMRANGEBYRANK', key, 0, expired - 1) end
end

-- user_index.names lists the names, or returns nil if there are more or larger ones than allowed.
function user_index.names(key, max)
  local size = call('ZCARD', key)
  if size == 0 then return {} end
  if size > max or foreign.memory_of(key) > max * 2 * bounds.member_bytes then return nil end
  return call('ZRANGE', key, 0, -1)
end

-- user_index.add extends the index by twice the entry's lifetime, so that most fills need not. It
-- says whether the index has become longer.
function user_index.add(key, name, now, life)
  local added = call('ZADD', key, now + life, name)
  if call('PTTL', key) < life + MARGIN_MS then call('PEXPIRE', key, 2 * life + MARGIN_MS) end
  return added == 1
end

function user_index.remove(slot, user, names)
  local key = user_index_key(slot, user)
  batched(names, function(...) return call('ZREM', key, ...) end)
end

function user_index.count(key, now)
  return call('ZCOUNT', key, '(' .. now, '+inf')
end

