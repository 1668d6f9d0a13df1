---------------------------------------------------------------------------------------------------
-- cw_stats KEY: a flat map of keys, memory, pending, invalidations, and <figure>:<op> for the keys,
-- ttl and counters of each operation.

local cw_stats
do
-- Entries whose memory is measured to estimate that of an operation.
local MEMORY_SAMPLES = 5

local function memory_usage(key, ...)
  return tonumber(call('MEMORY', 'USAGE', key, ...) or 0) or 0
end

-- estimate_memory measures a few chunks and entries of an operation and takes the rest to be like them.
local function estimate_memory(slot, op, seen, found, looks)
  local entries, measured, chunks, listed, bytes = 0, 0, 0, 0, bounds.read_bytes
  for i = 0, math.min(#found.slices, looks) - 1 do
    local at = found.slices[math.floor(i * #found.slices / math.min(#found.slices, looks)) + 1]
    local chunk = chunk_key(slot, seen.epoch, at.slice, at.open)
    local length, of_chunk = readable(chunk)
    local members = length > 0 and bytes > 0 and call('LRANGE', chunk, 0, MEMORY_SAMPLES - 1) or {}
    bytes = bytes - select(2, cost_of(members))
    if #members > 0 then chunks, listed = chunks + of_chunk, listed + length end
    for _, member in ipairs(members) do
      local is_wanted = parse_member(member) and measured < math.min(MEMORY_SAMPLES, looks)
      local taken = is_wanted and memory_usage(member_key(slot, op, member)) or 0
      if taken > 0 then entries, measured = entries + taken, measured + 1 end
    end
  end
  local index = memory_usage(index_key(slot, seen.epoch)) + (listed > 0 and chunks / listed * found.size or 0)
  return math.floor((measured > 0 and entries / measured * found.live or 0) + index)
end

-- weigh returns how many live entries each operation has, and how much memory they take.
local function weigh(slot, operations)
  local seen, now, weights = in_sight(slot, operations), now_ms(), {}
  local work = new_work(#seen, 0)
  for _, one in ipairs(seen) do
    local looks = math.min(MEMORY_SAMPLES * SLICES, math.ceil(looks_of(work) / LEAST_LOOKS))
    local found = survey(slot, one.op, one.epoch, now, work)
    local memory = found.live > 0 and estimate_memory(slot, one.op, one, found, looks) or 0
    weights[one.op] = {keys = found.live, memory = memory}
  end
  return weights
end

function cw_stats(keys, args)
  local slot = slot_of(keys, 'cw_stats')
  want_args('cw_stats', args, '', 0)
  local rules = read_rules(slot)
  local operations, counters = known_operations(slot, rules)
  local weights = head_exists(module_head_key(slot)) and weigh(slot, operations) or {}
  local total, memory, reply = 0, 0, {}
  for _, op in ipairs(operations) do
    local weight = weights[op] or {keys = 0, memory = 0}
    total, memory = total + weight.keys, memory + weight.memory
    local figures = {'keys:' .. op, weight.keys, 'ttl:' .. op, ttl_by(rules, op)}
    for _, counter in ipairs(COUNTERS) do
      figures[#figures + 1] = counter .. ':' .. op
      figures[#figures + 1] = counters[counter .. ':' .. op] or 0
    end
    for _, figure in ipairs(figures) do reply[#reply + 1] = figure end
  end
  local sums = {
    'keys', total, 'memory', memory, 'pending', pending_total(slot),
    'invalidations', counters['invalidations:'] or 0,
  }
  for _, figure in ipairs(reply) do sums[#sums + 1] = figure end
  return sums
end
end

