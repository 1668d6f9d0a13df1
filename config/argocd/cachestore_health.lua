-- Argo CD's health check of a CacheStore: healthy once the operator can use it.
local waiting = { status = "Progressing", message = "Waiting for the operator" }

local status = obj.status
if status == nil or status.observedGeneration ~= obj.metadata.generation then
  return waiting
end

local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end
local ready = conditions.Ready
if ready == nil then
  return waiting
end
if conditions.Stalled ~= nil and conditions.Stalled.status == "True" then
  return { status = "Degraded", message = conditions.Stalled.message }
end
if ready.status ~= "True" then
  return { status = "Progressing", message = ready.message }
end
return { status = "Healthy", message = ready.message }
