-- Copyright The Cachewright Authors.
-- SPDX-License-Identifier: Apache-2.0
--
-- The Cachewright function library, protocol version 1. docs/protocol.md specifies calls, keys and
-- bytes; this file is the only place that writes them. By hand:
--
--     redis-cli -x FUNCTION LOAD REPLACE < registry/cachewright.lua
--
-- How it works, in five sentences. Each module of a namespace is a slot of keys on one node, so a
-- call is atomic. A slot, each of its operations and each of its users has a head: a string that
-- holds an epoch. An entry carries the epochs that were in place when its load began, and is live
-- iff every head that covers it exists and holds the same epoch. Invalidation deletes a head, which
-- is O(1), and sets the index of what it covered aside, so that memory is given back in small steps.
-- Nothing depends on a clock, a counter or on what is evicted: whatever is missing is a miss. (A soft
-- invalidation puts a second epoch into the head: an entry that differs only there is stale, to be
-- served while one caller loads anew.)

-- VERSION is replaced on each change of this file; the operator and the Go client load theirs over
-- a lower one.
local VERSION = 3

-- call runs a command. It is redis.call, which is not there yet while Redis loads the library, or careful: see guarded.
local call

local EPOCH_LEN = 11
local HEADER_FIXED_LEN = 18 -- version, flags, fresh-until, slice and chunk; the epochs follow
local ENTRY_VERSION = 1
local FLAG_USER = 1
local FLAG_NEGATIVE = 2
local FLAG_SOFT = {16, 32, 64} -- the entry carries a soft epoch of the module, operation, user
local TO_HEADER_END = (HEADER_FIXED_LEN + 6 * EPOCH_LEN - 1) .. '' -- of the longest header
local FRESH_UNTIL_AT = 2
local LISTED_AT = 10
local OPERATION_EPOCH_AT = HEADER_FIXED_LEN + EPOCH_LEN
local USER_EPOCH_AT = HEADER_FIXED_LEN + 2 * EPOCH_LEN

-- Names of namespaces and modules are as long as Kubernetes allows.
local MAX_NAME_BYTES = 63
local MAX_OPERATION_BYTES = 128
local MAX_USER_BYTES = 256
local MAX_ID_BYTES = 1024
local MAX_PAYLOAD_BYTES = 64 * 1024 * 1024
local MAX_OPERATIONS = 256
local MAX_POLICY_BYTES = 128 * 1024
-- Operations that go by the default TTL: what concerns the whole module takes a step for each, and callers name them.
local MAX_UNLISTED = 128
local MAX_TTL_MS = 720 * 3600 * 1000
local MAX_JITTER_PERCENT = 50

-- An index of at most this many keys is reclaimed by the call that invalidates: more would show in the time
-- of that call.
local INLINE_RECLAIM_KEYS = 128
-- Keys a cw_reclaim call looks at, at the most: less than a millisecond.
local MAX_RECLAIM_KEYS = 200
-- To shorten an entry's life, or to take it out of an index that is in sight, costs as much as to free so many.
local MEMBER_COST = 2
-- And so does a piece of work, however few members it has.
local WORK_COST = 8
-- Lengths and headers that a call looks at to count, at the most, and of each operation at the least.
local COUNT_LOOKS = 512
local LEAST_LOOKS = 4
-- An operation's index has 16 to 32 slices for the time that an entry lives.
local SLICES = 16
-- A slice is kept in chunks of so many members, so that one can be taken out in microseconds.
local CHUNK_MEMBERS = 512
local MAX_CHUNK = 65535

-- Whoever has the rights of a namespace can write anything into its keys. What is larger than this library ever makes it is
-- not read: it is dropped.
local bounds = {
  listed_bytes = 4 + MAX_OPERATION_BYTES + 5 + MAX_USER_BYTES + 1 + MAX_ID_BYTES, -- a name in an index
  chunk_members = 2 * CHUNK_MEMBERS, -- a chunk that another primary filled, too, may have more than CHUNK_MEMBERS
  chunk_bytes = 1024 * 1024,
  slices = 512,
  slice_bytes = 160, -- in an index' hash, with what Redis adds
  slice_exponent = 31,
  time_ms = 2 ^ 43, -- in the year 2248
  read_bytes = 1024 * 1024, -- of members, in one call, in order to count
  member_bytes = 2048, -- what is longer counts as several members
  slices_in_all = 5120, -- that a call reads: those of 128 operations that are filled all the time
}
-- A lease keeps its heads for a load as long as an entry lives, at least this long, and for the entry
-- that is filled then. A load that takes longer is fenced: its value is older than entries may be.
local MIN_LOAD_MS = 5000
-- Heads and indexes outlive the entries they cover by this.
local MARGIN_MS = 1000
-- Redis counts an entry's time from another reading of the clock than ours, milliseconds apart.
local CLOCK_SLACK_MS = 10
-- Arguments that one command takes, where it may take many.
local BATCH = 500

local COUNTERS = {'hits', 'misses', 'stale', 'errors', 'fills', 'fenced', 'invalidations'}
local REPORTED = {hits = true, misses = true, stale = true, errors = true}

