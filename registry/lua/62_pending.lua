---------------------------------------------------------------------------------------------------
-- Work that is left. The list <slot>:pending names it, each piece as <kind>:<sum>:<left>:<what>: about so many members
-- are left of it, and sum is how many were of it and of those before it when it was listed. Of a kind are

--   o  <epoch>:<op>                         an operation's index that is out of sight
--   u  <nonce>                              a user's, that was renamed
--   t  <epoch>:<exponent>:<op>              entries that are to live no longer than the operation's rule says: those in
--                                           slices that go beyond, and negative ones in slices up to this exponent
--   s  <epoch>:<slice>:<chunk>:<last>:<op>  the same of one slice, from one chunk to the last

--   ?                                       anything else, which others wrote: it goes
--
-- Of more pieces than MAX_PENDING all go: what they name expires by itself.

local MAX_PENDING = 10000
local MAX_PIECE_BYTES = 256 + MAX_OPERATION_BYTES
local KINDS = {o = true, u = true, t = true, s = true}

local function format_piece(piece)
  return piece.kind .. string.format(':%d:%d:', piece.sum, piece.left) .. piece.what
end

local function parse_piece(text)
  if #text > MAX_PIECE_BYTES then return nil end
  local kind, sum, left, from = string.match(text, '^(%a):(%d+):(%d+):()')
  sum, left = whole(sum), whole(left)
  if KINDS[kind] and sum and left then return {kind = kind, sum = sum, left = left, what = string.sub(text, from)} end
end

local function piece_at(slot, place)
  local text = call('LINDEX', pending_key(slot), place)
  if not text then return nil end
  return parse_piece(text) or {kind = '?', sum = 0, left = 1, what = text}
end

-- leave notes work for later, which nothing is left of when so many members have expired by themselves.
local function leave(work, kind, members, over, what)
  work.later[#work.later + 1] = {kind = kind, left = math.max(1, members), what = what}
  work.over = math.max(work.over, over)
end

-- settle lists what a call leaves for later.
function settle(slot, work)
  if #work.later == 0 then return end
  local key, last, texts = pending_key(slot), piece_at(slot, '-1'), {}
  local sum = last and last.sum or 0
  for i, piece in ipairs(work.later) do
    sum = sum + piece.left
    piece.sum = sum
    texts[i] = format_piece(piece)
  end
  batched(texts, function(...) return call('RPUSH', key, ...) end)
  local over = math.min(work.over, now_ms() + 3 * MAX_TTL_MS)
  if call('PEXPIRETIME', key) < over then call('PEXPIREAT', key, over) end
  work.later = {}
end

-- pending_total is exact as long as nothing of it expires by itself.
function pending_total(slot)
  local first = piece_at(slot, '0')
  return first and math.max(first.left, first.left + piece_at(slot, '-1').sum - first.sum) or 0
end

