---------------------------------------------------------------------------------------------------
-- cw_policy_apply KEY json: [changed, purged].

-- The calls on policies by their names, as Lua allows a file 200 local names in all.
local parse_policy
local cw_policy = {}
do
local MAX_REVISION_BYTES = 128
local function want_whole(where, value, min, max)
  if type(value) ~= 'number' or value % 1 ~= 0 or value < min or value > max then
    refuse(string.format('cw_policy_apply: %s must be a whole number from %.0f to %.0f', where, min, max))
  end
  return value
end

local function want_known_fields(where, object, known)
  for field in pairs(object) do
    if not known[field] then
      refuse('cw_policy_apply: unknown field ' .. where .. string.gsub(string.sub(tostring(field), 1, 64), '[^!-~]', '?'))
    end
  end
end

local POLICY_FIELDS = {revision = true, defaultTtlMs = true, operations = true}
local OPERATION_FIELDS = {
  name = true, ttlMs = true, staleForMs = true, negativeTtlMs = true, jitterPercent = true, scope = true,
  maxEntryBytes = true, localTtlMs = true,
}

local function parse_operation(at, operation)
  local where = 'operations[' .. at .. ']'
  if type(operation) ~= 'table' then refuse('cw_policy_apply: ' .. where .. ' must be an object') end
  where = where .. '.'
  want_known_fields(where, operation, OPERATION_FIELDS)
  local name = operation.name
  if type(name) ~= 'string' then refuse('cw_policy_apply: ' .. where .. 'name must be a string') end
  want_bytes('cw_policy_apply', where .. 'name', name, 1, MAX_OPERATION_BYTES)
  local scope = operation.scope or 'Any'
  if scope ~= 'Any' and scope ~= 'User' then
    refuse('cw_policy_apply: ' .. where .. 'scope must be "Any" or "User"')
  end
  -- Only for caches in the applications' memory, which read it from the document.
  want_whole(where .. 'localTtlMs', operation.localTtlMs or 0, 0, MAX_TTL_MS)
  return name, {
    ttl = want_whole(where .. 'ttlMs', operation.ttlMs, 0, MAX_TTL_MS),
    stale = want_whole(where .. 'staleForMs', operation.staleForMs or 0, 0, MAX_TTL_MS),
    negative = want_whole(where .. 'negativeTtlMs', operation.negativeTtlMs or 0, 0, MAX_TTL_MS),
    jitter = want_whole(where .. 'jitterPercent', operation.jitterPercent or 0, 0, MAX_JITTER_PERCENT),
    scope = scope,
    max = want_whole(where .. 'maxEntryBytes', operation.maxEntryBytes or MAX_PAYLOAD_BYTES, 1, MAX_PAYLOAD_BYTES),
  }
end

local function parse_operations(list, rules, text)
  -- The decoder makes the same of {} and [].
  local is_object = type(list) == 'table' and next(list) == nil and not string.find(text, '"operations"%s*:%s*%[')
  if type(list) ~= 'table' or is_object then refuse('cw_policy_apply: operations must be a list') end
  local length = 0
  for _ in pairs(list) do length = length + 1 end
  if length ~= #list then refuse('cw_policy_apply: operations must be a list') end
  if length > MAX_OPERATIONS then
    refuse('cw_policy_apply: at most ' .. MAX_OPERATIONS .. ' operations, not ' .. length)
  end
  for i, operation in ipairs(list) do
    local name, rule = parse_operation(i - 1, operation)
    if rules.operations[name] then
      refuse('cw_policy_apply: operations[' .. (i - 1) .. '].name is there twice')
    end
    rules.operations[name] = rule
  end
end

local function count_fields(object)
  local fields = 0
  for _ in pairs(object) do fields = fields + 1 end
  return fields
end

-- want_fields_once refuses a field that is there twice: the decoder takes the last, whatever the first was. plain is
-- the text without its strings, where each field has left its colon.
local function want_fields_once(plain, document)
  local fields = count_fields(document)
  for _, operation in ipairs(type(document.operations) == 'table' and document.operations or {}) do
    if type(operation) == 'table' then fields = fields + count_fields(operation) end
  end
  local _, colons = string.gsub(plain, ':', '')
  if colons > fields then refuse('cw_policy_apply: a field is there twice') end
end

-- want_strict_json refuses what the decoder lets pass and other readers of the document do not: line
-- breaks in strings, numbers that are not plain digits, and fields that are there twice. These come first: then there are not
-- more strings and numbers than known fields have.
local function want_strict_json(text, document)
  local escaped = string.gsub(text, '\\.', '')
  local plain = string.gsub(escaped, '"[^"]*"', '')
  want_fields_once(plain, document)
  for quoted in string.gmatch(escaped, '"([^"]*)"') do
    if string.find(quoted, '[%z\1-\31]') then refuse('cw_policy_apply: a string holds a control character') end
  end
  for word in string.gmatch(plain, '[^%s{}%[%]:,]+') do
    if not string.match(word, '^[1-9]%d*$') and word ~= '0' then
      refuse('cw_policy_apply: values must be strings, objects, lists, and whole numbers in plain digits')
    end
  end
end

function parse_policy(text)
  want_bytes('cw_policy_apply', 'the document', text, 2, MAX_POLICY_BYTES)
  local ok, document = pcall(cjson.decode, text)
  if not ok or not string.match(text, '^%s*{') then
    refuse('cw_policy_apply: the document must be a JSON object')
  end
  want_known_fields('', document, POLICY_FIELDS)
  local rules = {operations = {}, revision = document.revision}
  if rules.revision ~= nil then
    if type(rules.revision) ~= 'string' then refuse('cw_policy_apply: revision must be a string') end
    want_bytes('cw_policy_apply', 'revision', rules.revision, 0, MAX_REVISION_BYTES)
    if rules.revision == '' then rules.revision = nil end
  end
  if document.defaultTtlMs ~= nil then
    local ttl = want_whole('defaultTtlMs', document.defaultTtlMs, 0, MAX_TTL_MS)
    rules.default = {ttl = ttl, stale = 0, negative = 0, jitter = 0, scope = 'Any', max = MAX_PAYLOAD_BYTES}
  end
  if document.operations ~= nil then parse_operations(document.operations, rules, text) end
  want_strict_json(text, document)
  return rules
end

end

