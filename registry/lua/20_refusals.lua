---------------------------------------------------------------------------------------------------
-- Refusals. A bad call raises a table; guarded turns it into an error reply. Nothing is written
-- before a call's arguments were found good. All errors begin with CACHEWRIGHT, those of Redis, too.

local function refuse(message)
  error({refusal = message}, 0)
end

-- dropped is set where a call met a key that the library did not make.
local careful, guarded, guarded_hot, dropped
do
-- What commands that write nothing answer where there is no key.
local LISTS = {HGETALL = true, HKEYS = true, LRANGE = true}
local NUMBERS = {HLEN = 0, HSTRLEN = 0, LLEN = 0}
local TEXTS = {GETRANGE = ''}

local read_only

local function text_of(failure)
  if type(failure) == 'table' then return tostring(failure.err or failure.refusal) end
  return tostring(failure)
end

local function begins(text, beginning) return string.sub(text, 1, #beginning) == beginning end

local function is_no_counter(text)
  return begins(text, 'ERR hash value is not an integer') or begins(text, 'ERR increment or decrement would overflow')
end

-- without_key is what a command answers where its key is of another type than this library makes it: the key goes.
local function without_key(...)
  local command, key = ...
  dropped = true
  if not read_only then
    redis.pcall('UNLINK', key)
    return redis.pcall(...)
  end
  if LISTS[command] then return {} end
  return NUMBERS[command] or TEXTS[command] or false
end

local function again(text, ...)
  if begins(text, 'WRONGTYPE') then return without_key(...) end
  local command, key, field = ...
  if command ~= 'HINCRBY' or not is_no_counter(text) then return nil end
  redis.pcall('HDEL', key, field)
  return redis.pcall(...)
end

-- careful is redis.call that makes its way: a key of a strange type goes, and so does a counter that is no number.
function careful(...)
  local reply = redis.pcall(...)
  if type(reply) ~= 'table' or not reply.err then return reply end
  local second = again(reply.err, ...)
  if second == nil then error(reply, 0) end
  if type(second) == 'table' and second.err then error(second, 0) end
  return second
end

local function is_damage(text) return begins(text, 'WRONGTYPE') or is_no_counter(text) end

-- The collector of the Lua VM goes on as callers need memory, which is late for arguments that are large. So calls that are not
-- hot, and those with large payloads, see to it that garbage does not pile up.
local collect_above = 12 * KIB

local function collect_garbage()
  if collectgarbage('count') < collect_above then return end
  collectgarbage()
  collect_above = math.max(12 * KIB, 2 * collectgarbage('count'))
end

local LARGE_PAYLOAD = 16 * KIB

local function refusal_of(failure)
  collect_garbage()
  return redis.error_reply('CACHEWRIGHT ' .. string.sub(text_of(failure), 1, 512))
end

local function with_care(fn, keys, args, is_read_only)
  call, dropped, read_only = careful, false, is_read_only
  local ok, reply = pcall(fn, keys, args)
  if not ok then return refusal_of(reply) end
  collect_garbage()
  return reply
end

-- guarded makes a function of the library of one that raises refusals.
function guarded(fn, is_read_only)
  return function(keys, args) return with_care(fn, keys, args, is_read_only) end
end

-- guarded_hot does the same for one that trusts in types of keys until they fail it, and is begun again with care then.
function guarded_hot(fn)
  return function(keys, args)
    call = redis.call
    local ok, reply = pcall(fn, keys, args)
    if not ok then return is_damage(text_of(reply)) and with_care(fn, keys, args, false) or refusal_of(reply) end
    local payload = args[4] or type(reply) == 'table' and reply[2]
    if payload and #payload > LARGE_PAYLOAD then collect_garbage() end
    return reply
  end
end
end

local function slot_of(keys, call)
  if #keys ~= 1 then
    refuse(call .. ' takes exactly one key, cw:{<namespace>/<module>}, not ' .. #keys)
  end
  local slot = keys[1]
  if slots.items[slot] then return slot end
  local namespace, module
  if #slot <= #'cw:{/}' + 2 * MAX_NAME_BYTES then namespace, module = string.match(slot, '^cw:{([%w._-]+)/([%w._-]+)}$') end
  if not namespace or #namespace > MAX_NAME_BYTES or #module > MAX_NAME_BYTES then
    refuse(call .. ': the key must be cw:{<namespace>/<module>}, names of 1 to ' .. MAX_NAME_BYTES
      .. " letters, digits, '.', '_' and '-'")
  end
  return slot
end

local function want_args(call, args, names, count)
  if #args ~= count then
    refuse(call .. ' takes ' .. count .. ' arguments (' .. names .. '), not ' .. #args)
  end
end

local function want_bytes(call, what, value, min, max)
  if #value < min or #value > max then
    refuse(call .. ': ' .. what .. ' must have ' .. min .. ' to ' .. max .. ' bytes, not ' .. #value)
  end
end

local function want_entry(call, op, id, user)
  if op ~= '' and #op <= MAX_OPERATION_BYTES and #id <= MAX_ID_BYTES and #user <= MAX_USER_BYTES then return end
  want_bytes(call, 'op', op, 1, MAX_OPERATION_BYTES)
  want_bytes(call, 'id', id, 0, MAX_ID_BYTES)
  want_bytes(call, 'user', user, 0, MAX_USER_BYTES)
end

