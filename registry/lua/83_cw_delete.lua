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
  local header = read_header(member_key(slot, op, member_of(user, id)))
  return deletions.of_entry(slot, op, user, id, header) and 1 or 0
end

