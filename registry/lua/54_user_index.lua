-- Index of a user: a sorted set of the entries' names by when they expire. It lives as long as the longest-lived.

local user_index = {}

function user_index.clean(key, now, most)
  local expired = math.min(most, call('ZCOUNT', key, '-inf', now))
  if expired > 0 then call('ZREMRANGEBYRANK', key, 0, expired - 1) end
end

-- user_index.names lists the names of a user's index, nil where there are more or larger ones than that.
function user_index.names(key, most)
  local count = call('ZCARD', key)
  if count == 0 then return {} end
  if count > most or weight(key) > most * 2 * bounds.member_bytes then return nil end
  return call('ZRANGE', key, 0, -1)
end

-- user_index.add gives the index time for a while of such fills, so that most leave it as it is.
function user_index.add(key, name, now, life)
  call('ZADD', key, now + life, name)
  if call('PTTL', key) < life + MARGIN_MS then call('PEXPIRE', key, 2 * life + MARGIN_MS) end
end

function user_index.count(key, now)
  return call('ZCOUNT', key, '(' .. now, '+inf')
end

