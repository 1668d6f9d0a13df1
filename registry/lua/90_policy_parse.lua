---------------------------------------------------------------------------------------------------
-- Parsing policy documents. An unknown, duplicate or ill-typed field is refused.

local document = {max_revision_bytes = 128}

document.fields = {revision = true, defaultTtlMs = true, sourceLagMs = true, operations = true}
document.operation_fields = {
  name = true, ttlMs = true, staleForMs = true, negativeTtlMs = true, jitterPercent = true,
  scope = true, maxEntryBytes = true, localTtlMs = true, sourceLagMs = true,
}

function document.refuse(message) refuse('cw_policy_apply: ' .. message) end

function document.want_whole(where, value, min, max)
  if type(value) ~= 'number' or value % 1 ~= 0 or value < min or value > max then
    document.refuse(string.format('%s must be a whole number from %.0f to %.0f', where, min, max))
  end
  return value
end

function document.want_known_fields(where, object, known)
  for field in pairs(object) do
    if not known[field] then
      local printable = string.gsub(string.sub(tostring(field), 1, 64), '[^!-~]', '?')
      document.refuse('unknown field ' .. where .. printable)
    end
  end
end

function document.parse_operation(at, operation, lag)
  local where = 'operations[' .. at .. ']'
  if type(operation) ~= 'table' then document.refuse(where .. ' must be an object') end
  where = where .. '.'
  document.want_known_fields(where, operation, document.operation_fields)
  local name = operation.name
  if type(name) ~= 'string' then document.refuse(where .. 'name must be a string') end
  want_bytes('cw_policy_apply', where .. 'name', name, 1, MAX_OPERATION_BYTES)
  local scope = operation.scope or 'Any'
  if scope ~= 'Any' and scope ~= 'User' then
    document.refuse(where .. 'scope must be "Any" or "User"')
  end
  local function whole(field, default, min, max)
    return document.want_whole(where .. field, operation[field] or default, min, max)
  end
  whole('localTtlMs', 0, 0, MAX_TTL_MS) -- only read by near caches, from the document
  return name, {
    ttl = whole('ttlMs', nil, 0, MAX_TTL_MS),
    stale = whole('staleForMs', 0, 0, MAX_TTL_MS),
    negative = whole('negativeTtlMs', 0, 0, MAX_TTL_MS),
    jitter = whole('jitterPercent', 0, 0, limits.jitter_percent),
    scope = scope,
    max = whole('maxEntryBytes', limits.payload_bytes, 1, limits.payload_bytes),
    lag = whole('sourceLagMs', lag, 0, limits.lag_ms),
  }
end

function document.parse_operations(list, rules, text)
  -- The decoder does not distinguish {} from [].
  local is_object = type(list) == 'table' and next(list) == nil
    and not string.find(text, '"operations"%s*:%s*%[')
  if type(list) ~= 'table' or is_object then document.refuse('operations must be a list') end
  local length = 0
  for _ in pairs(list) do length = length + 1 end
  if length ~= #list then document.refuse('operations must be a list') end
  if length > limits.operations then
    document.refuse('at most ' .. limits.operations .. ' operations, not ' .. length)
  end
  for i, operation in ipairs(list) do
    local name, rule = document.parse_operation(i - 1, operation, rules.lag)
    if rules.operations[name] then
      document.refuse('operations[' .. (i - 1) .. '].name is a duplicate')
    end
    rules.operations[name] = rule
  end
end

function document.count_fields(object)
  local fields = 0
  for _ in pairs(object) do fields = fields + 1 end
  return fields
end

-- document.want_fields_once refuses duplicate fields: the decoder would take the last. plain is the
-- text without its strings, in which each field has left its colon.
function document.want_fields_once(plain, decoded)
  local fields = document.count_fields(decoded)
  for _, operation in ipairs(type(decoded.operations) == 'table' and decoded.operations or {}) do
    if type(operation) == 'table' then fields = fields + document.count_fields(operation) end
  end
  local _, colons = string.gsub(plain, ':', '')
  if colons > fields then document.refuse('a field is a duplicate') end
end

-- document.want_strict_json refuses what the decoder accepts but other readers do not: control
-- characters in strings, numbers that are not plain digits, and duplicate fields. Duplicates are
-- checked first, which bounds the number of strings and numbers.
function document.want_strict_json(text, decoded)
  local escaped = string.gsub(text, '\\.', '')
  local plain = string.gsub(escaped, '"[^"]*"', '')
  document.want_fields_once(plain, decoded)
  for quoted in string.gmatch(escaped, '"([^"]*)"') do
    if string.find(quoted, '[%z\1-\31]') then
      document.refuse('a string contains a control character')
    end
  end
  for word in string.gmatch(plain, '[^%s{}%[%]:,]+') do
    if not string.match(word, '^[1-9]%d*$') and word ~= '0' then
      document.refuse('values must be strings, objects, lists, and whole numbers in plain digits')
    end
  end
end

-- policy.parse returns the rules of a document.
function policy.parse(text)
  want_bytes('cw_policy_apply', 'the document', text, 2, limits.policy_bytes)
  local ok, decoded = pcall(cjson.decode, text)
  if not ok or not string.match(text, '^%s*{') then
    document.refuse('the document must be a JSON object')
  end
  document.want_known_fields('', decoded, document.fields)
  local rules = {operations = {}, revision = decoded.revision}
  if rules.revision ~= nil then
    if type(rules.revision) ~= 'string' then document.refuse('revision must be a string') end
    want_bytes('cw_policy_apply', 'revision', rules.revision, 0, document.max_revision_bytes)
    if rules.revision == '' then rules.revision = nil end
  end
  rules.lag = decoded.sourceLagMs == nil and 0
    or document.want_whole('sourceLagMs', decoded.sourceLagMs, 0, limits.lag_ms)
  if decoded.defaultTtlMs ~= nil then
    local ttl = document.want_whole('defaultTtlMs', decoded.defaultTtlMs, 0, MAX_TTL_MS)
    rules.default = {
      ttl = ttl, stale = 0, negative = 0, jitter = 0, scope = 'Any', max = limits.payload_bytes,
      lag = rules.lag,
    }
  end
  if decoded.operations ~= nil then
    document.parse_operations(decoded.operations, rules, text)
  end
  document.want_strict_json(text, decoded)
  return rules
end

