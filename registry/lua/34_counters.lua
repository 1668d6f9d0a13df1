---------------------------------------------------------------------------------------------------
-- Counters: one hash, fields <counter>:<op>; "invalidations:" with no operation counts all of them. They also tell which
-- operations there are that the policy does not list: "unlisted" is how many, and "since" the module's epoch when it was
-- begun, from which on none is missing.

local function count(slot, counter, op, by)
  local keys = keys_of_operation(slot, op)
  call('HINCRBY', keys.counters, keys.fields[counter], by or '1')
end

local UNLISTED, SINCE = 'unlisted', 'since'
local admit, known_operations
do
local MAX_COUNTER_FIELDS = #COUNTERS * (MAX_OPERATIONS + MAX_UNLISTED + 1) + 2

local counter_names = {}
for i = 1, #COUNTERS do counter_names[COUNTERS[i]] = true end

-- operation_of returns the operation of a counter, '' for that of the module; nil where the field is none.
local function operation_of(field, value)
  if #field > 16 + MAX_OPERATION_BYTES or #value > 19 or not string.find(value, '^%d+$') then return nil end
  local counter, op = string.match(field, '^(%a+):(.*)$')
  if counter_names[counter] and #op <= MAX_OPERATION_BYTES then return op end
end

-- read_counters returns the counters by their fields, and lists the operations that they are of.
local function read_counters(slot)
  local key, counters, operations, seen, strange = counters_key(slot), {}, {}, {[''] = true}, {}
  local found = hash_of(key, MAX_COUNTER_FIELDS, MAX_COUNTER_FIELDS * 320)
  for i = 1, #found, 2 do
    local op = operation_of(found[i], found[i + 1])
    if op then
      counters[found[i]] = tonumber(found[i + 1])
      if not seen[op] then
        seen[op] = true
        operations[#operations + 1] = op
      end
    elseif found[i] ~= UNLISTED and found[i] ~= SINCE then
      strange[#strange + 1] = found[i]
    end
  end
  if #strange > 0 then drop_fields(key, strange) end
  return counters, operations
end

-- known_operations lists the operations that can have entries, those of the policy, and those that were read or filled under
-- its default, and returns the counters. Counters of more operations than have a place there go.
function known_operations(slot, rules)
  local list, unlisted, counters, counted_operations = {}, 0, read_counters(slot)
  for op in pairs(rules.operations) do list[#list + 1] = op end
  for _, op in ipairs(counted_operations) do
    if rules.operations[op] == nil then
      unlisted = unlisted + 1
      if unlisted <= MAX_UNLISTED then list[#list + 1] = op end
    end
  end
  if unlisted > MAX_UNLISTED then drop(counters_key(slot)) end
  table.sort(list)
  return list, counters
end

-- admit says whether an operation that is cached has a place among the counters, and gives it one: a caller that
-- invents operations under a default TTL must not grow the slot.
function admit(slot, op)
  local key, misses = counters_key(slot), keys_of_operation(slot, op).fields.misses
  if call('HEXISTS', key, misses) == 1 then return true end
  if call('HEXISTS', policy_key(slot), keys_of_operation(slot, op).rule) == 1 then return true end
  if (whole(field_of(key, UNLISTED, 15)) or 0) >= MAX_UNLISTED or call('HLEN', key) >= MAX_COUNTER_FIELDS then return false end
  call('HINCRBY', key, UNLISTED, '1')
  call('HINCRBY', key, misses, '0')
  return true
end
end

