-- Copyright The Cachewright Authors.
-- SPDX-License-Identifier: Apache-2.0
--
-- The Cachewright function library, protocol version 1. docs/protocol.md specifies calls, keys and
-- bytes; nothing else writes them. To load it manually:
--
--     redis-cli -x FUNCTION LOAD REPLACE < registry/cachewright.lua
--
-- How it works:
--
--   * Each module of a namespace is a slot: a group of keys on one node. So each call is atomic.
--   * A slot, each of its operations and each of its users has a head: a string with an epoch.
--   * An entry carries the epochs that were in place when its load began. It is live if and only if
--     each head that covers it exists and holds the same epoch.
--   * An invalidation deletes a head, which is O(1). The index of the covered entries stays behind,
--     and later calls use it to free memory in small steps.
--   * A soft invalidation adds a second epoch to the head. An entry that differs only in that epoch
--     is stale: it may be served while one caller reloads it.
--   * Correctness does not depend on clocks, counters or eviction: whatever is missing is a miss.
--
-- Lua allows 200 local variables here. Code that runs on each hit or fill uses locals, which are
-- fastest. Other code is in one table per concept.

-- VERSION increases with each released change. The operator and the Go client load their library
-- over a lower version.
local VERSION = 6

-- call runs a Redis command: redis.call, or guard.repairing_call. It is set when a call begins,
-- because redis.call does not exist while Redis loads the library.
local call

-- time is the reply to TIME of the running call, once it has asked.
local time

local EPOCH_LEN = 11
local HEADER_FIXED_LEN = 18 -- version, flags, fresh-until, slice and chunk; the epochs follow
local ENTRY_VERSION = 1
local FLAG_USER = 1
local FLAG_NEGATIVE = 2
local FLAG_SCHEMA = 4 -- a schema precedes the payload
local FLAG_SOFT = {16, 32, 64} -- the entry carries a soft epoch of the module, operation, user
local HEADS_FLAGS = FLAG_USER + 16 + 32 + 64 -- those that follow from the heads
local UNKNOWN_FLAGS = 8 + 128
local HEADER_END = (HEADER_FIXED_LEN + 6 * EPOCH_LEN - 1) .. '' -- last byte of the longest header
local FRESH_UNTIL_AT = 2
local LISTED_AT = 10
local OPERATION_EPOCH_AT = HEADER_FIXED_LEN + EPOCH_LEN
local USER_EPOCH_AT = HEADER_FIXED_LEN + 2 * EPOCH_LEN

local MAX_OPERATION_BYTES = 128
local MAX_USER_BYTES = 256
local MAX_ID_BYTES = 1024
local MAX_TTL_MS = 720 * 3600 * 1000

local limits = {
  name_bytes = 63, -- of a namespace or a module, as in Kubernetes
  payload_bytes = 64 * 1024 * 1024,
  operations = 256, -- in a policy
  policy_bytes = 128 * 1024,
  -- Operations that use the default TTL. Callers choose their names, and calls on the module take
  -- a step for each.
  unlisted = 128,
  jitter_percent = 50,
  lag_ms = 10 * 60 * 1000,
}

-- An operation's index has 16 to 32 slices for the lifetime of an entry.
local SLICES = 16
-- A slice is stored in chunks of so many members, so that removing one takes microseconds.
local CHUNK_MEMBERS = 512
local MAX_CHUNK = 65535

-- A tenant can write anything into the keys of its namespace. The library never makes anything
-- larger than this; it deletes what is larger without reading it.
local bounds = {
  -- a name in an index
  listed_bytes = 4 + MAX_OPERATION_BYTES + 5 + MAX_USER_BYTES + 1 + MAX_ID_BYTES,
  chunk_members = 2 * CHUNK_MEMBERS, -- another primary may also have filled the chunk
  chunk_bytes = 1024 * 1024,
  slices = 512,
  slice_bytes = 160, -- in the hash of an index, with the overhead of Redis
  slice_exponent = 31,
  time_ms = 2 ^ 43, -- in the year 2248
  read_bytes = 1024 * 1024, -- members that one call reads in order to count
  member_bytes = 2048, -- a longer member costs as much as several
  total_slices = 5120, -- that one call reads: those of 128 operations with constant fills
}

-- Heads and indexes outlive the entries they cover by this margin.
local MARGIN_MS = 1000
-- Redis computes an entry's expiry from another reading of the clock, milliseconds later.
local CLOCK_SLACK_MS = 10
-- The maximum number of arguments passed to one variadic command.
local BATCH = 500
local KIB = 1024

local COUNTERS = {
  'hits', 'misses', 'heldReads', 'stale', 'errors', 'fills', 'fenced', 'invalidations',
}

