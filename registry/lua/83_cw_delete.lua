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
  local key = member_key(slot, op, member_of(user, id))
  local live = deletions.of_entry(slot, op, user, id, read_header(key))
  source_lag.mark_entry(slot, op, key)
  return live and 1 or 0
end

