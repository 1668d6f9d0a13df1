---------------------------------------------------------------------------------------------------
-- cw_unclaimed
--   KEYS   cw:{<namespace>}:unclaimed
--   ARGV   {module op reads invalidations}…; empty op: the module has no policy
--   reply  how many names the key holds; without arguments {module, op, reads, invalidations,
--          age_ms}…, flat, by name, with the ms since each name was last reported
--
-- Names that applications use and no policy lists. The key belongs to a namespace, so no call on a
-- slot can write it. It is a hash: a field is a module, or module/op, and its value "<reads>
-- <invalidations> <ms when it was last reported>". If there are more names than the key may hold,
-- those that were reported least recently go.

local unclaimed = {
  max_names = 64,
  lifetime_ms = 24 * 3600 * 1000,
  max_bytes = 64 * 512, -- of the key, with the overhead of Redis
  max_count = 999999999999999, -- the largest that parse_whole reads
}

function unclaimed.key(keys)
  local max = limits.name_bytes
  if #keys == 1 and #keys[1] <= #'cw:{}:unclaimed' + max then
    local namespace = string.match(keys[1], '^cw:{([%w._-]+)}:unclaimed$')
    if namespace and #namespace <= max then return keys[1] end
  end
  refuse('cw_unclaimed takes exactly one key, cw:{<namespace>}:unclaimed, a name of 1 to ' .. max
    .. " letters, digits, '.', '_' and '-'")
end

-- unclaimed.is_name says whether a policy could have a name. others are the characters that it may
-- have except at its ends, beside letters and digits.
function unclaimed.is_name(text, max, others)
  return #text <= max and string.find(text, '^%w[%w' .. others .. ']*$') ~= nil
    and string.find(text, '%w$') ~= nil
end

function unclaimed.is_module(text) return unclaimed.is_name(text, limits.name_bytes, '._-') end

function unclaimed.is_operation(text)
  return unclaimed.is_name(text, MAX_OPERATION_BYTES, '._:/-')
end

-- unclaimed.want_names returns what the arguments report, as records. A record has the field of a
-- name and what its value says.
function unclaimed.want_names(args)
  if #args % 4 ~= 0 or #args > 4 * unclaimed.max_names then
    refuse('cw_unclaimed takes up to ' .. unclaimed.max_names .. ' names, each as module, op, '
      .. 'reads and invalidations, not ' .. #args .. ' arguments')
  end
  local names = {}
  for i = 1, #args, 4 do
    local module, op = args[i], args[i + 1]
    local reads, invalidations = parse_whole(args[i + 2]), parse_whole(args[i + 3])
    if not unclaimed.is_module(module) or op ~= '' and not unclaimed.is_operation(op) then
      refuse('cw_unclaimed: module and op must be names that a policy can have: letters, digits, '
        .. "'.', '_' and '-', in op also ':' and '/', with a letter or digit at both ends; module "
        .. 'up to ' .. limits.name_bytes .. ' bytes, op empty or up to ' .. MAX_OPERATION_BYTES)
    end
    if not reads or not invalidations then
      refuse('cw_unclaimed: reads and invalidations must be whole numbers from 0 to '
        .. string.format('%d', unclaimed.max_count))
    end
    local field = op == '' and module or module .. '/' .. op
    names[#names + 1] = {field = field, reads = reads, invalidations = invalidations}
  end
  return names
end

-- unclaimed.parse returns the record of a field, or nil if the library did not write it or it is
-- too old.
function unclaimed.parse(field, value, now)
  if #field > limits.name_bytes + 1 + MAX_OPERATION_BYTES or #value > 3 * 15 + 2 then return nil end
  local module, op = string.match(field, '^([^/]*)/(.*)$')
  if not unclaimed.is_module(module or field) then return nil end
  if op and not unclaimed.is_operation(op) then return nil end
  local reads, invalidations, told = string.match(value, '^(%d+) (%d+) (%d+)$')
  reads, invalidations, told = parse_whole(reads), parse_whole(invalidations), parse_whole(told)
  if not reads or not invalidations or not told then return nil end
  if math.abs(now - told) > unclaimed.lifetime_ms then return nil end
  return {
    field = field, module = module or field, op = op or '', reads = reads,
    invalidations = invalidations, told = told, is_reported = false,
  }
end

-- unclaimed.read returns the records of a key, and drops what does not belong there.
function unclaimed.read(key, now)
  local fields = foreign.read_hash(key, unclaimed.max_names, unclaimed.max_bytes)
  local records, others = {}, {}
  for i = 1, #fields, 2 do
    local record = unclaimed.parse(fields[i], fields[i + 1], now)
    if record then records[#records + 1] = record else others[#others + 1] = fields[i] end
  end
  if #others > 0 then foreign.drop_fields(key, others) end
  return records
end

-- unclaimed.add adds what is reported to the records.
function unclaimed.add(records, names, now)
  local by_field = {}
  for _, record in ipairs(records) do by_field[record.field] = record end
  for _, name in ipairs(names) do
    local record = by_field[name.field]
    if not record then
      record = {field = name.field, reads = 0, invalidations = 0}
      by_field[name.field], records[#records + 1] = record, record
    end
    record.reads = math.min(record.reads + name.reads, unclaimed.max_count)
    record.invalidations =
      math.min(record.invalidations + name.invalidations, unclaimed.max_count)
    record.told, record.is_reported = now, true
  end
end

-- unclaimed.is_newer orders records, with those first that this call reports.
function unclaimed.is_newer(a, b)
  if a.is_reported ~= b.is_reported then return a.is_reported end
  if a.told ~= b.told then return a.told > b.told end
  return a.field < b.field
end

-- unclaimed.drop_oldest deletes as many records as are too many.
function unclaimed.drop_oldest(key, records)
  table.sort(records, unclaimed.is_newer)
  local others = {}
  for i = unclaimed.max_names + 1, #records do
    others[#others + 1], records[i] = records[i].field, nil
  end
  if #others > 0 then call('HDEL', key, unpack(others)) end
end

function unclaimed.report(key, records, names, now)
  unclaimed.add(records, names, now)
  unclaimed.drop_oldest(key, records)
  local values = {}
  for _, record in ipairs(records) do
    if record.is_reported then
      values[#values + 1] = record.field
      values[#values + 1] =
        string.format('%d %d %d', record.reads, record.invalidations, record.told)
    end
  end
  call('HSET', key, unpack(values))
  call('PEXPIRE', key, string.format('%d', unclaimed.lifetime_ms))
  return #records
end

function unclaimed.list(records, now)
  local reply = {}
  table.sort(records, function(a, b) return a.field < b.field end)
  for _, record in ipairs(records) do
    reply[#reply + 1], reply[#reply + 2] = record.module, record.op
    reply[#reply + 1], reply[#reply + 2] = record.reads, record.invalidations
    reply[#reply + 1] = math.max(0, now - record.told)
  end
  return reply
end

function calls.cw_unclaimed(keys, args)
  local key, names = unclaimed.key(keys), unclaimed.want_names(args)
  local now = now_ms()
  local records = unclaimed.read(key, now)
  if #names == 0 then return unclaimed.list(records, now) end
  return unclaimed.report(key, records, names, now)
end
