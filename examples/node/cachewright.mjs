// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// A client of the data plane protocol (docs/protocol.md) over ioredis, as a single server or a cluster.
//
// A key is {module, operation, id, user}. id and user are strings or Buffers, and may be left out: without a user the
// entry is shared. Payloads are strings or Buffers going in and Buffers coming out; null stands for "the source has
// nothing", which is cached too where the policy has a negativeTTL.

import { createHash } from 'node:crypto';

const MISS = 0;
const NEGATIVE = 2;
const NOT_CACHED = '0'; // the token of an operation that the policy does not cache
const FILLS = { 0: 'disabled', '-1': 'fenced', '-2': 'refused' };

export class Cachewright {
  #redis;
  #namespace;
  #byMget;
  #onError;
  #hits = new Map();

  /**
   * @param redis an ioredis client; give it short timeouts, a read waits for it
   * @param namespace the Kubernetes namespace of the policies
   * @param options byMget: look for entries with one MGET before asking the library;
   *   onError: hears of failures of Redis that a fetch made do without
   */
  constructor(redis, namespace, { byMget = false, onError = () => {} } = {}) {
    this.#redis = redis;
    this.#namespace = namespace;
    this.#byMget = byMget;
    this.#onError = onError;
  }

  /**
   * Reads through the cache: returns {payload, from}. load is called on a miss, and by one of those who find a stale
   * entry. from says where the payload came from, cache or stale, or else what became of the fill: stored, disabled by
   * the policy, fenced by an invalidation meanwhile, refused by a limit, or unavailable. A failure of Redis never
   * reaches the caller, one of load does, unless there is a stale entry to serve.
   */
  async fetch(key, load) {
    const found = await this.#orNull(this.#find(key));
    if (found?.hit && !found.token) {
      return { payload: found.payload, from: found.stale ? 'stale' : 'cache' };
    }
    let payload;
    try {
      payload = await load();
    } catch (error) {
      if (!found?.hit) throw error;
      return { payload: found.payload, from: 'stale' };
    }
    if (found?.token === NOT_CACHED) return { payload, from: 'disabled' };
    const fill = found && (await this.#orNull(this.set(key, payload, found.token)));
    return { payload, from: fill ?? 'unavailable' };
  }

  /** Returns a hit, or the token to fill the entry with. Take it before loading: it is what fences the fill. */
  async get(key) {
    const [kind, second, remainingMs, stale, token] = await this.#call('cw_get', key.module, ...entryArgs(key));
    if (kind === MISS) return { hit: false, token: String(second) };
    return {
      hit: true,
      payload: kind === NEGATIVE ? null : second,
      remainingMs,
      stale: stale === 1,
      token: token && String(token), // the one caller who is to load a stale entry anew
    };
  }

  /** Fills an entry and returns what became of it: stored, disabled, fenced or refused. */
  async set(key, payload, token) {
    const kind = payload === null ? ['negative'] : [];
    const reply = await this.#call('cw_set', key.module, ...entryArgs(key), payload ?? '', token, ...kind);
    return FILLS[reply] ?? 'stored';
  }

  /** Looks for an entry with one MGET. Takes no token on a miss, and counts nothing: see reportHits. */
  async read(key) {
    const [value, ...heads] = await this.#redis.mgetBuffer(readKeys(this.#namespace, key));
    const entry = decode(value, heads);
    if (!entry) return { hit: false };
    const remainingMs = Math.max(0, entry.freshUntilMs - Date.now());
    return {
      hit: true,
      payload: entry.negative ? null : entry.payload,
      remainingMs,
      stale: entry.softStale || remainingMs === 0,
    };
  }

  /** Removes one entry. Change the source first. */
  async delete(key) {
    return (await this.#call('cw_delete', key.module, ...entryArgs(key))) === 1;
  }

  /** Invalidates an operation, a user, an operation of a user, or else the module. Change the source first. */
  async invalidate(module, { operation = '', user = '', mode = 'hard', requestId = '' } = {}) {
    const [keys, pending] = await this.#call('cw_invalidate', module, operation, user, mode, requestId);
    return { keys, pending };
  }

  /** Adds the hits by MGET since the last time to the statistics. Call it every second or so. What fails is kept. */
  async reportHits() {
    const hits = this.#hits;
    this.#hits = new Map();
    for (const { module, operation, count } of hits.values()) {
      const reported = await this.#orNull(this.#call('cw_report', module, operation, 'hits', count));
      if (reported === null) this.#countHits({ module, operation }, count);
    }
  }

  async #find(key) {
    if (this.#byMget) {
      const found = await this.read(key);
      if (found.hit && !found.stale) {
        this.#countHits(key, 1);
        return found;
      }
    }
    return this.get(key);
  }

  #countHits({ module, operation }, more) {
    const name = `${module}/${operation}`;
    const hits = this.#hits.get(name) ?? { module, operation, count: 0 };
    hits.count += more;
    this.#hits.set(name, hits);
  }

  #call(name, module, ...args) {
    return this.#redis.fcallBuffer(name, 1, slotKey(this.#namespace, module), ...args);
  }

  async #orNull(promise) {
    try {
      return await promise;
    } catch (error) {
      this.#onError(error);
      return null;
    }
  }
}

/**
 * Makes an id of the params of an operation, anything that JSON holds: equal JSON, equal id. It is the one that package
 * cache makes, so applications in Go and in Node share entries.
 */
export function idOf(params) {
  const json = JSON.parse(JSON.stringify(params ?? null));
  return createHash('sha256').update(canonical(json)).digest().subarray(0, 18).toString('base64url');
}

// canonical writes JSON as RFC 8785 wants it, with the one addition of package cache: a second U+0000 for text that
// begins with one, which marks numbers that a double cannot hold.
function canonical(json) {
  if (typeof json === 'string') return JSON.stringify(json.startsWith('\0') ? `\0${json}` : json);
  if (Array.isArray(json)) return `[${json.map(canonical)}]`;
  if (json === null || typeof json !== 'object') return JSON.stringify(json);
  const fields = Object.keys(json).sort();
  return `{${fields.map((name) => `${canonical(name)}:${canonical(json[name])}`)}}`;
}

const entryArgs = ({ operation, id = '', user = '' }) => [operation, id, user];

const slotKey = (namespace, module) => `cw:{${namespace}/${module}}`;

/** The keys of one MGET: the entry and the heads that cover it. */
export function readKeys(namespace, { module, operation, id = '', user = '' }) {
  const slot = slotKey(namespace, module);
  const withUser = user.length > 0;
  const keys = [
    join(slot, ':e:', Buffer.byteLength(operation), ':', operation, ':', Buffer.byteLength(user), ':', user, ':', id),
    join(slot, ':m'),
    join(slot, ':o:', operation),
  ];
  return withUser ? [...keys, join(slot, ':u:', user)] : keys;
}

const join = (...parts) => Buffer.concat(parts.map((part) => (Buffer.isBuffer(part) ? part : Buffer.from(String(part)))));

// The bytes of an entry: version, flags, fresh-until, an epoch for each head, soft epochs, payload.
const VERSION = 1;
const FLAG_USER = 1;
const FLAG_NEGATIVE = 2;
const FLAGS_SOFT = [16, 32, 64]; // the entry carries a soft epoch of the module, the operation, the user
const UNKNOWN_FLAGS = ~(FLAG_USER | FLAG_NEGATIVE | 16 | 32 | 64);
const FIXED = 18;
const EPOCH = 11;
const SOFT_AT = [EPOCH, 2 * EPOCH, EPOCH]; // in the heads; an operation's has its fence in between

// A head ends before or after its soft epoch.
const isHead = (i, head) => head && (head.length === SOFT_AT[i] || head.length === SOFT_AT[i] + EPOCH);

/** Returns what the bytes of an entry hold if they are live under these heads, else null. */
export function decode(value, heads) {
  if (!value || value.length < FIXED || value[0] !== VERSION) return null;
  const flags = value[1];
  const ofUser = (flags & FLAG_USER) !== 0;
  if (flags & UNKNOWN_FLAGS || ofUser !== (heads.length === 3) || (!ofUser && flags & FLAGS_SOFT[2])) return null;

  let at = FIXED;
  const next = () => value.subarray(at, (at += EPOCH));
  for (const [i, head] of heads.entries()) {
    if (!isHead(i, head) || !head.subarray(0, EPOCH).equals(next())) return null;
  }
  let softStale = false;
  heads.forEach((head, i) => {
    const carried = flags & FLAGS_SOFT[i] ? next() : Buffer.alloc(0);
    softStale ||= !carried.equals(head.subarray(SOFT_AT[i]));
  });
  if (at > value.length) return null;
  return {
    payload: value.subarray(at),
    freshUntilMs: Number(value.readBigUInt64BE(2)),
    softStale,
    negative: (flags & FLAG_NEGATIVE) !== 0,
  };
}
