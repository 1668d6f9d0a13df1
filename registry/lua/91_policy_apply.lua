do
-- seal_of sums up the other fields of a policy, so that it shows where one was edited by hand.
local function seal_of(fields)
  local parts = {}
  for i = 1, #fields, 2 do
    if fields[i] ~= 'seal' then parts[#parts + 1] = #fields[i] .. ':' .. #fields[i + 1] .. ':' .. fields[i] .. fields[i + 1] end
  end
  table.sort(parts)
  return redis.sha1hex(table.concat(parts))
end

-- hash_in_place returns the hash of the policy if all of it is there as it was written. It also finds out whether
-- what lasts beside it is what it should be: nothing would replace that.
local function hash_in_place(slot)
  dropped = false
  call('HGET', counters_key(slot), 'misses:')
  call('LLEN', pending_key(slot))
  local fields, of = policy_fields(slot), {}
  for i = 1, #fields, 2 do of[fields[i]] = fields[i + 1] end
  return not dropped and of.seal and of.seal == seal_of(fields) and of.hash or false
end

local function write_policy(slot, text, hash, rules, revision)
  local fields = {'json', text, 'hash', hash}
  local function add(field, value)
    fields[#fields + 1] = field
    fields[#fields + 1] = value
  end
  if revision then add('revision', revision) end
  if rules.default then add('default', encode_rule(rules.default)) end
  for op, rule in pairs(rules.operations) do add('o:' .. op, encode_rule(rule)) end
  add('seal', seal_of(fields))
  call('UNLINK', policy_key(slot))
  call('HSET', policy_key(slot), unpack(fields))
  forget(slot)
end

local function life_by(rules, op)
  local rule = rules.operations[op] or rules.default
  return rule and life_of(rule) or 0
end

local function scope_by(rules, op)
  local rule = rules.operations[op] or rules.default
  return rule and rule.scope or 'Any'
end

-- obey_operation makes entries that are there already keep to the new policy: of an operation that
-- is no longer cached, or now is users' only, none stays; where the TTL was lowered, none lives longer.
local function obey_operation(slot, op, old, new, is_known, work)
  local before, rule = old.operations[op] or old.default, new.operations[op] or new.default
  local narrowed = scope_by(new, op) == 'User' and not (is_known and scope_by(old, op) == 'User')
  if ttl_by(new, op) == 0 or narrowed then
    invalidate_operation(slot, op, HARD, work)
    return
  end
  local shorter = life_of(rule) < (is_known and life_by(old, op) or 2 * MAX_TTL_MS)
  local less_fresh = not is_known or rule.ttl < ttl_by(old, op)
  local negative_before = not is_known and MAX_TTL_MS or before and before.negative or 0
  local fewer_negative = rule.negative < negative_before
  if shorter or fewer_negative then
    local exponent = fewer_negative and slice_exponent(negative_before) or -1
    shorten(slot, op, rule, less_fresh and rule.ttl or life_of(rule), exponent, work)
  end
  if not shorter and rule.ttl < ttl_by(old, op) then
    -- They may be there as long as before, but not fresh.
    invalidate_operation(slot, op, SOFT, work)
  end
end

-- all_counted says whether the counters tell each operation that has live entries, if the policy does not.
local function all_counted(slot)
  local head = text_at(module_head_key(slot))
  return not head or call('HGET', counters_key(slot), SINCE) == string.sub(head, 1, EPOCH_LEN)
end

local function fields_of(slot, op)
  local fields = {}
  for i, counter in ipairs(COUNTERS) do fields[i] = keys_of_operation(slot, op).fields[counter] end
  return fields
end

-- drop_counters forgets operations that are neither listed nor cached by default. Where the default caches more than have a
-- place, others lose theirs, and what is cached of them.
local function drop_counters(slot, operations, rules)
  local key, unlisted, without_place = counters_key(slot), 0, {}
  for _, op in ipairs(operations) do
    if not rules.operations[op] then
      if ttl_by(rules, op) > 0 and unlisted < MAX_UNLISTED then
        unlisted = unlisted + 1
      else
        without_place[#without_place + 1] = {op = op}
        call('HDEL', key, unpack(fields_of(slot, op)))
      end
    end
  end
  hide(slot, without_place)
  if call('EXISTS', key) == 1 then call('HSET', key, UNLISTED, unlisted) end
end

-- lowers_default says whether entries that the default let be cached may be there for longer than the new one lets.
local function lowers_default(old, new, is_known)
  local before = is_known and (old.default and old.default.ttl or 0) or MAX_TTL_MS
  return (new.default and new.default.ttl or 0) < before
end

local function is_changed(op, old, new)
  local before, after = old.operations[op] or old.default, new.operations[op] or new.default
  return not before or not after or encode_rule(before) ~= encode_rule(after)
end

-- cover_longer makes heads last for entries by a rule that lets them live longer than the one of their leases.
local function cover_longer(slot, op, old, new)
  local before, after = old.operations[op] or old.default, new.operations[op] or new.default
  if not after or after.ttl == 0 then return end
  local ms, slack = heads_life(after)
  if before and ms <= heads_life(before) then return end
  keep_for(module_head_key(slot), ms, slack)
  keep_for(operation_head_key(slot, op), ms, slack)
end

local function obey(slot, operations, old, new, is_known)
  local work = new_work(#operations, MAX_RECLAIM_KEYS / MEMBER_COST)
  for _, op in ipairs(operations) do
    obey_operation(slot, op, old, new, is_known, work)
    cover_longer(slot, op, old, new)
    -- What a former primary remembers with the head (see rule_under) is over.
    if not is_known or is_changed(op, old, new) then renew_fence(slot, op) end
  end
  settle(slot, work)
end

-- tidy drops what stands where the module's and the operations' keys are, and is none of them.
local function tidy(slot, operations)
  local function want_length(key, is_right)
    local length = #call('GETRANGE', key, '0', '63')
    if length > 0 and not is_right(length) then drop(key) end
  end
  local function is_short_head(length) return length == EPOCH_LEN or length == 2 * EPOCH_LEN end
  local function is_head_of_operation(length) return is_short_head(length - EPOCH_LEN) end
  want_length(module_head_key(slot), is_short_head)
  for _, op in ipairs(operations) do
    want_length(operation_head_key(slot, op), is_head_of_operation)
    call('GETRANGE', deletions_key(slot, op), '0', '0')
  end
  for _, seen in ipairs(in_sight(slot, operations)) do
    local index = index_key(slot, seen.epoch)
    if call('HLEN', index) > bounds.slices then drop(index) end
  end
end

-- joined lists operations and those that a policy lists.
local function joined(operations, rules)
  local list, seen = {}, {}
  for i, op in ipairs(operations) do list[i], seen[op] = op, true end
  for op in pairs(rules.operations) do
    if not seen[op] then list[#list + 1] = op end
  end
  table.sort(list)
  return list
end

local function put_in_force(slot, text, new)
  local hash, in_place = redis.sha1hex(text), hash_in_place(slot)
  local old = read_rules(slot)
  local before = known_operations(slot, old)
  local operations = joined(before, new)
  tidy(slot, operations)
  if in_place == hash then return {0, 0} end

  -- Without the old policy nobody knows which revision the entries are of: they go.
  local purged = 0
  if new.revision and new.revision ~= old.revision and head_exists(module_head_key(slot)) then
    invalidate_module(slot, HARD, before, hide_module(slot))
    count_invalidation(slot, '', '', before)
    purged = 1
  elseif lowers_default(old, new, in_place) and not all_counted(slot) then
    invalidate_module(slot, HARD, before, hide_module(slot))
  end
  -- Nor does anybody know by which rules they were stored, if it was edited by hand.
  obey(slot, operations, old, new, in_place)
  drop_counters(slot, operations, new)
  write_policy(slot, text, hash, new, new.revision or old.revision)
  return {1, purged}
end

