---------------------------------------------------------------------------------------------------
-- cw_stats
--   KEYS   the slot
--   reply  a flat map of keys, memory, pending, invalidations, and <name>:<op> for the keys, ttl,
--          remaining hold and counters of each operation

local stats = {
  -- Entries whose memory is measured to estimate that of an operation.
  memory_samples = 5,
}

function stats.memory_usage(key) return tonumber(call('MEMORY', 'USAGE', key) or 0) or 0 end

-- stats.estimate_memory measures a few chunks and entries of an operation and extrapolates.
function stats.estimate_memory(slot, operation, found, reads)
  local max_samples, samples = math.min(stats.memory_samples, reads), math.min(#found.slices, reads)
  local entry_bytes, measured, chunk_bytes, listed = 0, 0, 0, 0
  local readable_bytes = bounds.read_bytes
  for i = 0, samples - 1 do
    local at = found.slices[math.floor(i * #found.slices / samples) + 1]
    local chunk = chunk_key(slot, operation.epoch, at.slice, at.open)
    local length, bytes = index.check_chunk(chunk)
    local members = length > 0 and readable_bytes > 0
      and call('LRANGE', chunk, 0, stats.memory_samples - 1) or {}
    readable_bytes = readable_bytes - select(2, index.cost_of(members))
    if #members > 0 then chunk_bytes, listed = chunk_bytes + bytes, listed + length end
    for _, member in ipairs(members) do
      local is_wanted = parse_member(member) and measured < max_samples
      local usage = is_wanted and stats.memory_usage(member_key(slot, operation.op, member)) or 0
      if usage > 0 then entry_bytes, measured = entry_bytes + usage, measured + 1 end
    end
  end
  local index_bytes = stats.memory_usage(index_key(slot, operation.epoch))
  if listed > 0 then index_bytes = index_bytes + chunk_bytes / listed * found.size end
  local all_entries = measured > 0 and entry_bytes / measured * found.live or 0
  return math.floor(all_entries + index_bytes)
end

-- stats.weigh returns the number of live entries of each operation, and how much memory they take.
function stats.weigh(slot, operations)
  local with_heads, now, weights = operations_with_heads(slot, operations), now_ms(), {}
  local work = budget.new(#with_heads, 0)
  for _, operation in ipairs(with_heads) do
    local share = math.ceil(budget.reads_of_next(work) / budget.min_reads)
    local reads = math.min(stats.memory_samples * SLICES, share)
    local found = survey.count(slot, operation.op, operation.epoch, now, work)
    local memory = found.live > 0 and stats.estimate_memory(slot, operation, found, reads) or 0
    weights[operation.op] = {keys = found.live, memory = memory}
  end
  return weights
end

-- stats.held returns for how many ms each operation is held.
function stats.held(slot, operations)
  local of_module, held = marks.remaining(module_head_key(slot)), {}
  for _, op in ipairs(operations) do
    local of_operation = marks.remaining(operation_head_key(slot, op))
    held[op] = math.max(of_module, of_operation)
  end
  return held
end

function calls.cw_stats(keys, args)
  local slot = slot_of(keys, 'cw_stats')
  want_args('cw_stats', args, '', 0)
  local rules = policy.rules(slot)
  local operations, values = counters.operations(slot, rules.operations)
  local weights = head_exists(module_head_key(slot)) and stats.weigh(slot, operations) or {}
  local total, memory, of_operations, held = 0, 0, {}, stats.held(slot, operations)
  local function add(name, value)
    of_operations[#of_operations + 1] = name
    of_operations[#of_operations + 1] = value
  end
  for _, op in ipairs(operations) do
    local weight = weights[op] or {keys = 0, memory = 0}
    total, memory = total + weight.keys, memory + weight.memory
    add('keys:' .. op, weight.keys)
    add('ttl:' .. op, policy.ttl(rules, op))
    add('held:' .. op, held[op])
    for _, counter in ipairs(COUNTERS) do
      local name = counter .. ':' .. op
      add(name, values[name] or 0)
    end
  end
  local reply = {
    'keys', total, 'memory', memory, 'pending', jobs.total(slot),
    'invalidations', values['invalidations:'] or 0,
  }
  for _, item in ipairs(of_operations) do reply[#reply + 1] = item end
  return reply
end

