---------------------------------------------------------------------------------------------------
-- Shortening entries to a rule whose TTLs were lowered: some at once, others in jobs.

local shorten = {}

-- shorten.entry limits the lifetime and freshness of an entry listed in this slice to a rule. It
-- lists the entry in the slice of its new expiry.
function shorten.entry(slot, op, epoch, slice, member, rule, now)
  local user = parse_member(member)
  if not user then return end
  local key = member_key(slot, op, member)
  local header = read_header(key)
  if marks.is_mark(header) or listed_in(header, epoch) ~= slice then return end
  local negative = bit.band(string.byte(header, 2), FLAG_NEGATIVE) ~= 0
  local fresh_until = now + (negative and rule.negative or rule.ttl)
  local deadline = negative and fresh_until or now + life_of(rule)
  local shortened = call('PEXPIREAT', key, deadline, 'LT') == 1
  local expiry = shortened and deadline or call('PEXPIRETIME', key)
  if expiry <= now then
    if user ~= '' then user_index.remove(slot, user, {name_of(slot, op, member)}) end
    return
  end
  local target = slice_for(expiry, slice_exponent(expiry - now))
  local fresh = math.min(fresh_until, (struct.unpack('>I8', header, FRESH_UNTIL_AT + 1)))
  local in_slice, chunk = enlist(slot, epoch, target, member, now, expiry)
  call('SETRANGE', key, FRESH_UNTIL_AT, struct.pack('>I8I6I2', fresh, in_slice, chunk))
  if user == '' then return end
  call('ZADD', user_index_key(slot, user), 'XX', expiry, name_of(slot, op, member))
end

-- A sweep shortens the entries of one slice, chunk by chunk.

function shorten.parse_sweep(job)
  local detail = string.sub(job.detail, EPOCH_LEN + 1)
  local slice, chunk, last, from = string.match(detail, '^:(%d+):(%d+):(%d+):()')
  if not slice then return nil end
  local sweep = {
    epoch = string.sub(job.detail, 1, EPOCH_LEN), slice = index.parse_slice(slice),
    chunk = parse_whole(chunk), last = parse_whole(last), remaining = job.remaining,
    op = string.sub(detail, from),
  }
  local is_valid = sweep.slice and sweep.chunk and sweep.last and sweep.last <= MAX_CHUNK
  if is_valid and sweep.op ~= '' and #sweep.op <= MAX_OPERATION_BYTES then return sweep end
end

function shorten.format_sweep(sweep)
  local position = string.format(':%d:%d:%d:', sweep.slice, sweep.chunk, sweep.last)
  return sweep.epoch .. position .. sweep.op
end

-- shorten.delete_if_empty removes a slice without members from the index: sizes may be estimates.
function shorten.delete_if_empty(slot, epoch, slice)
  local open, closed = index.read_slice(slot, epoch, slice)
  if not open or closed > 0 or index.chunk_length(slot, epoch, slice, open) > 0 then return end
  index.delete_slice(slot, epoch, slice)
  open_chunks.items[epoch] = nil
end

-- shorten.continue continues a sweep by up to max members, under the operation's current rule. It
-- leaves entries alone that this rule filled, or that it allows to live longer than the rule that
-- the sweep was made for. It returns how many it examined, counting empty chunks, and whether the
-- sweep has more.
function shorten.continue(slot, sweep, rule, max)
  local op, epoch, slice = sweep.op, sweep.epoch, sweep.slice
  if not rule or operation_epoch(slot, op) ~= epoch then return 0, false end
  local now, examined = now_ms(), 0
  while examined < max and sweep.chunk <= sweep.last do
    local chunk = chunk_key(slot, epoch, slice, sweep.chunk)
    local members, cost, others = index.pop_members(chunk, max - examined)
    local open, closed = index.read_slice(slot, epoch, slice)
    if open and #members > 0 then index.write_slice(slot, epoch, slice, open, closed - #members) end
    if not others then sweep.chunk = sweep.chunk + 1 end
    examined, sweep.remaining = examined + cost, math.max(1, sweep.remaining - #members)
    for _, member in ipairs(members) do shorten.entry(slot, op, epoch, slice, member, rule, now) end
  end
  local more = sweep.chunk <= sweep.last
  if not more then shorten.delete_if_empty(slot, epoch, slice) end
  return examined, more
end

-- shorten.is_affected says whether a slice may list entries that outlast a rule. Those are any
-- whose remaining lifetime exceeds reach, and negative ones, in slices of up to this exponent.
-- No entry is fresh beyond its expiry.
function shorten.is_affected(at, rule, reach, exponent, now)
  if at.size == 0 then return false end
  local expiry = slice_end(at.slice)
  return expiry > now + reach or at.slice % 64 <= exponent and expiry > now + rule.negative
end

function shorten.affected_slices(slices, rule, reach, exponent, now)
  local list, size = {}, 0
  for _, at in ipairs(slices) do
    if shorten.is_affected(at, rule, reach, exponent, now) then
      list[#list + 1] = at
      size = size + at.size
    end
  end
  return list, size
end

-- shorten.slices begins sweeps of slices and defers the rest.
function shorten.slices(slot, op, epoch, slices, rule, work)
  for _, at in ipairs(slices) do
    local sweep = {epoch = epoch, slice = at.slice, chunk = 0, remaining = at.size, op = op}
    sweep.last = index.close_slice(slot, epoch, at)
    local more = true
    if work.members > 0 then
      local examined
      examined, more = shorten.continue(slot, sweep, rule, work.members)
      budget.spend_members(work, examined + budget.job_cost)
    end
    if more then
      local expiry = slice_end(at.slice) + MARGIN_MS
      jobs.defer(work, 's', sweep.remaining, expiry, shorten.format_sweep(sweep))
    end
  end
end

-- shorten.operation limits the lifetime and freshness of an operation's entries to its rule. reach
-- and exponent are those of shorten.is_affected.
function shorten.operation(slot, op, rule, reach, exponent, work)
  local epoch, now = operation_epoch(slot, op), now_ms()
  if not epoch then return end
  local found = survey.inspect(slot, epoch, now, work)
  local slices, size = shorten.affected_slices(found.slices, rule, reach, exponent, now)
  if size == 0 and (found.complete or #found.slices > 0) then return end
  if work.members > 0 and size > 0 then
    shorten.slices(slot, op, epoch, slices, rule, work)
  else
    jobs.defer(work, 't', size, found.expiry, epoch .. string.format(':%d:', exponent) .. op)
  end
end

