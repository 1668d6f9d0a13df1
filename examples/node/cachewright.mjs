// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// A client of the data plane protocol (docs/protocol.md) over ioredis, as a single server or a cluster.
//
// A key is {module, operation, id, user}. id and user are strings or Buffers, and are optional: without a user the entry
// is shared. Payloads are strings or Buffers when you store them, and Buffers when you read them. null stands for "the
// source has nothing", which is cached too if the policy has a negativeTTL.

import { Hold } from './hold.mjs';
import { Unclaimed } from './unclaimed.mjs';

export { idOf, idOfJSON } from './ids.mjs';

const MISS = 0;
const NEGATIVE = 2;
const NO_TOKEN = '0'; // of what is held, or of an operation that the policy does not cache
const FILLS = { 0: 'disabled', '-1': 'fenced', '-2': 'refused' };

export class Cachewright {
  #redis;
  #namespace;
  #byMget;
  #schema;
  #onError;
  #hits = new Map();
  #unclaimed;

  /**
   * @param redis an ioredis client; give it short timeouts, because a read waits for it
   * @param namespace the Kubernetes namespace of the policies
   * @param options byMget: look for entries with one MGET before calling the library;
   *   schema: the version of payloads, 1 to 64 ASCII characters: entries of other versions are misses;
   *   onError: called with failures of Redis that a fetch survived;
   *   onUnclaimed: called with a sentence, once for each name that no policy lists
   */
  constructor(
    redis,
    namespace,
    { byMget = false, schema = '', onError = () => {}, onUnclaimed = console.warn } = {},
  ) {
    this.#redis = redis;
    this.#namespace = namespace;
    this.#byMget = byMget;
    this.#schema = schema;
    this.#onError = onError;
    this.#unclaimed = new Unclaimed(redis, namespace, onUnclaimed);
  }

  /**
   * Reads through the cache: returns {payload, from}. It calls load on a miss. Of the callers that find a stale entry,
   * one calls load. from says where the payload came from: cache or stale. After a load, it is the outcome of the fill:
   * stored, held by somebody, disabled by the policy, fenced by an invalidation meanwhile, refused by a limit, or
   * unavailable. A failure of Redis never reaches the caller. A failure of load does, unless there is a stale entry to
   * serve.
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
    if (found?.token === NO_TOKEN) {
      if (found.heldMs > 0) return { payload, from: 'held' };
      this.#unclaimed.count(key.module, key.operation, 'reads');
      return { payload, from: 'disabled' };
    }
    const fill = found && (await this.#orNull(this.set(key, payload, found.token)));
    return { payload, from: fill ?? 'unavailable' };
  }

  /**
   * Returns a hit, or the token to fill the entry with. Take the token before loading: it fences the fill. heldMs is
   * for how long a hold, or the lag of the source, forbids to fill it.
   */
  async get(key) {
    const bySchema = this.#schema ? [0, this.#schema] : []; // 0: without a load lock
    const reply = await this.#call('cw_get', key.module, ...entryArgs(key), ...bySchema);
    const [kind, second, remainingMs, stale, token] = reply;
    if (kind === MISS) return { hit: false, token: String(second), heldMs: reply[3] ?? 0 };
    return {
      hit: true,
      payload: kind === NEGATIVE ? null : second,
      remainingMs,
      stale: stale === 1,
      token: token && String(token), // set for the one caller that must refresh a stale entry
    };
  }

  /** Fills an entry and returns the outcome: stored, disabled, fenced or refused. */
  async set(key, payload, token) {
    const options = [payload === null ? 'negative' : [], this.#schema ? 'schema' : []].flat().join(' ');
    const stored = this.#schema ? join(prefix(this.#schema), payload ?? '') : (payload ?? '');
    const reply = await this.#call('cw_set', key.module, ...entryArgs(key), stored, token, options);
    return FILLS[reply] ?? 'stored';
  }

  /** Reads an entry with one MGET. Takes no token on a miss, and counts nothing: see reportHits. */
  async read(key) {
    const [value, ...heads] = await this.#redis.mgetBuffer(readKeys(this.#namespace, key));
    const entry = decode(value, heads, this.#schema);
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
    this.#unclaimed.count(key.module, key.operation, 'invalidations');
    return (await this.#call('cw_delete', key.module, ...entryArgs(key))) === 1;
  }

  /** Invalidates an operation, a user, an operation of a user, or the module. Change the source first. */
  async invalidate(module, { operation = '', user = '', mode = 'hard', requestId = '' } = {}) {
    this.#unclaimed.count(module, operation, 'invalidations');
    const [keys, pending] = await this.#call('cw_invalidate', module, operation, user, mode, requestId);
    return { keys, pending };
  }

  /**
   * Invalidates things of a module, and forbids to cache them for ms, 1 to 600,000. Hold what a transaction changes
   * from before its commit until after it. Then no read shows what was before, even if this process dies in between.
   * A thing is {operation, user}, both optional, or an entry if it has an id. It never fails: hold.error says why it
   * does not hold. Then make the change all the same, and release after it, which invalidates.
   */
  async hold(module, ms, ...things) {
    const hold = new Hold((name, ...args) => this.#call(name, module, ...args), things);
    await hold.renew(ms).catch((error) => {
      hold.error = error;
    });
    return hold;
  }

  /** Adds the hits by MGET since the last call to the statistics. Call it about once a second. It keeps what fails. */
  async reportHits() {
    const hits = this.#hits;
    this.#hits = new Map();
    for (const { module, operation, count } of hits.values()) {
      const reported = await this.#orNull(this.#call('cw_report', module, operation, 'hits', count));
      if (reported === null) this.#countHits({ module, operation }, count);
    }
  }

  /**
   * Tells and reports which names of modules and operations were used since the last call and are in no policy, so that
   * a misspelt one shows in the status of the CacheStore. Call it about once a minute.
   */
  async reportUnclaimed() {
    await this.#orNull(this.#unclaimed.report());
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

// What precedes a payload that has a schema.
const prefix = (schema) => Buffer.concat([Buffer.from([schema.length]), Buffer.from(schema)]);

// The bytes of an entry: version, flags, fresh-until, an epoch for each head, soft epochs, schema, payload.
const VERSION = 1;
const FLAG_USER = 1;
const FLAG_NEGATIVE = 2;
const FLAG_SCHEMA = 4;
const FLAGS_SOFT = [16, 32, 64]; // the entry carries a soft epoch of the module, the operation, the user
const UNKNOWN_FLAGS = ~(FLAG_USER | FLAG_NEGATIVE | FLAG_SCHEMA | 16 | 32 | 64);
const FIXED = 18;
const EPOCH = 11;
const SOFT_AT = [EPOCH, 2 * EPOCH, EPOCH]; // in the heads; an operation's has its fence in between

// A head ends before or after its soft epoch.
const isHead = (i, head) => head && (head.length === SOFT_AT[i] || head.length === SOFT_AT[i] + EPOCH);

/** Returns the content of an entry if it is live under these heads and has this schema, else null. */
export function decode(value, heads, schema = '') {
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
  if (at > value.length || ((flags & FLAG_SCHEMA) !== 0) !== (schema !== '')) return null;
  if (schema) {
    const wanted = prefix(schema);
    if (!value.subarray(at, (at += wanted.length)).equals(wanted)) return null;
  }
  return {
    payload: value.subarray(at),
    freshUntilMs: Number(value.readBigUInt64BE(2)),
    softStale,
    negative: (flags & FLAG_NEGATIVE) !== 0,
  };
}
