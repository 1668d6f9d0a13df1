---------------------------------------------------------------------------------------------------
-- Running jobs. Each kind has a function that continues a job by up to max members. It returns the
-- cost, in members that are only freed, how many entries it freed, and how many members remain.

local run_job = {}

-- Reading an index costs a little for each slice, too.
function jobs.cost_of_slices(slot, epoch)
  return math.floor(call('HLEN', index_key(slot, epoch)) / SLICES)
end

run_job['?'] = function(_, job) return math.ceil(#job.detail / bounds.member_bytes), 0, 0 end

function run_job.o(slot, job, max)
  local epoch, op = string.sub(job.detail, 1, EPOCH_LEN), string.sub(job.detail, EPOCH_LEN + 2)
  if op == '' or #op > MAX_OPERATION_BYTES then return 0, 0, 0 end
  local slices_cost = jobs.cost_of_slices(slot, epoch)
  local examined, freed = dispose.some_of_index(slot, epoch, op, max)
  if examined < max then return examined + slices_cost, freed, 0 end
  local remaining = job.remaining - examined
  if remaining <= 0 then remaining = survey.size(slot, epoch) end
  return examined + slices_cost, freed, remaining
end

function run_job.u(slot, job, max)
  local key, members = dispose.aside_key(slot, job.detail), math.ceil(max / budget.member_cost)
  local examined, freed, remaining = dispose.some_of_user_index(slot, key, members)
  return examined * budget.member_cost, freed, remaining
end

function run_job.s(slot, job, max)
  local sweep = shorten.parse_sweep(job)
  if not sweep then return 0, 0, 0 end
  local rule, members = rule_for(slot, sweep.op), math.ceil(max / budget.member_cost)
  local examined, more = shorten.continue(slot, sweep, rule, members)
  job.detail = shorten.format_sweep(sweep)
  return examined * budget.member_cost, 0, more and sweep.remaining or 0
end

function run_job.t(slot, job)
  local epoch, detail = string.sub(job.detail, 1, EPOCH_LEN), string.sub(job.detail, EPOCH_LEN + 1)
  local exponent, from = string.match(detail, '^:(%-?%d%d?):()')
  local op, now = exponent and string.sub(detail, from) or '', now_ms()
  if op == '' or #op > MAX_OPERATION_BYTES then return 0, 0, 0 end
  local rule = rule_for(slot, op)
  if not rule or operation_epoch(slot, op) ~= epoch then return 0, 0, 0 end
  local work, slices_cost = budget.new(1, 0), jobs.cost_of_slices(slot, epoch)
  local found = survey.inspect(slot, epoch, now, work)
  local slices = shorten.affected_slices(found.slices, rule, rule.ttl, tonumber(exponent), now)
  shorten.slices(slot, op, epoch, slices, rule, work)
  jobs.save(slot, work)
  return #slices * budget.member_cost + slices_cost, 0, 0
end

-- jobs.run spends up to max members on the jobs, from the first on, and returns how many entries it
-- freed.
function jobs.run(slot, max)
  local key, freed_total = pending_key(slot), 0
  if call('LLEN', key) > jobs.max then
    foreign.drop(key)
    return 0
  end
  while max > 0 do
    local job = jobs.at(slot, '0')
    if not job then break end
    local cost, freed, remaining = run_job[job.kind](slot, job, max)
    if remaining > 0 then
      job.remaining = remaining
      call('LSET', key, '0', jobs.format(job))
    else
      call('LPOP', key)
    end
    max = max - math.max(cost, job.kind == '?' and 1 or budget.job_cost)
    freed_total = freed_total + freed
  end
  return freed_total
end

