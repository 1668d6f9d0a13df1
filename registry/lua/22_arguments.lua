---------------------------------------------------------------------------------------------------
-- Checks of keys and arguments. name is that of the call.

local function slot_of(keys, name)
  if #keys ~= 1 then
    refuse(name .. ' takes exactly one key, cw:{<namespace>/<module>}, not ' .. #keys)
  end
  local slot = keys[1]
  if slots.items[slot] then return slot end
  local max, namespace, module = limits.name_bytes, nil, nil
  if #slot <= #'cw:{/}' + 2 * max then
    namespace, module = string.match(slot, '^cw:{([%w._-]+)/([%w._-]+)}$')
  end
  if not namespace or #namespace > max or #module > max then
    refuse(name .. ': the key must be cw:{<namespace>/<module>}, names of 1 to ' .. max
      .. " letters, digits, '.', '_' and '-'")
  end
  return slot
end

local function want_args(name, args, names, count)
  if #args ~= count then
    refuse(name .. ' takes ' .. count .. ' arguments (' .. names .. '), not ' .. #args)
  end
end

local function want_bytes(name, what, value, min, max)
  if #value < min or #value > max then
    refuse(name .. ': ' .. what .. ' must have ' .. min .. ' to ' .. max .. ' bytes, not '
      .. #value)
  end
end

local function want_entry(name, op, id, user)
  local is_op = op ~= '' and #op <= MAX_OPERATION_BYTES
  if is_op and #id <= MAX_ID_BYTES and #user <= MAX_USER_BYTES then return end
  want_bytes(name, 'op', op, 1, MAX_OPERATION_BYTES)
  want_bytes(name, 'id', id, 0, MAX_ID_BYTES)
  want_bytes(name, 'user', user, 0, MAX_USER_BYTES)
end

-- parse_whole returns the whole number that a text of digits stands for. It returns nil if the text
-- has other characters or is too long to be exact.
local function parse_whole(digits)
  return digits and #digits <= 15 and string.find(digits, '^%d+$') and tonumber(digits) or nil
end

