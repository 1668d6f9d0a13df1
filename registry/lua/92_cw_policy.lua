---------------------------------------------------------------------------------------------------
-- The owner of a policy keeps it in force. A caller that finds another owner there changes nothing.
-- An owner that does not renew its claim is forgotten after a day.

local owner = {lifetime_ms = 24 * 3600 * 1000, max_bytes = 512}

function owner.key(slot) return slot .. ':owner' end

-- owner.is_valid says whether a text can name an owner.
function owner.is_valid(text)
  local has_length = type(text) == 'string' and #text <= owner.max_bytes
  return has_length and string.find(text, '^[!-~]+$') ~= nil
end

-- owner.claim claims the policy for an owner, or renews the claim, and returns nil. If the policy
-- belongs to another owner than name and over, it changes nothing and returns that owner. Without a
-- name it does nothing.
function owner.claim(slot, name, over)
  if not name then return nil end
  local key = owner.key(slot)
  local present = call('GETRANGE', key, '0', string.format('%d', owner.max_bytes))
  if owner.is_valid(present) and present ~= name and present ~= over then return present end
  call('SET', key, name, 'PX', string.format('%d', owner.lifetime_ms))
end

-- owner.arguments returns the optional last arguments of a call, owner and over. first is the
-- position of owner.
function owner.arguments(name, args, first, names)
  if #args < first - 1 or #args > first + 1 then
    refuse(string.format('%s takes %d to %d arguments (%s), not %d', name, first - 1, first + 1,
      names, #args))
  end
  for i = first, #args do
    if not owner.is_valid(args[i]) and not (i > first and args[i] == '') then
      refuse(name .. ': owner and over must be 1 to ' .. owner.max_bytes
        .. ' printable ASCII characters without spaces')
    end
  end
  return args[first], args[first + 1]
end

---------------------------------------------------------------------------------------------------
-- cw_policy_apply
--   KEYS   the slot
--   ARGV   json [owner [over]]
--   reply  {changed, purged}; {-1, 0, other} if the policy belongs to another owner

function calls.cw_policy_apply(keys, args)
  local slot = slot_of(keys, 'cw_policy_apply')
  local name, over = owner.arguments('cw_policy_apply', args, 2, 'json [owner [over]]')
  local new = policy.parse(args[1])
  local other = owner.claim(slot, name, over)
  if other then return {-1, 0, other} end
  return policy.put_in_force(slot, args[1], new)
end

---------------------------------------------------------------------------------------------------
-- cw_policy_hash
--   KEYS   the slot
--   reply  the hash of the policy in force; nil if there is none, or if it is not as
--          cw_policy_apply wrote it

function calls.cw_policy_hash(keys, args)
  local slot = slot_of(keys, 'cw_policy_hash')
  want_args('cw_policy_hash', args, '', 0)
  return policy.intact_hash(slot)
end

---------------------------------------------------------------------------------------------------
-- cw_policy_get
--   KEYS   the slot
--   reply  the document in force, or nil

function calls.cw_policy_get(keys, args)
  local slot = slot_of(keys, 'cw_policy_get')
  want_args('cw_policy_get', args, '', 0)
  local json = read_field(policy_key(slot), 'json', limits.policy_bytes)
  return json ~= '' and json
end

---------------------------------------------------------------------------------------------------
-- cw_policy_own
--   KEYS   the slot
--   ARGV   owner [over]
--   reply  nil if the policy now belongs to owner for another day; else the other owner

function calls.cw_policy_own(keys, args)
  local slot = slot_of(keys, 'cw_policy_own')
  local name, over = owner.arguments('cw_policy_own', args, 1, 'owner [over]')
  if not name then refuse('cw_policy_own takes 1 to 2 arguments (owner [over]), not 0') end
  return owner.claim(slot, name, over)
end

---------------------------------------------------------------------------------------------------
-- cw_policy_delete
--   KEYS   the slot
--   ARGV   [owner [over]]
--   reply  1 if there was a policy, else 0; the other owner if the policy belongs to another
--
-- Nothing is cached without a policy, so it also invalidates the module.

function calls.cw_policy_delete(keys, args)
  local slot = slot_of(keys, 'cw_policy_delete')
  local other = owner.claim(slot, owner.arguments('cw_policy_delete', args, 1, '[owner [over]]'))
  if other then return other end
  policy.purge(slot, counters.operations_now(slot))
  local existed = call('UNLINK', policy_key(slot))
  forget(slot)
  call('UNLINK', counters_key(slot), owner.key(slot))
  return existed
end

