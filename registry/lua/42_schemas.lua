---------------------------------------------------------------------------------------------------
-- Schemas. A schema names the version of a payload, and is no part of the id. Invalidations, holds
-- and locks are for all versions of an entry. It stands before the payload, behind a byte with its
-- length. An entry of another schema, or of none where the reader has one, is a miss of that
-- reader.

local schemas = {NONE = '', max_bytes = 64}

-- schemas.want returns the schema of a reader, whose argument may be missing.
function schemas.want(name, text)
  if not text or text == schemas.NONE then return schemas.NONE end
  if #text > schemas.max_bytes or not string.find(text, '^[!-~]+$') then
    refuse(name .. ': schema must have 1 to ' .. schemas.max_bytes
      .. ' printable ASCII characters without spaces')
  end
  return text
end

-- schemas.payload_of returns where the payload of an entry begins for a reader, or nil if the entry
-- has another schema.
function schemas.payload_of(value, entry, schema)
  local has_schema = bit.band(entry.flags, FLAG_SCHEMA) ~= 0
  if has_schema ~= (schema ~= schemas.NONE) then return nil end
  if not has_schema then return entry.payload end
  local from = entry.payload + 1
  if string.byte(value, entry.payload) ~= #schema then return nil end
  return string.sub(value, from, from + #schema - 1) == schema and from + #schema or nil
end

-- schemas.bytes_of returns how many bytes the schema takes that a fill has before its payload.
function schemas.bytes_of(name, sent, room)
  local length = string.byte(sent, room + 1) or 0
  local schema = string.sub(sent, room + 2, room + 1 + length)
  if length == 0 or #schema < length then
    refuse(name .. ': the option schema needs a byte with the length of the schema, and the schema, '
      .. 'before the payload')
  end
  schemas.want(name, schema)
  return 1 + length
end

