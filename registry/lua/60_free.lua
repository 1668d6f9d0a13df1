---------------------------------------------------------------------------------------------------
-- Freeing the memory of entries.

local entries = {}

-- entries.unlink deletes keys of entries, apart from marks. It returns how many there were.
function entries.unlink(slot, keys)
  return batched(marks.left_out(slot, keys), function(...) return call('UNLINK', ...) end)
end

-- entries.subtable returns tables[key], which it creates if necessary.
function entries.subtable(tables, key)
  tables[key] = tables[key] or {}
  return tables[key]
end

-- entries.delist removes entries from the indexes that are in use. headers has those of their
-- headers that were read already.
function entries.delist(slot, names, headers)
  local epochs, removed, of_users = {}, {}, {}
  for _, name in ipairs(names) do
    local op, member, user = parse_name(name)
    if epochs[op] == nil then epochs[op] = operation_epoch(slot, op) or false end
    local epoch = epochs[op]
    if epoch then
      local header = headers[name] or read_header(entry_key(slot, name))
      local slice, chunk = listed_in(header, epoch)
      if slice and index.remove(slot, epoch, slice, chunk, member) then
        table.insert(entries.subtable(entries.subtable(removed, epoch), slice), chunk)
      end
    end
    if user ~= '' then table.insert(entries.subtable(of_users, user), name) end
  end
  for epoch, slices in pairs(removed) do
    for slice, chunks in pairs(slices) do index.account_removed(slot, epoch, slice, chunks) end
  end
  for user, of_user in pairs(of_users) do user_index.remove(slot, user, of_user) end
end

-- entries.free deletes entries, many per command, and returns how many there were.
function entries.free(slot, names, headers)
  entries.delist(slot, names, headers)
  local keys = {}
  for i, name in ipairs(names) do keys[i] = entry_key(slot, name) end
  return entries.unlink(slot, keys)
end

-- entries.dead returns the names whose entries are not live, and the headers that it had to read.
-- It leaves out what is not a name.
function entries.dead(slot, names)
  local dead, headers, heads_of = {}, {}, {}
  for _, name in ipairs(names) do
    local op, _, user = parse_name(name)
    if op then
      local covering = #op .. ':' .. op .. user
      heads_of[covering] = heads_of[covering] or read_heads(slot, op, user)
      local heads = heads_of[covering]
      -- If a head is missing, nothing is live, whatever it carries.
      if not heads.missing then headers[name] = read_header(entry_key(slot, name)) end
      if heads.missing or not read_entry(headers[name], heads, user) then dead[#dead + 1] = name end
    end
  end
  return dead, headers
end

-- entries.free_members frees members of an operation without reading them: its index is detached.
function entries.free_members(slot, op, members)
  local prefix, keys, of_users = member_key(slot, op, ''), {}, {}
  for _, member in ipairs(members) do
    local user = parse_member(member)
    if user then keys[#keys + 1] = prefix .. member end
    if user and user ~= '' then
      table.insert(entries.subtable(of_users, user), name_of(slot, op, member))
    end
  end
  for user, names in pairs(of_users) do user_index.remove(slot, user, names) end
  return entries.unlink(slot, keys)
end

-- entries.free_dead_members frees those members of an operation that are not live again.
function entries.free_dead_members(slot, op, members)
  local names = {}
  for i, member in ipairs(members) do names[i] = name_of(slot, op, member) end
  return entries.free(slot, entries.dead(slot, names))
end

