---------------------------------------------------------------------------------------------------
-- Time and epochs.

local function now_ms()
  local t = call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

local EPOCH_ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

-- The state of the generator lasts as long as the loaded library. It is mixed with everything that
-- distinguishes this server, this moment and this load from any other. So a restart, a restored
-- snapshot or a promoted replica cannot draw the same epoch again.
local entropy = nil

-- draw returns the next 160 random bits in hex.
local function draw(slot)
  if not entropy then
    -- INFO has the run id, which is random per process, and CPU times, which only grow. An ACL may
    -- forbid INFO. Then clock, addresses and the slot must do until the library is loaded again.
    local info = redis.pcall('INFO', 'server', 'cpu', 'stats')
    entropy = type(info) == 'string' and info or ''
  end
  local t = call('TIME')
  entropy = redis.sha1hex(entropy .. slot .. t[1] .. '.' .. t[2] .. tostring({}))
  return entropy
end

-- new_epoch returns 66 random bits as 11 characters of base64url.
local function new_epoch(slot)
  local hex = draw(slot)
  local chars = {}
  for i = 1, EPOCH_LEN do
    local six = tonumber(string.sub(hex, 2 * i - 1, 2 * i), 16) % 64
    chars[i] = string.sub(EPOCH_ALPHABET, six + 1, six + 1)
  end
  return table.concat(chars)
end

