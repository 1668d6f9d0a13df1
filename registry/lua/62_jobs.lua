---------------------------------------------------------------------------------------------------
-- Jobs are work left for cw_reclaim. The list <slot>:pending has each as
-- <kind>:<sum>:<remaining>:<detail>. About so many members remain. sum is the number of members of
-- this job and of those before it when it was added. Kinds and details:
--
--   o  <epoch>:<op>                         the detached index of an operation
--   u  <nonce>                              the renamed index of a user
--   t  <epoch>:<exponent>:<op>              entries to shorten to the operation's rule: those in
--                                           slices that outlast it, and negative ones in slices up
--                                           to this exponent
--   s  <epoch>:<slice>:<chunk>:<last>:<op>  the same in one slice, from one chunk to the last
--   ?                                       what others wrote: deleted
--
-- A list with more than jobs.max is dropped: what it names expires without it.

local jobs = {max = 10000, max_bytes = 256 + MAX_OPERATION_BYTES}

jobs.kinds = {o = true, u = true, t = true, s = true}

function jobs.format(job)
  return job.kind .. string.format(':%d:%d:', job.sum, job.remaining) .. job.detail
end

function jobs.parse(text)
  if #text > jobs.max_bytes then return nil end
  local kind, sum, remaining, from = string.match(text, '^(%a):(%d+):(%d+):()')
  sum, remaining = parse_whole(sum), parse_whole(remaining)
  if jobs.kinds[kind] and sum and remaining then
    return {kind = kind, sum = sum, remaining = remaining, detail = string.sub(text, from)}
  end
end

function jobs.at(slot, position)
  local text = call('LINDEX', pending_key(slot), position)
  if not text then return nil end
  return jobs.parse(text) or {kind = '?', sum = 0, remaining = 1, detail = text}
end

-- jobs.defer notes a job for later. At expiry all of its members have expired.
function jobs.defer(work, kind, members, expiry, detail)
  work.later[#work.later + 1] = {kind = kind, remaining = math.max(1, members), detail = detail}
  work.expiry = math.max(work.expiry, expiry)
end

-- jobs.save adds the deferred jobs of a call to the list.
function jobs.save(slot, work)
  if #work.later == 0 then return end
  local key, last, texts = pending_key(slot), jobs.at(slot, '-1'), {}
  local sum = last and last.sum or 0
  for i, job in ipairs(work.later) do
    sum = sum + job.remaining
    job.sum = sum
    texts[i] = jobs.format(job)
  end
  batched(texts, function(...) return call('RPUSH', key, ...) end)
  local expiry = math.min(work.expiry, now_ms() + 3 * MAX_TTL_MS)
  if call('PEXPIRETIME', key) < expiry then call('PEXPIREAT', key, expiry) end
  work.later = {}
end

-- jobs.total returns how many members wait. Members that expire meanwhile still count.
function jobs.total(slot)
  local first = jobs.at(slot, '0')
  if not first then return 0 end
  return math.max(first.remaining, first.remaining + jobs.at(slot, '-1').sum - first.sum)
end

