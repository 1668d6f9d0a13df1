---------------------------------------------------------------------------------------------------
-- Putting a policy in force.

-- policy.seal hashes the other fields of a policy, which reveals changes made by hand.
function policy.seal(fields)
  local parts = {}
  for i = 1, #fields, 2 do
    local field, value = fields[i], fields[i + 1]
    if field ~= 'seal' then parts[#parts + 1] = #field .. ':' .. #value .. ':' .. field .. value end
  end
  table.sort(parts)
  return redis.sha1hex(table.concat(parts))
end

-- policy.intact_hash returns the hash of the policy if all of it is as it was written, else false.
-- It also checks the types of the keys that never expire, because nothing else would replace them.
function policy.intact_hash(slot)
  guard.dropped = false
  call('HGET', counters_key(slot), 'misses:')
  call('LLEN', pending_key(slot))
  local fields, of = policy.fields(slot), {}
  for i = 1, #fields, 2 do of[fields[i]] = fields[i + 1] end
  return not guard.dropped and of.seal and of.seal == policy.seal(fields) and of.hash or false
end

function policy.write(slot, text, hash, rules, revision)
  local fields = {'json', text, 'hash', hash}
  local function add(field, value)
    fields[#fields + 1] = field
    fields[#fields + 1] = value
  end
  if revision then add('revision', revision) end
  if rules.default then add('default', encode_rule(rules.default)) end
  local longest_lag = rules.lag
  for op, rule in pairs(rules.operations) do
    add('o:' .. op, encode_rule(rule))
    longest_lag = math.max(longest_lag, rule.lag)
  end
  add(source_lag.FIELD, source_lag.format(rules.lag, longest_lag))
  add('seal', policy.seal(fields))
  call('UNLINK', policy_key(slot))
  call('HSET', policy_key(slot), unpack(fields))
  forget(slot)
end

-- policy.rule_of returns the rule of an operation, or nil.
function policy.rule_of(rules, op) return rules.operations[op] or rules.default end

function policy.life(rules, op)
  local rule = policy.rule_of(rules, op)
  return rule and life_of(rule) or 0
end

function policy.scope(rules, op)
  local rule = policy.rule_of(rules, op)
  return rule and rule.scope or 'Any'
end

-- policy.enforce applies a new policy to the existing entries of an operation. It invalidates all
-- of them if the operation is no longer cached, or is now for users only. It shortens them if a
-- TTL was lowered. is_known is false if old may not be the policy that the entries were stored
-- under.
function policy.enforce(slot, op, old, new, is_known, work)
  local before, rule = policy.rule_of(old, op), policy.rule_of(new, op)
  local was_of_users = is_known and policy.scope(old, op) == 'User'
  local narrowed = policy.scope(new, op) == 'User' and not was_of_users
  if policy.ttl(new, op) == 0 or narrowed then
    invalidation.of_operation(slot, op, HARD, work)
    local lag = math.max(before and before.lag or 0, rule and rule.lag or 0)
    source_lag.mark(operation_head_key(slot, op), lag)
    return
  end
  local shorter = life_of(rule) < (is_known and policy.life(old, op) or 2 * MAX_TTL_MS)
  local less_fresh = not is_known or rule.ttl < policy.ttl(old, op)
  local negative_before = not is_known and MAX_TTL_MS or before and before.negative or 0
  local shorter_negative = rule.negative < negative_before
  if shorter or shorter_negative then
    local exponent = shorter_negative and slice_exponent(negative_before) or -1
    shorten.operation(slot, op, rule, less_fresh and rule.ttl or life_of(rule), exponent, work)
  end
  if not shorter and rule.ttl < policy.ttl(old, op) then
    -- They may live as long as before, but not be fresh as long.
    invalidation.of_operation(slot, op, SOFT, work)
  end
end

-- policy.are_all_counted says whether the counters list each operation with live entries that the
-- policy does not list.
function policy.are_all_counted(slot)
  local head = read_string(module_head_key(slot))
  if not head or marks.is_mark(head) then return true end
  return call('HGET', counters_key(slot), counters.SINCE) == epoch_of(head)
end

function counters.fields_of(slot, op)
  local fields = {}
  for i, counter in ipairs(COUNTERS) do fields[i] = keys_of_operation(slot, op).fields[counter] end
  return fields
end

-- policy.drop_counters drops the counters of operations that are neither listed nor cached by
-- default. If the default caches more than limits.unlisted, it also drops those of the others, and
-- invalidates them.
function policy.drop_counters(slot, operations, rules)
  local key, unlisted, dropped = counters_key(slot), 0, {}
  for _, op in ipairs(operations) do
    if not rules.operations[op] then
      if policy.ttl(rules, op) > 0 and unlisted < limits.unlisted then
        unlisted = unlisted + 1
      else
        dropped[#dropped + 1] = {op = op, held = marks.is_at(operation_head_key(slot, op))}
        call('HDEL', key, unpack(counters.fields_of(slot, op)))
      end
    end
  end
  invalidation.delete_heads(slot, dropped)
  if call('EXISTS', key) == 1 then call('HSET', key, counters.UNLISTED, unlisted) end
end

-- policy.lowers_default says whether entries stored under the old default may outlive the new one.
function policy.lowers_default(old, new, is_known)
  local before = is_known and (old.default and old.default.ttl or 0) or MAX_TTL_MS
  return (new.default and new.default.ttl or 0) < before
end

function policy.changes_rule(op, old, new)
  local before, after = policy.rule_of(old, op), policy.rule_of(new, op)
  return not before or not after or encode_rule(before) ~= encode_rule(after)
end

-- policy.extend_heads makes heads last for entries that a new rule allows to live longer than the
-- rule at the time of their lease.
function policy.extend_heads(slot, op, old, new)
  local before, after = policy.rule_of(old, op), policy.rule_of(new, op)
  if not after or after.ttl == 0 then return end
  local ms, slack = heads_life(after)
  if before and ms <= heads_life(before) then return end
  for _, key in ipairs(head_keys(slot, op, '')) do
    if not marks.is_at(key) then keep_for(key, ms, slack) end
  end
end

function policy.enforce_all(slot, operations, old, new, is_known)
  local work = budget.new(#operations, budget.reclaim_keys / budget.member_cost)
  for _, op in ipairs(operations) do
    policy.enforce(slot, op, old, new, is_known, work)
    policy.extend_heads(slot, op, old, new)
    -- A former primary may have memoised the old rule with the head (see rule_under).
    if not is_known or policy.changes_rule(op, old, new) then deletions.renew_fence(slot, op) end
  end
  jobs.save(slot, work)
end

-- policy.repair_keys drops what is under the keys of the module and its operations but was not
-- written by the library.
function policy.repair_keys(slot, operations)
  local function want_length(key, is_valid)
    local value = call('GETRANGE', key, '0', '63')
    if marks.is_mark(value) then
      if marks.is_garbage(key) then foreign.drop(key) end
    elseif #value > 0 and not is_valid(#value) then
      foreign.drop(key)
    end
  end
  local function is_short_head(length) return length == EPOCH_LEN or length == 2 * EPOCH_LEN end
  local function is_operation_head(length) return is_short_head(length - EPOCH_LEN) end
  want_length(module_head_key(slot), is_short_head)
  for _, op in ipairs(operations) do
    want_length(operation_head_key(slot, op), is_operation_head)
    call('GETRANGE', deletions_key(slot, op), '0', '0')
  end
  for _, operation in ipairs(operations_with_heads(slot, operations)) do
    local key = index_key(slot, operation.epoch)
    if call('HLEN', key) > bounds.slices then foreign.drop(key) end
  end
end

-- policy.merge lists operations and those of a policy, sorted.
function policy.merge(operations, rules)
  local list, seen = {}, {}
  for i, op in ipairs(operations) do list[i], seen[op] = op, true end
  for op in pairs(rules.operations) do
    if not seen[op] then list[#list + 1] = op end
  end
  table.sort(list)
  return list
end

-- policy.purge invalidates the module.
function policy.purge(slot, operations)
  local live = invalidation.delete_module_head(slot)
  invalidation.run(slot, '', '', HARD, operations, live)
end

-- policy.put_in_force returns {changed, purged}.
function policy.put_in_force(slot, text, new)
  local hash, intact_hash = redis.sha1hex(text), policy.intact_hash(slot)
  local old = policy.rules(slot)
  local before = counters.operations(slot, old.operations)
  local operations = policy.merge(before, new)
  policy.repair_keys(slot, operations)
  if intact_hash == hash then return {0, 0} end

  -- Without the old policy, the revision of the entries is unknown. They are invalidated.
  local purged = 0
  local head = module_head_key(slot)
  if new.revision and new.revision ~= old.revision and head_exists(head) then
    policy.purge(slot, before)
    invalidation.record(slot, '', '', before)
    purged = 1
  elseif policy.lowers_default(old, new, intact_hash) and not policy.are_all_counted(slot) then
    policy.purge(slot, before)
  end
  -- If the old policy was changed by hand, the rules that entries were stored under are unknown,
  -- too.
  policy.enforce_all(slot, operations, old, new, intact_hash)
  policy.drop_counters(slot, operations, new)
  policy.write(slot, text, hash, new, new.revision or old.revision)
  if purged == 1 then source_lag.mark_module(slot) end
  return {1, purged}
end

