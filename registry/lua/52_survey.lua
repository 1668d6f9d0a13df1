---------------------------------------------------------------------------------------------------
-- Surveys count what an index lists. They read exactly where that is cheap, and extrapolate from
-- samples where it is not.

local survey = {
  -- Members read to count those of a slice that is partly past, and how many of them in a row.
  members = 64,
  run = 4,
}

-- survey.measure learns the sizes of slices from the lengths of their open chunks. It reads so many
-- of them and assumes their average for the others.
function survey.measure(slot, epoch, slices, reads)
  local measured, sum = math.min(#slices, reads), 0
  for i = 0, measured - 1 do
    local at = slices[math.floor(i * #slices / measured) + 1]
    at.key = chunk_key(slot, epoch, at.slice, at.open)
    at.length = math.min(bounds.chunk_members, call('LLEN', at.key))
    sum = sum + at.length
  end
  for _, at in ipairs(slices) do at.size = at.closed + (at.length or math.floor(sum / measured)) end
  return measured
end

-- survey.sample returns about so many members, spread over a chunk.
function survey.sample(chunk, wanted)
  local length = index.check_chunk(chunk)
  if length == 0 then return {} end
  if length <= wanted then return call('LRANGE', chunk, '0', '-1') end
  local members, runs = {}, math.ceil(wanted / survey.run)
  for i = 0, runs - 1 do
    local from = math.floor(i * length / runs)
    for _, member in ipairs(call('LRANGE', chunk, from, from + math.ceil(wanted / runs) - 1)) do
      members[#members + 1] = member
    end
  end
  return members
end

-- survey.count_live counts the live entries of a slice that is partly past, from a sample. It also
-- returns how much it read.
function survey.count_live(slot, op, epoch, at, wanted, work)
  local chunks, read, live = math.min(at.open + 1, wanted), 0, 0
  local share = at.size <= wanted and wanted or math.ceil(wanted / chunks)
  for i = 0, chunks - 1 do
    if work.bytes <= 0 then break end
    local chunk = math.floor(i * (at.open + 1) / chunks)
    local members = survey.sample(chunk_key(slot, epoch, at.slice, chunk), share)
    local _, bytes = index.cost_of(members)
    work.bytes = work.bytes - bytes
    for _, member in ipairs(members) do
      read = read + 1
      local header = parse_member(member) and read_header(member_key(slot, op, member))
      if header and listed_in(header, epoch) == at.slice then live = live + 1 end
    end
  end
  if read == 0 then return at.size, chunks end
  return math.floor(live * at.size / read), read + chunks
end

-- survey.can_read says whether a call may read an index with so many slices.
function survey.can_read(slices, work)
  if slices > bounds.slices then return true end -- reading drops it
  work.slices = work.slices - slices
  return work.slices >= 0 or slices <= budget.min_reads
end

-- survey.assume stands for an index that the call cannot read: the average of those it has read.
function survey.assume(now, work)
  local size = math.floor(work.size / math.max(1, work.inspected))
  local expiry = now + 2 * MAX_TTL_MS
  return {slices = {}, size = size, live = size, expiry = expiry, reads = 0, complete = false}
end

-- survey.inspect returns the slices of an index, and the number of members they list (size). It
-- also returns when the last of them expires (expiry), and whether it read all (complete).
function survey.inspect(slot, epoch, now, work)
  local count = call('HLEN', index_key(slot, epoch))
  if not survey.can_read(count, work) then
    work.operations = work.operations - 1
    return survey.assume(now, work)
  end
  local found = {slices = index.slices(slot, epoch, count), size = 0, expiry = now}
  local reads = survey.measure(slot, epoch, found.slices, budget.reads_of_next(work))
  for _, at in ipairs(found.slices) do
    local expiry = slice_end(at.slice) + MARGIN_MS
    if expiry < now then at.size = 0 end
    found.size = found.size + at.size
    if expiry > found.expiry then found.expiry = expiry end
  end
  found.reads, found.complete = reads, reads == #found.slices
  budget.spend_reads(work, reads)
  work.operations, work.inspected = work.operations - 1, work.inspected + 1
  work.size = work.size + found.size
  return found
end

-- survey.add_live counts the live entries of an index that was inspected (live). reads is how much
-- that and the inspection may read.
function survey.add_live(slot, op, epoch, found, reads, now, work)
  if found.live then return end
  found.live = 0
  for _, at in ipairs(found.slices) do
    local live, read = at.size, 0
    if slice_end(at.slice) + CLOCK_SLACK_MS <= now then
      live = 0
    elseif index.slice_begin(at.slice) <= now + CLOCK_SLACK_MS and at.size > 0 then
      local wanted = math.max(1, math.min(survey.members, reads - found.reads))
      live, read = survey.count_live(slot, op, epoch, at, wanted, work)
    end
    found.live = found.live + live
    budget.spend_reads(work, read)
  end
end

-- survey.count is survey.inspect that also counts the live entries.
function survey.count(slot, op, epoch, now, work)
  local reads = budget.reads_of_next(work)
  local found = survey.inspect(slot, epoch, now, work)
  survey.add_live(slot, op, epoch, found, reads, now, work)
  return found
end

-- survey.size returns how many members an index lists.
function survey.size(slot, epoch)
  return survey.inspect(slot, epoch, now_ms(), budget.new(1, 0)).size
end

