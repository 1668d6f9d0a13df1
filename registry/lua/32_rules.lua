---------------------------------------------------------------------------------------------------
-- Rules. A policy is a hash with the document and a rule per operation, which a fill can read
-- without parsing JSON. Fields: json, hash, revision (the last one that was not empty), default,
-- o:<op>, lag, and a seal, which is a hash of the others.

-- A lease keeps its heads for a load as long as an entry lives, at least this long, and for the
-- entry filled afterwards. A longer load is fenced: its value is older than entries may be.
local MIN_LOAD_MS = 5000

-- slice_exponent chooses the width of slices so that a lifetime spans SLICES to twice as many.
local function slice_exponent(life)
  local _, exponent = math.frexp(life / SLICES)
  return math.max(0, exponent - 1)
end

-- Fills may ask for any lifetime below that of the rule. Few widths are enough for them, so that an
-- index never has more slices than it may.
local FILL_EXPONENTS = 4

-- slice_exponent_of_fill chooses the width of slices for a lifetime that is shorter than that of the
-- rule, whose own exponent is the largest. A lifetime spans at least two of them.
local function slice_exponent_of_fill(life, largest)
  local exponent = slice_exponent(life)
  return math.min(largest, exponent + -exponent % FILL_EXPONENTS)
end

local function encode_rule(rule)
  local text = string.format('%d %d %d %d %s %d', rule.ttl, rule.stale, rule.negative, rule.jitter,
    rule.scope, rule.max)
  return rule.lag > 0 and text .. string.format(' %d', rule.lag) or text
end

-- life_of returns the maximum lifetime of an entry: fresh, then stale.
local function life_of(rule) return rule.ttl + rule.stale end

-- heads_life returns how long heads must last for a load and the entry filled afterwards, and the
-- slack that an extension adds. Clients track heads and are notified of each write, so most misses
-- must not extend them.
local function heads_life(rule)
  local life = math.max(life_of(rule), rule.negative)
  local load = math.max(life, MIN_LOAD_MS)
  return life + load + MARGIN_MS, math.floor(load / 2)
end

local policy = {}

policy.max_rule_bytes = 80
policy.seal_bytes = 40

function policy.is_rule(rule)
  return rule.ttl and rule.ttl <= MAX_TTL_MS and rule.stale and rule.stale <= MAX_TTL_MS
    and rule.negative and rule.negative <= MAX_TTL_MS
    and rule.jitter and rule.jitter <= limits.jitter_percent
    and (rule.scope == 'Any' or rule.scope == 'User')
    and rule.max and rule.max <= limits.payload_bytes
    and rule.lag <= limits.lag_ms
end

-- decode_rule returns the rule that a text encodes, or nil. There are few rules and each fill needs
-- one, so they are memoised.
local function decode_rule(text)
  if not text or #text > policy.max_rule_bytes then return nil end
  local known = rules_by_text.items[text]
  if known then return known end
  local ttl, stale, negative, jitter, scope, max, lag =
    string.match(text, '^(%d+) (%d+) (%d+) (%d+) (%a+) (%d+) ?(%d*)$')
  local rule = {
    ttl = parse_whole(ttl), stale = parse_whole(stale), negative = parse_whole(negative),
    jitter = parse_whole(jitter), scope = scope, max = parse_whole(max),
    lag = parse_whole(lag) or 0,
  }
  if not policy.is_rule(rule) then return nil end
  rule.exponent = slice_exponent(rule.ttl + rule.stale)
  rule.negative_exponent = slice_exponent(rule.negative)
  rule.lives = {} -- without jitter, as text
  for _, life in ipairs({rule.ttl + rule.stale, rule.negative}) do
    rule.lives[life] = string.format('%d', life)
  end
  memo.reserve(rules_by_text, 1100 + 2 * #text)
  rules_by_text.items[text] = rule
  return rule
end

-- rule_for returns the rule of an operation, or nil if it is not cached.
local function rule_for(slot, op)
  local key, max = policy_key(slot), policy.max_rule_bytes
  local text = read_field(key, keys_of_operation(slot, op).rule, max)
  local rule = decode_rule(text or read_field(key, 'default', max))
  if rule and rule.ttl > 0 then return rule end
  return nil
end

-- policy.fields returns the fields and values of the hash.
function policy.fields(slot)
  local max_fields = limits.operations + 8
  return foreign.read_hash(policy_key(slot), max_fields, limits.policy_bytes + max_fields * 512)
end

function policy.rules(slot)
  local fields = policy.fields(slot)
  local rules = {operations = {}}
  for i = 1, #fields, 2 do
    local field, value = fields[i], fields[i + 1]
    if field == 'default' then
      rules.default = decode_rule(value)
    elseif string.sub(field, 1, 2) == 'o:' and #field > 2 and #field <= 2 + MAX_OPERATION_BYTES then
      rules.operations[string.sub(field, 3)] = decode_rule(value)
    elseif field == 'hash' or field == 'revision' then
      rules[field] = value
    end
  end
  return rules
end

-- policy.listed returns the operations that the policy lists, as keys of a table and sorted. It is
-- nil if there is no policy, or none that the library wrote. It is memoised by the seal, which is a
-- hash of what it returns.
function policy.listed(slot)
  local seal = read_field(policy_key(slot), 'seal', policy.seal_bytes)
  local known = slots.items[slot].listed
  if known and known.seal == seal then return known end
  if not seal or #seal ~= policy.seal_bytes then return nil end
  local listed = {seal = seal, operations = policy.rules(slot).operations, names = {}}
  for op in pairs(listed.operations) do
    memo.reserve(slots, 140 + #op)
    listed.names[#listed.names + 1] = op
  end
  table.sort(listed.names)
  keys_of(slot).listed = listed
  return listed
end

-- policy.ttl returns the TTL of an operation, 0 if it is not cached.
function policy.ttl(rules, op)
  local rule = rules.operations[op] or rules.default
  return rule and rule.ttl or 0
end

