---------------------------------------------------------------------------------------------------
-- Source lag: for how long a load may still read what was before an invalidation, for example from
-- a replica. After an invalidation, a mark without a holder stays for so long.

local source_lag = {}

function source_lag.of_operation(slot, op)
  local rule = rule_for(slot, op)
  return rule and rule.lag or 0
end

function source_lag.format(whole, longest) return string.format('%d %d', whole, longest) end

-- source_lag.of_policy returns the lag of the whole policy, and the longest of any operation.
function source_lag.of_policy(slot)
  local text = read_field(policy_key(slot), 'lag', 15) or ''
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

-- source_lag.mark_scope follows a hard invalidation of a scope.
function source_lag.mark_scope(slot, op, user)
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
