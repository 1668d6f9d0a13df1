---------------------------------------------------------------------------------------------------
-- cw_unlock
--   KEYS   the slot
--   ARGV   op id user
--   reply  1 if it released a load lock, else 0
--
-- For a caller whose load failed. A fill releases the lock, too.

function calls.cw_unlock(keys, args)
  local slot = slot_of(keys, 'cw_unlock')
  want_args('cw_unlock', args, 'op id user', 3)
  local op, id, user = args[1], args[2], args[3]
  want_entry('cw_unlock', op, id, user)
  return call('UNLINK', lock_key(slot, name_of(slot, op, member_of(user, id))))
end

