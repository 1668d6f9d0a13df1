-- Each kind of work goes on by up to max members, and returns what that cost, in members that are just freed, how many
-- entries it freed, and how many members are left.
local go_on = {}

-- In an index that was read each slice costs a little, too.
local function cost_of_slices(slot, epoch) return math.floor(call('HLEN', index_key(slot, epoch)) / SLICES) end

go_on['?'] = function(_, piece) return math.ceil(#piece.what / bounds.member_bytes), 0, 0 end

function go_on.o(slot, piece, max)
  local epoch, op = string.sub(piece.what, 1, EPOCH_LEN), string.sub(piece.what, EPOCH_LEN + 2)
  if op == '' or #op > MAX_OPERATION_BYTES then return 0, 0, 0 end
  local of_slices = cost_of_slices(slot, epoch)
  local looked, freed = reclaim_index(slot, epoch, op, max)
  if looked < max then return looked + of_slices, freed, 0 end
  local left = piece.left - looked
  return looked + of_slices, freed, left > 0 and left or index_size(slot, epoch)
end

function go_on.u(slot, piece, max)
  local looked, freed, left = reclaim_user_index(slot, aside_key(slot, piece.what), math.ceil(max / MEMBER_COST))
  return looked * MEMBER_COST, freed, left
end

function go_on.s(slot, piece, max)
  local w = parse_sweep(piece)
  if not w then return 0, 0, 0 end
  local looked, more = sweep(slot, w, rule_for(slot, w.op), math.ceil(max / MEMBER_COST))
  piece.what = format_sweep(w)
  return looked * MEMBER_COST, 0, more and w.left or 0
end

function go_on.t(slot, piece)
  local epoch = string.sub(piece.what, 1, EPOCH_LEN)
  local exponent, from = string.match(string.sub(piece.what, EPOCH_LEN + 1), '^:(%-?%d%d?):()')
  local op, now = exponent and string.sub(piece.what, EPOCH_LEN + from) or '', now_ms()
  if op == '' or #op > MAX_OPERATION_BYTES then return 0, 0, 0 end
  local rule = rule_for(slot, op)
  if not rule or operation_epoch(slot, op) ~= epoch then return 0, 0, 0 end
  local work, of_slices = new_work(1, 0), cost_of_slices(slot, epoch)
  local slices = outliving(inspect(slot, epoch, now, work).slices, rule, rule.ttl, tonumber(exponent), now)
  shorten_slices(slot, op, epoch, slices, rule, work)
  settle(slot, work)
  return #slices * MEMBER_COST + of_slices, 0, 0
end

function reclaim(slot, max)
  local key, freed_total = pending_key(slot), 0
  if call('LLEN', key) > MAX_PENDING then
    drop(key)
    return 0
  end
  while max > 0 do
    local piece = piece_at(slot, '0')
    if not piece then break end
    local cost, freed, left = go_on[piece.kind](slot, piece, max)
    if left > 0 then
      piece.left = left
      call('LSET', key, '0', format_piece(piece))
    else
      call('LPOP', key)
    end
    max, freed_total = max - math.max(cost, piece.kind == '?' and 1 or WORK_COST), freed_total + freed
  end
  return freed_total
end
end

