-- shorten_entry makes an entry that was listed in this slice live and be fresh for no longer than a rule says, and lists it
-- where it belongs then.
local function shorten_entry(slot, op, epoch, slice, member, rule, now)
  if not parse_member(member) then return end
  local key = member_key(slot, op, member)
  local header = read_header(key)
  if listed_in(header, epoch) ~= slice then return end
  local negative = bit.band(string.byte(header, 2), FLAG_NEGATIVE) ~= 0
  local fresh_until = now + (negative and rule.negative or rule.ttl)
  local deadline = negative and fresh_until or now + life_of(rule)
  local shortened = call('PEXPIREAT', key, deadline, 'LT') == 1
  local expiry = shortened and deadline or call('PEXPIRETIME', key)
  local user = parse_member(member)
  if expiry <= now then
    if user ~= '' then remove_from_user_index(slot, user, {name_of(slot, op, member)}) end
    return
  end
  local target = slice_for(expiry, slice_exponent(expiry - now))
  local fresh = math.min(fresh_until, (struct.unpack('>I8', header, FRESH_UNTIL_AT + 1)))
  local in_slice, chunk = enlist(slot, epoch, target, member, now, expiry)
  call('SETRANGE', key, FRESH_UNTIL_AT, struct.pack('>I8I6I2', fresh, in_slice, chunk))
  if user ~= '' then call('ZADD', user_index_key(slot, user), 'XX', expiry, name_of(slot, op, member)) end
end

local function parse_sweep(piece)
  local slice, chunk, last, from = string.match(string.sub(piece.what, EPOCH_LEN + 1), '^:(%d+):(%d+):(%d+):()')
  if not slice then return nil end
  local w = {
    epoch = string.sub(piece.what, 1, EPOCH_LEN), slice = parse_slice(slice), chunk = whole(chunk), last = whole(last),
    left = piece.left, op = string.sub(piece.what, EPOCH_LEN + from),
  }
  if w.slice and w.chunk and w.last and w.last <= MAX_CHUNK and w.op ~= '' and #w.op <= MAX_OPERATION_BYTES then return w end
end

local function format_sweep(w)
  return w.epoch .. string.format(':%d:%d:%d:', w.slice, w.chunk, w.last) .. w.op
end

-- drop_emptied takes a slice that lists nothing out of the index: sizes may be estimated from a few slices.
local function drop_emptied(slot, epoch, slice)
  local open, closed = read_slice(slot, epoch, slice)
  if not open or closed > 0 or chunk_length(slot, epoch, slice, open) > 0 then return end
  drop_slice(slot, epoch, slice)
  open_chunks.items[epoch] = nil
end

-- sweep goes on with a sweep, by up to max members, for the operation's rule of now: what was filled by it is not
-- shortened, and where it lets entries live longer than the rule that the sweep was made for, nothing is. It returns how
-- many it looked at (an empty chunk counts, too), and whether something is left.
local function sweep(slot, w, rule, max)
  if not rule or operation_epoch(slot, w.op) ~= w.epoch then return 0, false end
  local now, looked = now_ms(), 0
  while looked < max and w.chunk <= w.last do
    local members, cost, others = pop_members(chunk_key(slot, w.epoch, w.slice, w.chunk), max - looked)
    local open, closed = read_slice(slot, w.epoch, w.slice)
    if open and #members > 0 then write_slice(slot, w.epoch, w.slice, open, closed - #members) end
    if not others then w.chunk = w.chunk + 1 end
    looked, w.left = looked + cost, math.max(1, w.left - #members)
    for _, member in ipairs(members) do shorten_entry(slot, w.op, w.epoch, w.slice, member, rule, now) end
  end
  local more = w.chunk <= w.last
  if not more then drop_emptied(slot, w.epoch, w.slice) end
  return looked, more
end

-- close_slice makes further members go to a chunk above those there are, and returns the last of these.
local function close_slice(slot, epoch, at)
  write_slice(slot, epoch, at.slice, math.min(MAX_CHUNK, at.open + 1), slice_size(slot, epoch, at))
  open_chunks.items[epoch] = nil
  return at.open
end

-- outlives says whether a slice may list entries that go beyond a rule: any that are there longer than this reach, or negative
-- ones, which are in slices of up to this exponent. How long an entry is fresh is known by when it expires: not beyond that.
local function outlives(at, rule, reach, exponent, now)
  if at.size == 0 then return false end
  local over = slice_end(at.slice)
  return over > now + reach or at.slice % 64 <= exponent and over > now + rule.negative
end

local function outliving(slices, rule, reach, exponent, now)
  local list, size = {}, 0
  for _, at in ipairs(slices) do
    if outlives(at, rule, reach, exponent, now) then
      list[#list + 1] = at
      size = size + at.size
    end
  end
  return list, size
end

-- shorten_slices begins with sweeps of slices and leaves the rest for later.
local function shorten_slices(slot, op, epoch, slices, rule, work)
  for _, at in ipairs(slices) do
    local last = close_slice(slot, epoch, at)
    local w = {epoch = epoch, slice = at.slice, chunk = 0, last = last, left = at.size, op = op}
    local more = true
    if work.members > 0 then
      local looked
      looked, more = sweep(slot, w, rule, work.members)
      spend_members(work, looked + WORK_COST)
    end
    if more then leave(work, 's', w.left, slice_end(at.slice) + MARGIN_MS, format_sweep(w)) end
  end
end

-- shorten lets the entries of an operation live, and be fresh, no longer than its rule says, so many at once and others later.
-- It looks at those that are there for longer than reach.
function shorten(slot, op, rule, reach, exponent, work)
  local epoch, now = operation_epoch(slot, op), now_ms()
  if not epoch then return end
  local found = inspect(slot, epoch, now, work)
  local slices, size = outliving(found.slices, rule, reach, exponent, now)
  if size == 0 and (found.whole or #found.slices > 0) then return end
  if work.members > 0 and size > 0 then
    shorten_slices(slot, op, epoch, slices, rule, work)
  else
    leave(work, 't', size, found.over, epoch .. string.format(':%d:', exponent) .. op)
  end
end

