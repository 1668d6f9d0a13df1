---------------------------------------------------------------------------------------------------
-- Registration, one by one: while a library is being loaded Lua has no pairs. allow-oom: what frees
-- memory, reads, or writes next to nothing works when Redis has reached maxmemory.

redis.register_function{function_name = 'cw_get', callback = guarded_hot(cw_get), flags = {'allow-oom'}}
redis.register_function{function_name = 'cw_set', callback = guarded_hot(cw_set)}
redis.register_function{function_name = 'cw_unlock', callback = guarded(cw_unlock), flags = {'allow-oom'}}
redis.register_function{function_name = 'cw_delete', callback = guarded(cw_delete), flags = {'allow-oom'}}
redis.register_function{function_name = 'cw_invalidate', callback = guarded(cw_invalidate), flags = {'allow-oom'}}
redis.register_function{function_name = 'cw_reclaim', callback = guarded(cw_reclaim), flags = {'allow-oom'}}
redis.register_function{function_name = 'cw_policy_apply', callback = guarded(cw_policy.apply), flags = {'allow-oom'}}
redis.register_function{function_name = 'cw_policy_hash', callback = guarded(cw_policy.hash, true), flags = {'no-writes'}}
redis.register_function{function_name = 'cw_policy_get', callback = guarded(cw_policy.get, true), flags = {'no-writes'}}
redis.register_function{function_name = 'cw_policy_own', callback = guarded(cw_policy.own), flags = {'allow-oom'}}
redis.register_function{function_name = 'cw_policy_delete', callback = guarded(cw_policy.delete), flags = {'allow-oom'}}
redis.register_function{function_name = 'cw_report', callback = guarded_hot(cw_report), flags = {'allow-oom'}}
redis.register_function{function_name = 'cw_stats', callback = guarded(cw_stats, true), flags = {'no-writes'}}

-- cw_writable (no key: it is asked of each node): 1. Redis refuses the call, as it declares to write, where it takes no writes.
redis.register_function{function_name = 'cw_writable', callback = function() return 1 end, flags = {'allow-oom'}}

-- cw_version (no key: it is asked of each node): the version of this library.
redis.register_function{
  function_name = 'cw_version',
  callback = function() return VERSION end,
  flags = {'no-writes', 'allow-oom', 'allow-stale'},
}
