-- Argo CD's health check of a CacheInvalidation: it is healthy once it is complete. So a sync that has one
-- as a hook waits until the purge is in effect.
local waiting = { status = "Progressing", message = "Waiting for the operator" }

local status = obj.status
if status == nil or status.observedGeneration ~= obj.metadata.generation then
  return waiting
end

local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end
for _, over in ipairs({ "Failed", "Stalled" }) do
  if conditions[over] ~= nil and conditions[over].status == "True" then
    return { status = "Degraded", message = conditions[over].message }
  end
end
if conditions.Complete ~= nil and conditions.Complete.status == "True" then
  return { status = "Healthy", message = conditions.Complete.message }
end
if status.state == "Holding" and conditions.Ready ~= nil and conditions.Ready.status == "True" then
  return { status = "Healthy", message = conditions.Ready.message }
end
if conditions.Ready ~= nil then
  return { status = "Progressing", message = conditions.Ready.message }
end
return waiting
