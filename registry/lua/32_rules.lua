---------------------------------------------------------------------------------------------------
-- Policy: a hash with the document and, for each operation, a rule that a fill can read without
-- parsing JSON. Fields: json, hash, revision (the last one that was not empty), default, o:<op>, and a seal on them all.

-- slice_exponent gives SLICES to twice as many slices to the life of an entry.
local function slice_exponent(life)
  local _, exponent = math.frexp(life / SLICES)
  return math.max(0, exponent - 1)
end

local function encode_rule(rule)
  return string.format('%d %d %d %d %s %d', rule.ttl, rule.stale, rule.negative, rule.jitter, rule.scope, rule.max)
end

-- life_of is how long an entry can be there: fresh, then stale.
local function life_of(rule) return rule.ttl + rule.stale end

-- heads_life is how long heads last for a load and for the entry that is filled then, and by how much more they are
-- extended when they fall short of it: clients track heads and hear of each write, so there must not be one with each
-- miss.
local function heads_life(rule)
  local life = math.max(life_of(rule), rule.negative)
  local load = math.max(life, MIN_LOAD_MS)
  return life + load + MARGIN_MS, math.floor(load / 2)
end

local decode_rule, rule_for, policy_fields, read_rules
do
local MAX_RULE_BYTES = 80

local function is_rule(rule)
  return rule.ttl and rule.ttl <= MAX_TTL_MS and rule.stale and rule.stale <= MAX_TTL_MS
    and rule.negative and rule.negative <= MAX_TTL_MS and rule.jitter and rule.jitter <= MAX_JITTER_PERCENT
    and (rule.scope == 'Any' or rule.scope == 'User') and rule.max and rule.max <= MAX_PAYLOAD_BYTES
end

-- decode_rule returns the rule of a text, nil where it is none. There are few of them, and each fill needs one.
function decode_rule(text)
  if not text or #text > MAX_RULE_BYTES then return nil end
  local known = rules_by_text.items[text]
  if known then return known end
  local ttl, stale, negative, jitter, scope, max = string.match(text, '^(%d+) (%d+) (%d+) (%d+) (%a+) (%d+)$')
  local rule = {
    ttl = whole(ttl), stale = whole(stale), negative = whole(negative), jitter = whole(jitter), scope = scope, max = whole(max),
  }
  if not is_rule(rule) then return nil end
  rule.exponent, rule.negative_exponent = slice_exponent(rule.ttl + rule.stale), slice_exponent(rule.negative)
  rule.lives = {} -- without jitter, as text
  for _, life in ipairs({rule.ttl + rule.stale, rule.negative}) do rule.lives[life] = string.format('%d', life) end
  make_room(rules_by_text, 1100 + 2 * #text)
  rules_by_text.items[text] = rule
  return rule
end


-- rule_for returns the rule an operation goes by, or nil where it is not cached.
function rule_for(slot, op)
  local key = policy_key(slot)
  local text = field_of(key, keys_of_operation(slot, op).rule, MAX_RULE_BYTES) or field_of(key, 'default', MAX_RULE_BYTES)
  local rule = decode_rule(text)
  if rule and rule.ttl > 0 then return rule end
  return nil
end

-- policy_fields returns the fields and values of the policy.
function policy_fields(slot)
  local most = MAX_OPERATIONS + 8
  return hash_of(policy_key(slot), most, MAX_POLICY_BYTES + most * 512)
end

function read_rules(slot)
  local fields = policy_fields(slot)
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

end

local function ttl_by(rules, op)
  local rule = rules.operations[op] or rules.default
  return rule and rule.ttl or 0
end

