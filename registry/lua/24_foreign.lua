---------------------------------------------------------------------------------------------------
-- Reading keys that a tenant may have written.

local foreign = {}

-- foreign.drop deletes a key. Redis refuses that in read-only calls, which leave it to others.
function foreign.drop(key)
  guard.dropped = true
  redis.pcall('UNLINK', key)
end

-- foreign.memory_of returns how many bytes a key takes, estimated from so many samples; 0: from
-- all.
function foreign.memory_of(key, samples)
  return tonumber(call('MEMORY', 'USAGE', key, 'SAMPLES', samples or '0') or 0) or 0
end

-- foreign.read_hash returns the fields and values of a hash. It drops a hash with more fields or
-- bytes. The caller may know the number of fields already.
function foreign.read_hash(key, max_fields, max_bytes, known_count)
  local count = known_count or call('HLEN', key)
  if count == 0 then return {} end
  if count > max_fields or foreign.memory_of(key) > max_bytes then
    foreign.drop(key)
    return {}
  end
  return call('HGETALL', key)
end

-- foreign.drop_fields deletes fields that the library did not write.
function foreign.drop_fields(key, fields)
  for from = 1, #fields, BATCH do
    redis.pcall('HDEL', key, unpack(fields, from, math.min(from + BATCH - 1, #fields)))
  end
  guard.dropped = guard.dropped or #fields > 0
end

-- read_field returns a field of a hash, false if it is missing, or '' if it is longer than allowed.
local function read_field(key, field, max_bytes)
  return call('HSTRLEN', key, field) > max_bytes and '' or call('HGET', key, field)
end

