---------------------------------------------------------------------------------------------------
-- The budget of a call. Other clients wait while a call runs. So its work is bounded whatever the
-- number of entries. reads is how much it reads in order to count, shared by the operations.
-- members is how many members it frees or shortens. It lists the rest as jobs for later calls.

local budget = {
  -- The call that invalidates reclaims an index of up to so many keys; more would slow it
  -- noticeably.
  inline_keys = 128,
  -- Keys that a cw_reclaim call examines at most: less than a millisecond.
  reclaim_keys = 200,
  -- Shortening an entry, or removing it from an index that is in use, costs as much as freeing two.
  member_cost = 2,
  -- The fixed cost of a job, in members.
  job_cost = 8,
  -- Lengths and headers that a call reads in order to count: at most, and per operation at least.
  reads = 512,
  min_reads = 4,
}

function budget.new(operations, members)
  return {
    reads = budget.reads, operations = operations, members = members, later = {}, expiry = 0,
    slices = bounds.total_slices, bytes = bounds.read_bytes, inspected = 0, size = 0,
  }
end

-- budget.reads_of_next returns how many reads the next operation may take.
function budget.reads_of_next(work)
  return math.max(budget.min_reads, math.floor(work.reads / math.max(1, work.operations)))
end

function budget.spend_reads(work, reads) work.reads = math.max(0, work.reads - reads) end

function budget.spend_members(work, members) work.members = math.max(0, work.members - members) end

-- batched passes items to a function, many at a time, and returns the sum of its results.
local function batched(items, fn)
  local sum = 0
  for from = 1, #items, BATCH do
    sum = sum + fn(unpack(items, from, math.min(from + BATCH - 1, #items)))
  end
  return sum
end

