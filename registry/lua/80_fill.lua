---------------------------------------------------------------------------------------------------
-- Fills, by cw_set and cw_put.
--
-- options is one argument with words. negative: the source has nothing under this id. room: the
-- payload begins behind as many bytes of any value as the header takes. schema: a byte with the
-- length of the schema, and the schema, precede the payload. ttl and a number: the entry lasts for
-- so many ms, which is no longer than the policy says.

local DISABLED, FENCED, REFUSED = 0, -1, -2
local OPTIONS = {
  [''] = {flags = 0},
  negative = {negative = true, flags = FLAG_NEGATIVE},
  room = {room = true, flags = 0},
  schema = {schema = true, flags = FLAG_SCHEMA},
  ['negative room'] = {negative = true, room = true, flags = FLAG_NEGATIVE},
  ['negative schema'] = {negative = true, schema = true, flags = FLAG_NEGATIVE + FLAG_SCHEMA},
  ['room schema'] = {room = true, schema = true, flags = FLAG_SCHEMA},
  ['negative room schema'] = {
    negative = true, room = true, schema = true, flags = FLAG_NEGATIVE + FLAG_SCHEMA,
  },
}

local fill = {}

-- fill.options_with_ttl parses options that end with a TTL. It returns nil if they do not.
function fill.options_with_ttl(text)
  local words, digits = string.match(text, '^(.*)ttl (%d+)$')
  local ms = parse_whole(digits) or 0
  if ms == 0 then return nil end
  if words ~= '' then words = string.match(words, '^(.+) $') end
  return OPTIONS[words], ms
end

-- fill.options returns what an argument asks for, and a TTL in ms if it names one.
function fill.options(name, text, takes_room)
  local options, ttl = OPTIONS[text], nil
  if not options then options, ttl = fill.options_with_ttl(text) end
  if options and (takes_room or not options.room) then return options, ttl end
  refuse(name .. ': options must be empty or omitted, or the words negative, '
    .. (takes_room and 'room, ' or '') .. 'schema, and ttl with a whole number of ms from 1, '
    .. 'in this order')
end

-- A header is longer than its token by so many bytes.
local HEADER_OVER_TOKEN = HEADER_FIXED_LEN - EPOCH_LEN - #PLAIN
local OPERATION_EPOCH_END = (HEADER_FIXED_LEN + 2 * EPOCH_LEN - 1) .. ''

local function with_jitter(slot, ttl, percent)
  local max = math.floor(ttl * percent / 100)
  local random = tonumber(string.sub(draw(slot), 1, 8), 16) / 4294967296
  return math.max(1, ttl - math.floor(random * (max + 1)))
end

-- keep_user_head extends a user's head if the rule changed after the lease. The policy extended
-- those of the module and the operation, but it does not know the users.
local function keep_user_head(slot, user, heads, rule)
  keep_for(user_head_key(slot, user), heads_life(rule))
  heads.kept_by = rule
end

-- store first writes the padded payload, then the header over its padding. Payloads are large, and
-- concatenating header and payload here would double the cost of a fill. The expiry of the entry
-- tells the time. It does not replace a mark, and says so.
local function store(slot, of_op, user, member, heads, padded, ttl, life, exponent, options)
  local key, rule = of_op.entries .. member, heads.rule
  local old = call('GETRANGE', key, '0', OPERATION_EPOCH_END)
  local is_new = old == ''
  if not is_new and string.byte(old) == marks.BYTE and marks.is_mark(old) then return false end
  call('PSETEX', key, rule.lives[life] or string.format('%d', life), padded)
  local expiry = call('PEXPIRETIME', key)
  local now = expiry - life
  local flags = heads.flags + options.flags
  local wanted = slice_for(expiry, exponent)
  local slice, chunk
  if is_new then
    slice, chunk = enlist(slot, heads.index, wanted, member, now, expiry)
  else
    slice, chunk = relist(slot, heads.index, wanted, member, old, now, expiry)
  end
  call('SETRANGE', key, '0',
    struct.pack('>BBI8I6I2', ENTRY_VERSION, flags, now + ttl, slice, chunk) .. heads.carried)
  if user == '' then return true end
  user_index.add(user_index_key(slot, user), of_op.name .. member, now, life)
  if heads.kept_by ~= rule then keep_user_head(slot, user, heads, rule) end
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

