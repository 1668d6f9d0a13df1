---------------------------------------------------------------------------------------------------
-- Registration. It needs no loops over tables: pairs is missing while Redis loads a library.
-- allow-oom: calls that free memory, read, or write next to nothing work when maxmemory is reached.

local function register(name, callback, ...)
  redis.register_function{function_name = name, callback = callback, flags = {...}}
end

register('cw_get', guard.wrap_hot(calls.cw_get), 'allow-oom')
register('cw_set', guard.wrap_hot(calls.cw_set))
register('cw_put', guard.wrap_hot(calls.cw_put))
register('cw_unlock', guard.wrap(calls.cw_unlock), 'allow-oom')
register('cw_delete', guard.wrap(calls.cw_delete), 'allow-oom')
register('cw_invalidate', guard.wrap(calls.cw_invalidate), 'allow-oom')
register('cw_fence', guard.wrap(calls.cw_fence), 'allow-oom')
register('cw_hold', guard.wrap_hot(calls.cw_hold), 'allow-oom')
register('cw_release', guard.wrap_hot(calls.cw_release), 'allow-oom')
register('cw_unclaimed', guard.wrap(calls.cw_unclaimed), 'allow-oom')
register('cw_reclaim', guard.wrap(calls.cw_reclaim), 'allow-oom')
register('cw_policy_apply', guard.wrap(calls.cw_policy_apply), 'allow-oom')
register('cw_policy_hash', guard.wrap(calls.cw_policy_hash, true), 'no-writes')
register('cw_policy_get', guard.wrap(calls.cw_policy_get, true), 'no-writes')
register('cw_policy_own', guard.wrap(calls.cw_policy_own), 'allow-oom')
register('cw_policy_delete', guard.wrap(calls.cw_policy_delete), 'allow-oom')
register('cw_report', guard.wrap_hot(calls.cw_report), 'allow-oom')
register('cw_stats', guard.wrap(calls.cw_stats, true), 'no-writes')

-- cw_writable (no key, because it is called on each node): 1. It changes nothing but declares to
-- write, so Redis refuses it wherever it refuses writes.
register('cw_writable', function() return 1 end, 'allow-oom')

-- cw_version (no key, because it is called on each node): the version of this library.
register('cw_version', function() return VERSION end, 'no-writes', 'allow-oom', 'allow-stale')
