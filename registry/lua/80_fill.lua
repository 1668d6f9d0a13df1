---------------------------------------------------------------------------------------------------
-- Fills, by cw_set and cw_put.
--
-- options is one argument with words. negative: the source has nothing under this id. room: the
-- payload begins behind as many bytes of any value as the header takes. schema: a byte with the
-- length of the schema, and the schema, precede the payload. heads: the token is of the heads that
-- an MGET found, so there was no lease. ttl and a number: the entry lasts for so many ms, which is
-- no longer than the policy says.

local MARK_BYTE = marks.BYTE
local DISABLED, FENCED, REFUSED = 0, -1, -2

-- OPTIONS are what an argument may ask for, but for the TTL, by its text.
local OPTIONS = {}

local fill = {
  WORDS = {'negative', 'room', 'schema', 'heads'}, -- in the order in which they come
  FLAGS = {negative = FLAG_NEGATIVE, schema = FLAG_SCHEMA},
}

-- fill.allow adds what begins with a text: with and without each word from one on.
function fill.allow(text, options, from)
  OPTIONS[text] = options
  for at = from, #fill.WORDS do
    local word, more = fill.WORDS[at], {flags = options.flags}
    for i = 1, at - 1 do more[fill.WORDS[i]] = options[fill.WORDS[i]] end
    more[word], more.flags = true, options.flags + (fill.FLAGS[word] or 0)
    fill.allow((text == '' and '' or text .. ' ') .. word, more, at + 1)
  end
end

fill.allow('', {flags = 0}, 1)

-- fill.options_with_ttl parses options that end with a TTL. It returns nil if they do not.
function fill.options_with_ttl(text)
  local words, digits = string.match(text, '^(.*)ttl (%d+)$')
  local ms = parse_whole(digits) or 0
  if ms == 0 then return nil end
  if words ~= '' then words = string.match(words, '^(.+) $') end
  return OPTIONS[words], ms
end

-- fill.options returns what an argument asks for, and a TTL in ms if it names one.
function fill.options(name, text, takes_token)
  local options, ttl = OPTIONS[text], nil
  if not options then options, ttl = fill.options_with_ttl(text) end
  if options and (takes_token or not options.room and not options.heads) then return options, ttl end
  refuse(name .. ': options must be empty or omitted, or the words negative, '
    .. (takes_token and 'room, schema, heads' or 'schema')
    .. ', and ttl with a whole number of ms from 1, in this order')
end

-- A header is longer than its token by so many bytes.
local HEADER_OVER_TOKEN = HEADER_FIXED_LEN - EPOCH_LEN - #PLAIN
local OPERATION_EPOCH_END = (HEADER_FIXED_LEN + 2 * EPOCH_LEN - 1) .. ''

local function with_jitter(slot, ttl, percent)
  local max = math.floor(ttl * percent / 100)
  local random = tonumber(string.sub(draw(slot), 1, 8), 16) / 4294967296
  return math.max(1, ttl - math.floor(random * (max + 1)))
end

-- fill.list_of_user adds an entry to the index of its user. Without a lease, it also makes room.
function fill.list_of_user(slot, of_op, user, member, now, life, options)
  local key = user_index_key(slot, user)
  local is_longer = user_index.add(key, of_op.name .. member, now, life)
  if is_longer and options.heads then user_index.clean(key, now, user_index.clean_names) end
end

-- fill.count counts a fill, and returns how many there were.
function fill.count(of_op) return call('HINCRBY', of_op.counters, of_op.fields.fills, '1') end

-- fill.admit says whether an operation may be cached. The first fill that is counted asks: there may
-- be no lease, or the counters were lost since. If it may not, the count is gone again.
function fill.admit(slot, of_op, op)
  if admit(slot, op) then return true end
  call('HDEL', of_op.counters, of_op.fields.fills)
  return false
end

-- fill.uncount takes back what was counted.
function fill.uncount(of_op) call('HINCRBY', of_op.counters, of_op.fields.fills, '-1') end

-- store first writes the padded payload, then the header over its padding. Payloads are large, and
-- concatenating header and payload here would double the cost of a fill. The expiry of the entry
-- tells the time. It does not replace a mark, and says so.
local function store(slot, of_op, user, member, heads, padded, ttl, life, exponent, options)
  local key, rule = of_op.entries .. member, heads.rule
  local old = call('GETRANGE', key, '0', OPERATION_EPOCH_END)
  local first = string.byte(old)
  if first == MARK_BYTE and marks.is_mark(old) then return false end
  call('PSETEX', key, rule.lives[life] or string.format('%d', life), padded)
  local expiry = call('PEXPIRETIME', key)
  local now = expiry - life
  local flags = heads.flags + options.flags
  local wanted = slice_for(expiry, exponent)
  local slice, chunk
  if not first then
    slice, chunk = enlist(slot, heads.index, wanted, member, now, expiry)
  else
    slice, chunk = relist(slot, heads.index, wanted, member, old, now, expiry)
  end
  call('SETRANGE', key, '0',
    struct.pack('>BBI8I6I2', ENTRY_VERSION, flags, now + ttl, slice, chunk) .. heads.carried)
  if user ~= '' then fill.list_of_user(slot, of_op, user, member, now, life, options) end
  -- A policy that lets entries live longer does not know the users, and there may be no lease. Usually
  -- nothing is to do, and a call of keep_heads to find that takes longer.
  if heads.kept_by ~= rule or now >= heads.kept_until then
    keep_heads(slot, of_op, user, heads, rule, now)
  end
  return true
end

-- fill.limited returns the TTL that a fill asks for. That of the rule is the longest.
function fill.limited(name, ttl, wanted)
  if wanted <= ttl then return wanted end
  refuse(string.format('%s: ttl %d is longer than that of the policy, %d ms', name, wanted, ttl))
end

-- lifetimes returns how long an entry is fresh, how long it exists, and the exponent of its slice;
-- or nil if it is not cached. wanted is the TTL that the fill asks for, if it does.
local function lifetimes(name, slot, rule, negative, wanted)
  local ttl = negative and rule.negative or rule.ttl
  if ttl == 0 then return nil end
  if wanted then ttl = fill.limited(name, ttl, wanted) end
  if rule.jitter > 0 then ttl = with_jitter(slot, ttl, rule.jitter) end
  local exponent = negative and rule.negative_exponent or rule.exponent
  if wanted then return ttl, ttl, slice_exponent_of_fill(ttl, exponent) end
  return ttl, negative and ttl or ttl + rule.stale, exponent
end

local function refuse_room(bytes, room)
  refuse('cw_set: the option room needs ' .. room .. ' bytes before the payload, but there are '
    .. bytes .. ' in total')
end

