---------------------------------------------------------------------------------------------------
-- cw_delete
--   KEYS   the slot
--   ARGV   op id user
--   reply  1 if it removed a live entry, else 0
--
-- It fences loads of the entry that are in progress.

function calls.cw_delete(keys, args)
  local slot = slot_of(keys, 'cw_delete')
  want_args('cw_delete', args, 'op id user', 3)
  local op, id, user = args[1], args[2], args[3]
  want_entry('cw_delete', op, id, user)
  local name = name_of(slot, op, member_of(user, id))
  local heads = read_heads(slot, op, user)
  local live = read_entry(read_header(entry_key(slot, name)), heads, user)
  if heads.raw[2] then deletions.fence(slot, op, name, heads.raw[2]) end
  entries.free(slot, {name}, {})
  call('UNLINK', lock_key(slot, name)) -- the load of its owner is fenced now
  return live and 1 or 0
end

