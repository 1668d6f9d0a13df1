do
-- The owner of a policy is who keeps it in force: one who finds another there changes nothing. It ends a day after it was
-- last renewed. Whatever else is under its key is no owner.
local OWNER_MS = 24 * 3600 * 1000
local MAX_OWNER_BYTES = 512

function cw_policy.owner_key(slot) return slot .. ':owner' end

local function is_owner(text)
  return type(text) == 'string' and #text <= MAX_OWNER_BYTES and string.find(text, '^[!-~]+$') ~= nil
end

-- claim takes the policy for owner, or renews that, and returns nil. If it is another's, and not that of over, it changes
-- nothing and returns the other. Without an owner it does neither.
function cw_policy.claim(slot, owner, over)
  if not owner then return nil end
  local key = cw_policy.owner_key(slot)
  local present = call('GETRANGE', key, '0', string.format('%d', MAX_OWNER_BYTES))
  if is_owner(present) and present ~= owner and present ~= over then return present end
  call('SET', key, owner, 'PX', string.format('%d', OWNER_MS))
end

-- owners_in returns the arguments owner and over of a call, from the first of them on; nil where they are left out.
function cw_policy.owners_in(name, args, first, names)
  if #args < first - 1 or #args > first + 1 then
    refuse(string.format('%s takes %d to %d arguments (%s), not %d', name, first - 1, first + 1, names, #args))
  end
  for i = first, #args do
    if not is_owner(args[i]) and not (i > first and args[i] == '') then
      refuse(name .. ': owner and over must be 1 to ' .. MAX_OWNER_BYTES .. ' printable ASCII characters without spaces')
    end
  end
  return args[first], args[first + 1]
end
end

-- cw_policy_apply KEY json [owner [over]]: [changed, purged]; [-1, 0, the other] if the policy is another's.
function cw_policy.apply(keys, args)
  local slot = slot_of(keys, 'cw_policy_apply')
  local owner, over = cw_policy.owners_in('cw_policy_apply', args, 2, 'json [owner [over]]')
  local new = parse_policy(args[1])
  local other = cw_policy.claim(slot, owner, over)
  if other then return {-1, 0, other} end
  return put_in_force(slot, args[1], new)
end

-- cw_policy_hash KEY: the hash of the policy in force, nil if there is none, or if it is not there as cw_policy_apply
-- wrote it.
function cw_policy.hash(keys, args)
  local slot = slot_of(keys, 'cw_policy_hash')
  want_args('cw_policy_hash', args, '', 0)
  return hash_in_place(slot)
end

function cw_policy.get(keys, args)
  local slot = slot_of(keys, 'cw_policy_get')
  want_args('cw_policy_get', args, '', 0)
  local document = field_of(policy_key(slot), 'json', MAX_POLICY_BYTES)
  return document ~= '' and document
end

-- cw_policy_own KEY owner [over]: nil once the policy is the owner's for another day; the other if it is another's.
function cw_policy.own(keys, args)
  local slot = slot_of(keys, 'cw_policy_own')
  local owner, over = cw_policy.owners_in('cw_policy_own', args, 1, 'owner [over]')
  if not owner then refuse('cw_policy_own takes 1 to 2 arguments (owner [over]), not 0') end
  return cw_policy.claim(slot, owner, over)
end

-- cw_policy_delete KEY [owner [over]]: 1 or 0; the other if the policy is another's. Without a policy nothing is cached, so
-- the entries go too.
function cw_policy.delete(keys, args)
  local slot = slot_of(keys, 'cw_policy_delete')
  local other = cw_policy.claim(slot, cw_policy.owners_in('cw_policy_delete', args, 1, '[owner [over]]'))
  if other then return other end
  local live = hide_module(slot)
  invalidate_module(slot, HARD, (known_operations(slot, read_rules(slot))), live)
  local existed = call('UNLINK', policy_key(slot))
  forget(slot)
  call('UNLINK', counters_key(slot), cw_policy.owner_key(slot))
  return existed
end
end

