---------------------------------------------------------------------------------------------------
-- Source lag: for how long a load may still read what was before an invalidation, for example from
-- a replica. After an invalidation, a mark without a holder stays for so long.

local source_lag = {FIELD = 'lag', NONE = '0'}

-- source_lag.format returns the field of a policy that has its lags.
function source_lag.format(whole, longest)
  return longest > 0 and string.format('%d %d', whole, longest) or source_lag.NONE
end

-- source_lag.is_in_policy says whether the policy has a lag, and whether there is a policy for
-- sure. An older library wrote no field where there is no lag.
function source_lag.is_in_policy(slot)
  local bytes = call('HSTRLEN', policy_key(slot), source_lag.FIELD)
  return bytes > #source_lag.NONE, bytes > 0
end

function source_lag.of_operation(slot, op)
  local rule = rule_for(slot, op)
  return rule and rule.lag or 0
end

-- source_lag.of_policy returns the lag of the whole policy, and the longest of any operation.
function source_lag.of_policy(slot)
  local text = read_field(policy_key(slot), source_lag.FIELD, 15) or ''
  local whole, longest = string.match(text, '^(%d+) (%d+)$')
  whole, longest = parse_whole(whole) or 0, parse_whole(longest) or 0
  return math.min(whole, marks.max_ms), math.min(longest, marks.max_ms)
end

-- source_lag.mark leaves a mark for so many ms, and returns when it ends. An existing mark keeps
-- its holders.
function source_lag.mark(key, ms)
  if ms == 0 then return 0 end
  local now, mark = now_ms(), marks.read(key)
  local records = mark and marks.parse(mark, now) or {}
  marks.extend(records, now + ms)
  return marks.write(key, records)
end

function source_lag.mark_entry(slot, op, key)
  if not source_lag.is_in_policy(slot) then return end
  local last = source_lag.mark(key, source_lag.of_operation(slot, op))
  if last > 0 then marks.note_entry(slot, last) end
end

-- source_lag.mark_module also marks operations whose lag is longer than that of the policy.
function source_lag.mark_module(slot)
  local whole, longest = source_lag.of_policy(slot)
  source_lag.mark(module_head_key(slot), whole)
  if longest <= whole then return end
  for op, rule in pairs(policy.rules(slot).operations) do
    if rule.lag > whole then source_lag.mark(operation_head_key(slot, op), rule.lag) end
  end
end

function source_lag.mark_head(slot, op, user)
  if user == '' and op == '' then
    source_lag.mark_module(slot)
  elseif user == '' then
    source_lag.mark(operation_head_key(slot, op), source_lag.of_operation(slot, op))
  elseif op == '' then
    source_lag.mark(user_head_key(slot, user), select(2, source_lag.of_policy(slot)))
  else
    source_lag.mark(user_head_key(slot, user), source_lag.of_operation(slot, op))
  end
end

-- source_lag.mark_scope follows a hard invalidation of a scope. It says whether there is a policy
-- for sure.
function source_lag.mark_scope(slot, op, user)
  local has_lag, has_policy = source_lag.is_in_policy(slot)
  if has_lag then source_lag.mark_head(slot, op, user) end
  return has_policy
end
