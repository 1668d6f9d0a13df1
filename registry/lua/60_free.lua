---------------------------------------------------------------------------------------------------
-- Freeing entries.

local free, settle, dispose_index, dispose_user_index, shorten, pending_total, reclaim
do
local function unlink_all(keys)
  return batched(keys, function(...) return call('UNLINK', ...) end)
end

local function remove_from_user_index(slot, user, names)
  local key = user_index_key(slot, user)
  batched(names, function(...) return call('ZREM', key, ...) end)
end

-- nested returns the table that another has under a key.
local function nested(tables, key)
  tables[key] = tables[key] or {}
  return tables[key]
end

-- unlist takes entries out of the indexes that are in sight, given those headers of theirs that were read.
local function unlist(slot, names, headers)
  local epochs, taken_out, of_users = {}, {}, {}
  for _, name in ipairs(names) do
    local op, member, user = parse_name(name)
    if epochs[op] == nil then epochs[op] = operation_epoch(slot, op) or false end
    local epoch = epochs[op]
    if epoch then
      local slice, chunk = listed_in(headers[name] or read_header(entry_key(slot, name)), epoch)
      if slice and take_out(slot, epoch, slice, chunk, member) then
        table.insert(nested(nested(taken_out, epoch), slice), chunk)
      end
    end
    if user ~= '' then table.insert(nested(of_users, user), name) end
  end
  for epoch, slices in pairs(taken_out) do
    for slice, chunks in pairs(slices) do account_for(slot, epoch, slice, chunks) end
  end
  for user, of_user in pairs(of_users) do remove_from_user_index(slot, user, of_user) end
end

-- free gives back the memory of entries, many in one command, and returns how many there were.
function free(slot, names, headers)
  unlist(slot, names, headers)
  local keys = {}
  for i, name in ipairs(names) do keys[i] = entry_key(slot, name) end
  return unlink_all(keys)
end

-- dead_of returns those of the names whose entries are not live, and the headers that it had to read. What is no name is
-- left out.
local function dead_of(slot, names)
  local dead, headers, heads_of = {}, {}, {}
  for _, name in ipairs(names) do
    local op, _, user = parse_name(name)
    if op then
      local covering = #op .. ':' .. op .. user
      heads_of[covering] = heads_of[covering] or read_heads(slot, op, user)
      local heads = heads_of[covering]
      -- Without its heads nothing is live, whatever it carries.
      if not heads.missing then headers[name] = read_header(entry_key(slot, name)) end
      if heads.missing or not read_entry(headers[name], heads, user) then dead[#dead + 1] = name end
    end
  end
  return dead, headers
end

