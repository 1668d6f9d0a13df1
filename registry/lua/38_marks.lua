---------------------------------------------------------------------------------------------------
-- Marks. While a hold lasts, a mark takes the place of a head, or of an entry. Nothing it covers is
-- live, and no load of it gets a token. It is "!!" and a record per holder: an id, and the deadline
-- of the hold in ms of this server's clock. A mark expires with its last deadline.
--
-- Only cw_hold and cw_release delete or write a key that begins with "!!". Invalidations may let it
-- last longer: see source lag.
--
-- One record may have no holder, which its id of zero bytes says. Nobody can bring its deadline
-- forward. It stands for holders beyond those that a mark names, and for the lag of the source.

local marks = {
  PREFIX = '!!', BYTE = 33, NOBODY = '\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0',
  id_bytes = 16,
  record_bytes = 24,
  max_holders = 64,
  max_ms = 10 * 60 * 1000,
}

-- A mark has at most one record without a holder in addition.
marks.max_bytes = #marks.PREFIX + (marks.max_holders + 1) * marks.record_bytes
-- Bytes of a mark with one holder, and of those the ones up to its id.
marks.one_bytes = #marks.PREFIX + marks.record_bytes
marks.id_end = #marks.PREFIX + marks.id_bytes
-- Position of the last byte that tells a mark from what is longer.
marks.END = marks.max_bytes .. ''

-- marks.is_mark says whether a value is a mark, or what others wrote in place of one.
function marks.is_mark(value)
  local first, second = string.byte(value, 1, 2)
  return first == marks.BYTE and second == marks.BYTE
end

function marks.is_at(key) return call('GETRANGE', key, '0', '1') == marks.PREFIX end

-- marks.read returns the mark under a key, or nil, and the beginning of what is there: at least
-- the header of an entry. What is longer than a mark is cut to one byte more.
function marks.read(key)
  local value = call('GETRANGE', key, '0', HEADER_END)
  if not marks.is_mark(value) then return nil, value end
  if #value > HEADER_END + 0 then value = call('GETRANGE', key, '0', marks.END) end
  return value, value
end

function marks.has_length(value)
  local bytes = #value - #marks.PREFIX
  return bytes > 0 and bytes % marks.record_bytes == 0 and #value <= marks.max_bytes
end

-- marks.parse returns the records of a mark that have not passed. As Redis does, it counts the
-- millisecond of a deadline to the hold, which began within one. None lasts longer than a hold can:
-- the clock may have been set back.
function marks.parse(value, now)
  local records, latest = {}, now + marks.max_ms
  if not marks.has_length(value) then return records end
  for from = #marks.PREFIX + 1, #value, marks.record_bytes do
    local deadline = struct.unpack('>I8', value, from + marks.id_bytes)
    if deadline >= now then
      local id = string.sub(value, from, from + marks.id_bytes - 1)
      records[#records + 1] = {id = id, deadline = math.min(deadline, latest)}
    end
  end
  return records
end

-- marks.of_one returns a mark with one holder.
function marks.of_one(id, deadline) return marks.PREFIX .. id .. struct.pack('>I8', deadline) end

-- marks.is_of_one says whether a value is a mark that names this holder and no other.
function marks.is_of_one(value, id)
  return #value == marks.one_bytes and string.sub(value, 1, marks.id_end) == marks.PREFIX .. id
end

-- marks.put writes a mark. Redis would delete at once what expires in this millisecond.
function marks.put(key, mark, deadline)
  local expiry = math.max(deadline, now_ms() + 1)
  call('SET', key, mark, 'PXAT', string.format('%d', expiry))
end

-- marks.write replaces a mark by these records, which may be none. It returns the last deadline.
function marks.write(key, records)
  local last, parts = 0, {marks.PREFIX}
  for _, record in ipairs(records) do
    last = math.max(last, record.deadline)
    parts[#parts + 1] = record.id .. struct.pack('>I8', record.deadline)
  end
  if last == 0 then
    call('UNLINK', key)
  else
    marks.put(key, table.concat(parts), last)
  end
  return last
end

-- marks.enter gives a holder this deadline, or the record without a holder at least this deadline
-- if there are too many holders. It says whether the holder was there.
function marks.enter(records, id, deadline)
  local holders = 0
  for _, record in ipairs(records) do
    if record.id == id then
      record.deadline = deadline
      return true
    end
    if record.id ~= marks.NOBODY then holders = holders + 1 end
  end
  if holders < marks.max_holders then
    records[#records + 1] = {id = id, deadline = deadline}
  else
    marks.extend(records, deadline)
  end
  return false
end

-- marks.extend lets a mark last at least until this deadline.
function marks.extend(records, deadline)
  for _, record in ipairs(records) do
    if record.id == marks.NOBODY then
      record.deadline = math.max(record.deadline, deadline)
      return
    end
  end
  records[#records + 1] = {id = marks.NOBODY, deadline = deadline}
end

-- marks.leave returns the records without those of a holder, and whether the holder was there.
function marks.leave(records, id)
  local others = {}
  for _, record in ipairs(records) do
    if record.id ~= id then others[#others + 1] = record end
  end
  return others, #others < #records
end

-- marks.remaining returns for how many ms the mark under a key lasts; 0: there is none. It also
-- says whether the mark does not expire, so that others wrote it.
function marks.remaining(key)
  if not marks.is_at(key) then return 0, false end
  local ms = call('PTTL', key)
  if ms == -1 then return marks.max_ms, true end
  return math.max(1, math.min(ms, marks.max_ms)), false
end

-- marks.is_garbage says whether others wrote a mark: the library makes none like it.
function marks.is_garbage(key)
  local ms, latest = call('PTTL', key), marks.max_ms + MARGIN_MS
  return ms < 0 or ms > latest or not marks.has_length((marks.read(key)))
end

-- While there may be marks of entries, the key <slot>:h exists, and what is freed is read first.

function marks.entries_key(slot) return slot .. ':h' end

-- marks.note_entry lets that key last until this deadline, at least.
function marks.note_entry(slot, deadline)
  local key, at = marks.entries_key(slot), string.format('%d', deadline)
  -- Usually it is there, and lasts less long. A key that is not there has no expiry to extend.
  if call('PEXPIREAT', key, at, 'GT') == 0 then call('SET', key, '', 'NX', 'PXAT', at) end
end

-- marks.note_again restores that key for so many ms if it was evicted.
function marks.note_again(slot, ms)
  local key = marks.entries_key(slot)
  if call('EXISTS', key) == 0 then call('SET', key, '', 'PX', string.format('%d', ms)) end
end

-- marks.left_out returns those of the keys of entries that have no mark.
function marks.left_out(slot, keys)
  if #keys == 0 or call('EXISTS', marks.entries_key(slot)) == 0 then return keys end
  local others = {}
  for _, key in ipairs(keys) do
    if not marks.is_at(key) then others[#others + 1] = key end
  end
  return others
end
