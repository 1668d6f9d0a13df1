---------------------------------------------------------------------------------------------------
-- The index of an operation lists its entries by expiry. Time is divided into slices. The members
-- that expire in the same slice are in lists, its chunks. These are hardly larger than their
-- members and expire with the slice. The header of an entry names its slice and chunk.
--
-- The operation's epoch names the index: without the head it is detached, and nothing reads it but
-- reclaim. It is a hash of the slices, each with "<open> <closed>". open is the number of the chunk
-- that is being filled, closed how many members the chunks below it have.
--
-- A slice is a number: 64 times its position in time plus its exponent. It is 2^exponent ms wide.

local index = {}

local function slice_for(expiry, exponent)
  local width = 2 ^ exponent
  return (expiry - expiry % width) / width * 64 + exponent
end

function index.slice_begin(slice)
  local exponent = slice % 64
  return (slice - exponent) / 64 * 2 ^ exponent
end

local function slice_end(slice)
  local exponent = slice % 64
  return ((slice - exponent) / 64 + 1) * 2 ^ exponent
end

function index.slice_name(slice) return string.format('%d', slice) end

function index.parse_state(text)
  if #text > 32 then return nil end
  local open, closed = string.match(text, '^(%d+) (%d+)$')
  open, closed = tonumber(open), tonumber(closed)
  local is_valid = open and open <= MAX_CHUNK and closed <= open * bounds.chunk_members
  if is_valid then return open, closed end
end

-- index.parse_slice returns the number of a slice, or nil if the text is not one.
function index.parse_slice(text)
  local slice = #text <= 15 and string.find(text, '^[1-9]%d*$') and tonumber(text)
  if slice and slice % 64 <= bounds.slice_exponent and slice_end(slice) <= bounds.time_ms then
    return slice
  end
end

function index.read_slice(slot, epoch, slice)
  local text = call('HGET', index_key(slot, epoch), index.slice_name(slice))
  if text then return index.parse_state(text) end
end

function index.write_slice(slot, epoch, slice, open, closed)
  local state = string.format('%d %d', open, math.max(0, closed))
  call('HSET', index_key(slot, epoch), index.slice_name(slice), state)
end

function index.delete_slice(slot, epoch, slice)
  call('HDEL', index_key(slot, epoch), index.slice_name(slice))
end

-- index.slices lists the slices of an index with their states. The caller may know their number.
function index.slices(slot, epoch, count)
  local key, slices, others = index_key(slot, epoch), {}, {}
  local fields = foreign.read_hash(key, bounds.slices, bounds.slices * bounds.slice_bytes, count)
  for i = 1, #fields, 2 do
    local slice, open, closed = index.parse_slice(fields[i]), index.parse_state(fields[i + 1])
    if slice and open then
      slices[#slices + 1] = {slice = slice, open = open, closed = closed, size = closed}
    else
      others[#others + 1] = fields[i]
    end
  end
  if #others > 0 then foreign.drop_fields(key, others) end
  return slices
end

function index.chunk_length(slot, epoch, slice, chunk)
  return math.min(bounds.chunk_members, call('LLEN', chunk_key(slot, epoch, slice, chunk)))
end

-- index.slice_size counts the members of a slice.
function index.slice_size(slot, epoch, at)
  return at.closed + index.chunk_length(slot, epoch, at.slice, at.open)
end

-- index.check_chunk returns the length and bytes of a chunk. It drops a chunk that is too large.
-- The caller may know the length already.
function index.check_chunk(chunk, known_length)
  local length = known_length or call('LLEN', chunk)
  if length == 0 then return 0, 0 end
  local bytes = length <= bounds.chunk_members and foreign.memory_of(chunk) or math.huge
  if bytes <= bounds.chunk_bytes then return length, bytes end
  foreign.drop(chunk)
  return 0, 0
end

-- index.cost_of returns the cost of members that were read, in members of usual length, and their
-- bytes.
function index.cost_of(members)
  local bytes = 0
  for _, member in ipairs(members) do bytes = bytes + #member end
  return math.max(#members, math.ceil(bytes / bounds.member_bytes)), bytes
end

-- index.pop_members removes up to max members from a chunk, whose length the caller may know. It
-- returns them, their cost, and whether the chunk has more.
function index.pop_members(chunk, max, known_length)
  local length, bytes = index.check_chunk(chunk, known_length)
  if length == 0 then return {}, 1, false end
  local members = call('LPOP', chunk, max) or {}
  local usual = bytes <= #members * bounds.member_bytes -- none needs to be measured
  return members, math.max(1, usual and #members or index.cost_of(members)), length > #members
end

-- open_chunk returns the chunk of a slice that is being filled: {number, key}. It is memoised.
local function open_chunk(slot, epoch, slice)
  local of_epoch = open_chunks.items[epoch]
  local chunk = of_epoch and of_epoch[slice]
  if chunk then return chunk end
  local number = index.read_slice(slot, epoch, slice) or 0
  memo.reserve(open_chunks, 700 + #slot)
  chunk = {number = number, key = chunk_key(slot, epoch, slice, number)}
  open_chunks.items[epoch] = open_chunks.items[epoch] or {}
  open_chunks.items[epoch][slice] = chunk
  return chunk
end

-- index.open_slice adds a slice to the index and removes those that are past.
function index.open_slice(slot, epoch, slice, now)
  local key, expiry = index_key(slot, epoch), slice_end(slice) + MARGIN_MS
  local past = {}
  for _, at in ipairs(index.slices(slot, epoch)) do
    if slice_end(at.slice) + CLOCK_SLACK_MS < now then
      past[#past + 1] = index.slice_name(at.slice)
    end
  end
  if #past > 0 then call('HDEL', key, unpack(past)) end
  index.write_slice(slot, epoch, slice, 0, 0)
  if call('PEXPIRETIME', key) < expiry then call('PEXPIREAT', key, expiry) end
end

-- index.turn_over updates the state of a slice after a chunk was begun or filled.
function index.turn_over(slot, epoch, slice, chunk, length, now)
  if length == 1 then call('PEXPIREAT', chunk.key, slice_end(slice) + MARGIN_MS) end
  local open, closed = index.read_slice(slot, epoch, slice)
  if not open then
    index.open_slice(slot, epoch, slice, now)
    open_chunks.items[epoch] = nil
  elseif open ~= chunk.number then -- another primary advanced it in between
    index.write_slice(slot, epoch, slice, open, closed + 1)
    open_chunks.items[epoch] = nil
  elseif length >= CHUNK_MEMBERS and open < MAX_CHUNK then
    local added = math.min(length, bounds.chunk_members)
    index.write_slice(slot, epoch, slice, open + 1, closed + added)
    open_chunks.items[epoch] = nil
  end
end

-- index.close_slice directs further members to a new chunk. It returns the last chunk before that.
function index.close_slice(slot, epoch, at)
  local size = index.slice_size(slot, epoch, at)
  index.write_slice(slot, epoch, at.slice, math.min(MAX_CHUNK, at.open + 1), size)
  open_chunks.items[epoch] = nil
  return at.open
end

-- index.slice_with_room returns the slice to list in, and its open chunk. If all chunks of a slice
-- are full, it takes a narrower slice.
function index.slice_with_room(slot, epoch, slice, expiry)
  local chunk = open_chunk(slot, epoch, slice)
  while chunk.number >= MAX_CHUNK and slice % 64 > 0 and call('LLEN', chunk.key) >= CHUNK_MEMBERS do
    slice = slice_for(expiry, slice % 64 - 1)
    chunk = open_chunk(slot, epoch, slice)
  end
  return slice, chunk
end

-- enlist adds a member, whose entry expires at this time, to a slice. It returns the slice and
-- chunk.
local function enlist(slot, epoch, slice, member, now, expiry)
  local chunk = open_chunk(slot, epoch, slice)
  if chunk.number >= MAX_CHUNK then
    slice, chunk = index.slice_with_room(slot, epoch, slice, expiry)
  end
  local length = call('RPUSH', chunk.key, member)
  if length == 1 or length >= CHUNK_MEMBERS then
    index.turn_over(slot, epoch, slice, chunk, length, now)
  end
  return slice, chunk.number
end

-- index.account_removed updates the state of a slice after one member was removed from each of
-- these chunks.
function index.account_removed(slot, epoch, slice, chunks)
  local open, closed = index.read_slice(slot, epoch, slice)
  local removed = 0
  for _, chunk in ipairs(chunks) do
    if open and chunk < open then removed = removed + 1 end
  end
  if removed > 0 then index.write_slice(slot, epoch, slice, open, closed - removed) end
end

-- index.remove removes a member from its chunk and says whether it was there. The caller must call
-- index.account_removed afterwards.
function index.remove(slot, epoch, slice, chunk, member)
  local of_epoch = open_chunks.items[epoch]
  local open = of_epoch and of_epoch[slice]
  local key = open and open.number == chunk and open.key or chunk_key(slot, epoch, slice, chunk)
  if call('LLEN', key) > bounds.chunk_members then
    foreign.drop(key)
    return false
  end
  return call('LREM', key, '1', member) == 1
end

local function delist(slot, epoch, slice, chunk, member)
  if index.remove(slot, epoch, slice, chunk, member) then
    index.account_removed(slot, epoch, slice, {chunk})
  end
end

-- listed_in returns the slice and chunk that list an entry in the index of this epoch, if any.
local function listed_in(header, epoch)
  if string.sub(header, OPERATION_EPOCH_AT + 1, OPERATION_EPOCH_AT + EPOCH_LEN) ~= epoch then
    return nil
  end
  local slice, chunk = struct.unpack('>I6I2', header, LISTED_AT + 1)
  return slice, chunk
end

-- relist lists a member in a slice. header is that of the entry it replaces. It returns the slice
-- and chunk.
local function relist(slot, epoch, slice, member, header, now, expiry)
  local before, chunk = listed_in(header, epoch)
  if before == slice then return slice, chunk end
  if before then delist(slot, epoch, before, chunk, member) end
  return enlist(slot, epoch, slice, member, now, expiry)
end

