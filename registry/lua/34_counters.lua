---------------------------------------------------------------------------------------------------
-- Counters: a hash with fields <counter>:<op>. The field "invalidations:", without an operation,
-- counts all of them. The fields also list the operations that the policy does not: "unlisted" is
-- their number, and "since" the module's epoch when the list began. The list lacks none of the
-- operations filled since then.

local function count(slot, counter, op, by)
  local keys = keys_of_operation(slot, op)
  call('HINCRBY', keys.counters, keys.fields[counter], by or '1')
end

local counters = {UNLISTED = 'unlisted', SINCE = 'since', names = {}}

counters.max_fields = #COUNTERS * (limits.operations + limits.unlisted + 1) + 2

for i = 1, #COUNTERS do counters.names[COUNTERS[i]] = true end

-- counters.parse_field returns the operation of a field, '' for the module, nil if it is not ours.
function counters.parse_field(field)
  if #field > 16 + MAX_OPERATION_BYTES then return nil end
  local counter, op = string.match(field, '^(%a+):(.*)$')
  if counters.names[counter] and #op <= MAX_OPERATION_BYTES then return op end
end

-- counters.operation_of is counters.parse_field that memoises, and looks at the value, too.
function counters.operation_of(field, value)
  if #value > 19 or not string.find(value, '^%d+$') then return nil end
  local known = operations_by_field.items[field]
  if known then return known end
  local op = counters.parse_field(field)
  if op then
    memo.reserve(operations_by_field, 250 + 2 * #field)
    operations_by_field.items[field] = op
  end
  return op
end

-- counters.read returns the counters by field, and the operations that they belong to.
function counters.read(slot)
  local key, values, operations, seen, others = counters_key(slot), {}, {}, {[''] = true}, {}
  local fields = foreign.read_hash(key, counters.max_fields, counters.max_fields * 320)
  for i = 1, #fields, 2 do
    local op = counters.operation_of(fields[i], fields[i + 1])
    if op then
      values[fields[i]] = tonumber(fields[i + 1])
      if not seen[op] then
        seen[op] = true
        operations[#operations + 1] = op
      end
    elseif fields[i] ~= counters.UNLISTED and fields[i] ~= counters.SINCE then
      others[#others + 1] = fields[i]
    end
  end
  if #others > 0 then foreign.drop_fields(key, others) end
  return values, operations
end

-- counters.operations lists the operations that can have entries: those that the policy lists, and
-- those read or filled under its default. It also returns the counters. If there are counters of
-- more operations than allowed, it drops them.
function counters.operations(slot, listed)
  local list, unlisted, values, counted = {}, 0, counters.read(slot)
  for op in pairs(listed) do list[#list + 1] = op end
  for _, op in ipairs(counted) do
    if listed[op] == nil then
      unlisted = unlisted + 1
      if unlisted <= limits.unlisted then list[#list + 1] = op end
    end
  end
  if unlisted > limits.unlisted then foreign.drop(counters_key(slot)) end
  table.sort(list)
  return list, values
end

-- counters.unlisted returns how many operations the policy does not list, or nil if others wrote
-- that.
function counters.unlisted(slot)
  local key = counters_key(slot)
  local digits = call('HSTRLEN', key, counters.UNLISTED)
  if digits == 0 then return 0 end
  return digits <= 15 and parse_whole(call('HGET', key, counters.UNLISTED)) or nil
end

-- counters.all_operations is counters.operations under the policy in force.
function counters.all_operations(slot)
  local listed = policy.listed(slot)
  return (counters.operations(slot, listed and listed.operations or policy.rules(slot).operations))
end

-- counters.operations_now is counters.all_operations without those that only have counters: never
-- read or filled, they have no entries. The caller must not change the list.
function counters.operations_now(slot)
  local listed = policy.listed(slot)
  if listed and counters.unlisted(slot) == 0 then return listed.names end
  return counters.all_operations(slot)
end

-- admit says whether an operation may be cached, and adds it to the counters. It bounds the number
-- of operations under a default TTL, so that a caller who invents names cannot grow the slot.
local function admit(slot, op)
  local keys = keys_of_operation(slot, op)
  local key, misses = keys.counters, keys.fields.misses
  if call('HEXISTS', key, misses) == 1 then return true end
  if call('HEXISTS', policy_key(slot), keys.rule) == 1 then return true end
  local unlisted = counters.unlisted(slot) or 0
  if unlisted >= limits.unlisted or call('HLEN', key) >= counters.max_fields then return false end
  call('HINCRBY', key, counters.UNLISTED, '1')
  call('HINCRBY', key, misses, '0')
  return true
end

