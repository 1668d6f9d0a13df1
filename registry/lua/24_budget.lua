---------------------------------------------------------------------------------------------------
-- Work of a call. Other clients wait while a call runs, so what it takes on is bounded, whatever the number of entries: how
-- much it looks at in order to count (looks, shared by so many operations), and how many members it frees or shortens. The
-- rest it leaves for later.

local function new_work(operations, members)
  return {
    looks = COUNT_LOOKS, operations = operations, members = members, later = {}, over = 0,
    slices = bounds.slices_in_all, bytes = bounds.read_bytes, inspected = 0, size = 0,
  }
end

-- looks_of returns how much may be looked at of the next operation.
local function looks_of(work)
  return math.max(LEAST_LOOKS, math.floor(work.looks / math.max(1, work.operations)))
end

local function spend_looks(work, looks) work.looks = math.max(0, work.looks - looks) end

local function spend_members(work, members) work.members = math.max(0, work.members - members) end

-- batched hands items to a function, many at a time, and adds up what it returns.
local function batched(items, fn)
  local sum = 0
  for from = 1, #items, BATCH do sum = sum + fn(unpack(items, from, math.min(from + BATCH - 1, #items))) end
  return sum
end

