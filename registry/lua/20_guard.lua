---------------------------------------------------------------------------------------------------
-- Refusals and repairs. A bad call raises a table, which the guard turns into an error reply.
-- Nothing is written before the arguments of a call were checked. All errors begin with
-- CACHEWRIGHT, including those of Redis.

-- calls are the functions of the library, by name.
local calls = {}

local function refuse(message)
  error({refusal = message}, 0)
end

-- guard.dropped is set if a call met a key that the library did not make.
-- guard.read_only is set during a call that must not write.
local guard = {dropped = false, read_only = false}

-- What read commands reply if there is no key.
guard.empty_lists = {HGETALL = true, HKEYS = true, LRANGE = true}
guard.empty_values = {HLEN = 0, HSTRLEN = 0, LLEN = 0, GETRANGE = ''}

function guard.text_of(failure)
  if type(failure) == 'table' then return tostring(failure.err or failure.refusal) end
  return tostring(failure)
end

local function has_prefix(text, prefix) return string.sub(text, 1, #prefix) == prefix end

function guard.is_not_a_counter(text)
  return has_prefix(text, 'ERR hash value is not an integer')
    or has_prefix(text, 'ERR increment or decrement would overflow')
end

-- guard.without_key deletes a key of the wrong type and repeats the command. A read-only call
-- replies as if there were no key.
function guard.without_key(...)
  local command, key = ...
  guard.dropped = true
  if not guard.read_only then
    redis.pcall('UNLINK', key)
    return redis.pcall(...)
  end
  if guard.empty_lists[command] then return {} end
  return guard.empty_values[command] or false
end

function guard.retry(text, ...)
  if has_prefix(text, 'WRONGTYPE') then return guard.without_key(...) end
  local command, key, field = ...
  if command ~= 'HINCRBY' or not guard.is_not_a_counter(text) then return nil end
  redis.pcall('HDEL', key, field)
  return redis.pcall(...)
end

-- Globals that each command of a repairing call needs: upvalues are faster. They are missing while
-- Redis loads the library.
local try, type_of

-- guard.repairing_call is redis.call that deletes keys of the wrong type and counters that are not
-- numbers, and then repeats the command.
function guard.repairing_call(...)
  local reply = try(...)
  if type_of(reply) ~= 'table' or not reply.err then return reply end
  local second = guard.retry(reply.err, ...)
  if second == nil then error(reply, 0) end
  if type(second) == 'table' and second.err then error(second, 0) end
  return second
end

function guard.is_repairable(text)
  return has_prefix(text, 'WRONGTYPE') or guard.is_not_a_counter(text)
end

-- The garbage collector of the Lua VM runs as scripts allocate, which is too late for large
-- arguments. So cold calls, and those with large payloads, start it above a threshold.
guard.collect_above = 12 * KIB

function guard.collect_garbage()
  if collectgarbage('count') < guard.collect_above then return end
  collectgarbage()
  guard.collect_above = math.max(12 * KIB, 2 * collectgarbage('count'))
end

function guard.refusal_of(failure)
  guard.collect_garbage()
  return redis.error_reply('CACHEWRIGHT ' .. string.sub(guard.text_of(failure), 1, 512))
end

function guard.run_repairing(fn, keys, args, read_only)
  call, time, try, type_of = guard.repairing_call, nil, redis.pcall, type
  guard.dropped, guard.read_only = false, read_only
  local ok, reply = pcall(fn, keys, args)
  if not ok then return guard.refusal_of(reply) end
  guard.collect_garbage()
  return reply
end

-- guard.wrap makes a library function of one that raises refusals.
function guard.wrap(fn, read_only)
  return function(keys, args) return guard.run_repairing(fn, keys, args, read_only) end
end

local LARGE_PAYLOAD = 16 * KIB

-- guard.wrap_hot does the same for a hot call. It assumes that keys have the right types, and if
-- one has not, runs the call again with repairs.
function guard.wrap_hot(fn)
  return function(keys, args)
    call, time = redis.call, nil
    local ok, reply = pcall(fn, keys, args)
    if not ok then
      if guard.is_repairable(guard.text_of(reply)) then
        return guard.run_repairing(fn, keys, args, false)
      end
      return guard.refusal_of(reply)
    end
    local payload = args[4] or type(reply) == 'table' and reply[2]
    if payload and #payload > LARGE_PAYLOAD then guard.collect_garbage() end
    return reply
  end
end

