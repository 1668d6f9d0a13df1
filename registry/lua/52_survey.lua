local inspect, survey, index_size
do
-- Members that are looked at to count those of a slice that is partly over, and how many of them side by side.
local COUNTED_MEMBERS = 64
local COUNTED_RUN = 4

-- measure learns the sizes of slices from the lengths of their open chunks. It looks at so many of them, and takes the
-- others to be like them.
local function measure(slot, epoch, slices, looks)
  local looked, sum = math.min(#slices, looks), 0
  for i = 0, looked - 1 do
    local at = slices[math.floor(i * #slices / looked) + 1]
    at.length = chunk_length(slot, epoch, at.slice, at.open)
    sum = sum + at.length
  end
  for _, at in ipairs(slices) do at.size = at.closed + (at.length or math.floor(sum / looked)) end
  return looked
end

-- spread returns members from all over a chunk, about as many as are wanted if it has them.
local function spread(chunk, wanted)
  local length = readable(chunk)
  if length == 0 then return {} end
  if length <= wanted then return call('LRANGE', chunk, '0', '-1') end
  local members, runs = {}, math.ceil(wanted / COUNTED_RUN)
  for i = 0, runs - 1 do
    local from = math.floor(i * length / runs)
    for _, member in ipairs(call('LRANGE', chunk, from, from + math.ceil(wanted / runs) - 1)) do
      members[#members + 1] = member
    end
  end
  return members
end

-- count_current counts the entries of a slice of which a part is over, and returns what it looked at: it takes the
-- entries to be like those of so many members.
local function count_current(slot, op, epoch, at, wanted, work)
  local chunks, looked, live = math.min(at.open + 1, wanted), 0, 0
  local share = at.size <= wanted and wanted or math.ceil(wanted / chunks)
  for i = 0, chunks - 1 do
    if work.bytes <= 0 then break end
    local chunk = math.floor(i * (at.open + 1) / chunks)
    local members = spread(chunk_key(slot, epoch, at.slice, chunk), share)
    local _, bytes = cost_of(members)
    work.bytes = work.bytes - bytes
    for _, member in ipairs(members) do
      looked = looked + 1
      if parse_member(member) and listed_in(read_header(member_key(slot, op, member)), epoch) == at.slice then live = live + 1 end
    end
  end
  if looked == 0 then return at.size, chunks end
  return math.floor(live * at.size / looked), looked + chunks
end

-- affordable says whether a call may read an index that has so many slices.
local function affordable(slices, work)
  if slices > bounds.slices then return true end -- the index goes
  work.slices = work.slices - slices
  return work.slices >= 0 or slices <= LEAST_LOOKS
end

-- supposed takes an index that a call cannot read to be like those that it has read.
local function supposed(now, work)
  local size = math.floor(work.size / math.max(1, work.inspected))
  return {slices = {}, size = size, live = size, over = now + 2 * MAX_TTL_MS, looked = 0, whole = false}
end

-- inspect returns an index' slices and how many members they list (size), when the last of them is over, and whether it
-- looked at all of them.
function inspect(slot, epoch, now, work)
  local count = call('HLEN', index_key(slot, epoch))
  if not affordable(count, work) then
    work.operations = work.operations - 1
    return supposed(now, work)
  end
  local found = {slices = slices_of(slot, epoch, count), size = 0, over = now}
  local looked = measure(slot, epoch, found.slices, looks_of(work))
  for _, at in ipairs(found.slices) do
    local over = slice_end(at.slice) + MARGIN_MS
    if over < now then at.size = 0 end
    found.size = found.size + at.size
    if over > found.over then found.over = over end
  end
  found.looked, found.whole = looked, looked == #found.slices
  spend_looks(work, looked)
  work.operations, work.inspected, work.size = work.operations - 1, work.inspected + 1, work.size + found.size
  return found
end

-- survey also counts the entries that are there (live).
function survey(slot, op, epoch, now, work)
  local looks = looks_of(work)
  local found = inspect(slot, epoch, now, work)
  if found.live then return found end
  found.live = 0
  for _, at in ipairs(found.slices) do
    local live, looked = at.size, 0
    if slice_end(at.slice) + CLOCK_SLACK_MS <= now then
      live = 0
    elseif slice_begin(at.slice) <= now + CLOCK_SLACK_MS and at.size > 0 then
      live, looked = count_current(slot, op, epoch, at, math.max(1, math.min(COUNTED_MEMBERS, looks - found.looked)), work)
    end
    found.live = found.live + live
    spend_looks(work, looked)
  end
  return found
end

-- index_size returns how many members an index lists.
function index_size(slot, epoch) return inspect(slot, epoch, now_ms(), new_work(1, 0)).size end
end

-- relist lists a member in a slice whose entry takes the place of one whose header begins like this, or of none,
-- and returns the slice and the chunk.
local function relist(slot, epoch, slice, member, header, now, expiry)
  local before, chunk = listed_in(header, epoch)
  if before == slice then return slice, chunk end
  if before then delist(slot, epoch, before, chunk, member) end
  return enlist(slot, epoch, slice, member, now, expiry)
end

