---------------------------------------------------------------------------------------------------
-- Time and epochs.

-- now_ms returns the time of the call, which is the same wherever it asks.
local function now_ms()
  time = time or call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local EPOCH_ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

-- epoch_chars has the character of an epoch for each two hex digits.
local epoch_chars = {}

-- fill_epoch_chars runs with the first draw: while Redis loads a library, it has no string.format.
local function fill_epoch_chars()
  for byte = 0, 255 do
    local at = byte % 64 + 1
    epoch_chars[string.format('%02x', byte)] = string.sub(EPOCH_ALPHABET, at, at)
  end
end

-- The state of the generator lasts as long as the loaded library. It is mixed with everything that
-- distinguishes this server, this moment and this load from any other. So a restart, a restored
-- snapshot or a promoted replica cannot draw the same epoch again.
local entropy = nil

-- draw returns the next 160 random bits in hex.
local function draw(slot)
  if not entropy then
    -- INFO has the run id, which is random per process, and CPU times, which only grow. An ACL may
    -- forbid INFO. Then clock, addresses and the slot must do until the library is loaded again.
    fill_epoch_chars()
    local info = redis.pcall('INFO', 'server', 'cpu', 'stats')
    entropy = (type(info) == 'string' and info or '') .. tostring({})
  end
  time = time or call('TIME')
  entropy = redis.sha1hex(entropy .. slot .. time[1] .. '.' .. time[2])
  return entropy
end

-- new_epoch returns 66 random bits as 11 characters of base64url.
local function new_epoch(slot)
  return (string.gsub(string.sub(draw(slot), 1, 2 * EPOCH_LEN), '%x%x', epoch_chars))
end

