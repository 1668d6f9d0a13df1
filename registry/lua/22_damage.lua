---------------------------------------------------------------------------------------------------
-- Reading what anybody may have written.

local function drop(key)
  dropped = true
  redis.pcall('UNLINK', key) -- refused in calls that write nothing, which leave it to others
end

-- weight returns how many bytes a key takes, judged by so many of its elements; 0: all.
local function weight(key, samples)
  return tonumber(call('MEMORY', 'USAGE', key, 'SAMPLES', samples or '0') or 0) or 0
end

-- hash_of returns the fields and values of a hash. One of more fields or bytes goes.
local function hash_of(key, most, bytes, known_count)
  local count = known_count or call('HLEN', key)
  if count == 0 then return {} end
  if count > most or weight(key) > bytes then
    drop(key)
    return {}
  end
  return call('HGETALL', key)
end

-- drop_fields takes out of a hash what this library did not put there.
local function drop_fields(key, fields)
  for from = 1, #fields, 500 do redis.pcall('HDEL', key, unpack(fields, from, math.min(from + 499, #fields))) end
  dropped = dropped or #fields > 0
end

-- field_of returns a field of a hash, false where it is missing; of a longer one nothing is read.
local function field_of(key, field, most)
  return call('HSTRLEN', key, field) > most and '' or call('HGET', key, field)
end

-- whole returns the number that digits stand for, nil where they are none or too many to be exact.
local function whole(digits)
  return digits and #digits <= 15 and string.find(digits, '^%d+$') and tonumber(digits) or nil
end

