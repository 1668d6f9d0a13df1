---------------------------------------------------------------------------------------------------
-- Index of an operation: its entries by when they expire. Time is cut into slices; the members that expire in
-- the same one are kept in lists, its chunks, which are hardly larger than their members and go when the slice is
-- over. An entry's header tells slice and chunk. The index is named by the operation's epoch: without the
-- head it is out of sight. It is a hash of the slices, each with "<open> <closed>": the number of the chunk that
-- is being filled, and how many members those below have in all.
--
-- A slice is a number: 64 times its place in time, plus the exponent of its width, 2^exponent ms.

local function slice_for(expiry, exponent)
  local width = 2 ^ exponent
  return (expiry - expiry % width) / width * 64 + exponent
end

local function slice_begin(slice)
  local exponent = slice % 64
  return (slice - exponent) / 64 * 2 ^ exponent
end

local function slice_end(slice)
  local exponent = slice % 64
  return ((slice - exponent) / 64 + 1) * 2 ^ exponent
end

local function slice_name(slice) return string.format('%d', slice) end

local function parse_slice_state(text)
  if #text > 32 then return nil end
  local open, closed = string.match(text, '^(%d+) (%d+)$')
  open, closed = tonumber(open), tonumber(closed)
  if open and open <= MAX_CHUNK and closed <= open * bounds.chunk_members then return open, closed end
end

-- parse_slice returns the number of a slice, nil where the text is none.
local function parse_slice(text)
  local slice = #text <= 15 and string.find(text, '^[1-9]%d*$') and tonumber(text)
  if slice and slice % 64 <= bounds.slice_exponent and slice_end(slice) <= bounds.time_ms then return slice end
end

local function read_slice(slot, epoch, slice)
  local text = call('HGET', index_key(slot, epoch), slice_name(slice))
  if text then return parse_slice_state(text) end
end

local function write_slice(slot, epoch, slice, open, closed)
  call('HSET', index_key(slot, epoch), slice_name(slice), string.format('%d %d', open, math.max(0, closed)))
end

local function drop_slice(slot, epoch, slice)
  call('HDEL', index_key(slot, epoch), slice_name(slice))
end

-- slices_of lists the slices of an index, each with its state. How many there are may be known.
local function slices_of(slot, epoch, count)
  local key, slices, strange = index_key(slot, epoch), {}, {}
  local found = hash_of(key, bounds.slices, bounds.slices * bounds.slice_bytes, count)
  for i = 1, #found, 2 do
    local slice, open, closed = parse_slice(found[i]), parse_slice_state(found[i + 1])
    if slice and open then
      slices[#slices + 1] = {slice = slice, open = open, closed = closed, size = closed, length = nil}
    else
      strange[#strange + 1] = found[i]
    end
  end
  if #strange > 0 then drop_fields(key, strange) end
  return slices
end

local function chunk_length(slot, epoch, slice, chunk)
  return math.min(bounds.chunk_members, call('LLEN', chunk_key(slot, epoch, slice, chunk)))
end

-- readable returns the length of a chunk and its bytes, and drops it where it is too long or too large.
local function readable(chunk)
  local length = call('LLEN', chunk)
  if length == 0 then return 0, 0 end
  local bytes = length <= bounds.chunk_members and weight(chunk) or math.huge
  if bytes <= bounds.chunk_bytes then return length, bytes end
  drop(chunk)
  return 0, 0
end

-- cost_of returns what members cost that were read, in members of a usual length.
local function cost_of(members)
  local bytes = 0
  for _, member in ipairs(members) do bytes = bytes + #member end
  return math.max(#members, math.ceil(bytes / bounds.member_bytes)), bytes
end

-- pop_members takes up to so many members out of a chunk, and returns what that cost and whether others are left.
local function pop_members(chunk, most)
  local length = readable(chunk)
  if length == 0 then return {}, 1, false end
  local members = call('LPOP', chunk, most) or {}
  return members, math.max(1, (cost_of(members))), length > #members
end

local function slice_size(slot, epoch, at)
  return at.closed + chunk_length(slot, epoch, at.slice, at.open)
end

local enlist
do
-- The chunks that are being filled are remembered, by epoch and slice: {number, key}.
local function open_chunk(slot, epoch, slice)
  local of_epoch = open_chunks.items[epoch]
  local chunk = of_epoch and of_epoch[slice]
  if chunk then return chunk end
  local number = read_slice(slot, epoch, slice) or 0
  make_room(open_chunks, 700 + #slot)
  chunk = {number = number, key = chunk_key(slot, epoch, slice, number)}
  open_chunks.items[epoch] = open_chunks.items[epoch] or {}
  open_chunks.items[epoch][slice] = chunk
  return chunk
end

-- open_slice enters a new slice into the index, and takes out those that are over.
local function open_slice(slot, epoch, slice, now)
  local index, last = index_key(slot, epoch), slice_end(slice) + MARGIN_MS
  local past = {}
  for _, at in ipairs(slices_of(slot, epoch)) do
    if slice_end(at.slice) + CLOCK_SLACK_MS < now then past[#past + 1] = slice_name(at.slice) end
  end
  if #past > 0 then call('HDEL', index, unpack(past)) end
  write_slice(slot, epoch, slice, 0, 0)
  if call('PEXPIRETIME', index) < last then call('PEXPIREAT', index, last) end
end

-- turn_over accounts for a chunk that was begun or is full, which the state of its slice has to tell.
local function turn_over(slot, epoch, slice, chunk, length, now)
  if length == 1 then call('PEXPIREAT', chunk.key, slice_end(slice) + MARGIN_MS) end
  local open, closed = read_slice(slot, epoch, slice)
  if not open then
    open_slice(slot, epoch, slice, now)
    open_chunks.items[epoch] = nil
  elseif open ~= chunk.number then -- another primary went on in between
    write_slice(slot, epoch, slice, open, closed + 1)
    open_chunks.items[epoch] = nil
  elseif length >= CHUNK_MEMBERS and open < MAX_CHUNK then
    write_slice(slot, epoch, slice, open + 1, closed + math.min(length, bounds.chunk_members))
    open_chunks.items[epoch] = nil
  end
end

-- with_room returns the slice to list in, and its open chunk: a slice whose chunks are all full goes on as narrower ones.
local function with_room(slot, epoch, slice, expiry)
  local chunk = open_chunk(slot, epoch, slice)
  while chunk.number >= MAX_CHUNK and slice % 64 > 0 and call('LLEN', chunk.key) >= CHUNK_MEMBERS do
    slice = slice_for(expiry, slice % 64 - 1)
    chunk = open_chunk(slot, epoch, slice)
  end
  return slice, chunk
end

-- enlist lists a member whose entry expires at this time in a slice, and returns in which slice and chunk.
function enlist(slot, epoch, slice, member, now, expiry)
  local chunk = open_chunk(slot, epoch, slice)
  if chunk.number >= MAX_CHUNK then slice, chunk = with_room(slot, epoch, slice, expiry) end
  local length = call('RPUSH', chunk.key, member)
  if length == 1 or length >= CHUNK_MEMBERS then turn_over(slot, epoch, slice, chunk, length, now) end
  return slice, chunk.number
end
end

-- account_for brings the state of a slice up to date with members that were taken out of these chunks.
local function account_for(slot, epoch, slice, chunks)
  local open, closed = read_slice(slot, epoch, slice)
  local gone = 0
  for _, chunk in ipairs(chunks) do
    if open and chunk < open then gone = gone + 1 end
  end
  if gone > 0 then write_slice(slot, epoch, slice, open, closed - gone) end
end

-- take_out takes a member out of the chunk where it is listed, and says whether it was there.
-- account_for is to follow.
local function take_out(slot, epoch, slice, chunk, member)
  local key = chunk_key(slot, epoch, slice, chunk)
  if call('LLEN', key) > bounds.chunk_members then
    drop(key)
    return false
  end
  return call('LREM', key, '1', member) == 1
end

local function delist(slot, epoch, slice, chunk, member)
  if take_out(slot, epoch, slice, chunk, member) then account_for(slot, epoch, slice, {chunk}) end
end

-- listed_in returns the slice and chunk where an entry is listed in the index of this epoch, if it is.
local function listed_in(header, epoch)
  if string.sub(header, OPERATION_EPOCH_AT + 1, OPERATION_EPOCH_AT + EPOCH_LEN) ~= epoch then return nil end
  local slice, chunk = struct.unpack('>I6I2', header, LISTED_AT + 1)
  return slice, chunk
end

