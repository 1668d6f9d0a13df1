---------------------------------------------------------------------------------------------------
-- Time and epochs.

local function now_ms()
  local t = call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

local draw, new_epoch
do
local ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

-- The generator's state. It lives as long as the loaded library and is mixed with all that tells
-- this server, this moment and this load from any other, so a restart, a restored snapshot or a
-- promoted replica cannot draw an epoch again.
local entropy = nil

function draw(slot)
  if not entropy then
    -- INFO has the run id, random per process, and CPU times that only grow. A tenant's ACL may
    -- forbid it: then clock, addresses and the slot have to do until the next load.
    local info = redis.pcall('INFO', 'server', 'cpu', 'stats')
    entropy = type(info) == 'string' and info or ''
  end
  local t = call('TIME')
  entropy = redis.sha1hex(entropy .. slot .. t[1] .. '.' .. t[2] .. tostring({}))
  return entropy
end

-- new_epoch returns 66 bits of the generator in 11 characters of base64url.
function new_epoch(slot)
  local hex = draw(slot)
  local chars = {}
  for i = 1, EPOCH_LEN do
    local six = tonumber(string.sub(hex, 2 * i - 1, 2 * i), 16) % 64
    chars[i] = string.sub(ALPHABET, six + 1, six + 1)
  end
  return table.concat(chars)
end
end

