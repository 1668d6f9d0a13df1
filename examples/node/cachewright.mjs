// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// A client of the data plane protocol (docs/protocol.md) over ioredis or node-redis, as a single server or a cluster.
//
// A key is {module, operation, id, user}. id and user are strings or Buffers, and are optional: without a user the entry
// is shared. Payloads are strings or Buffers when you store them, and Buffers when you read them. null stands for "the
// source has nothing", which is cached too if the policy has a negativeTTL.

import { Calls } from './calls.mjs';
import { Counts } from './counts.mjs';
import { Fence } from './fence.mjs';
import { Gateway, LATEST_ARRIVAL_MS, isUnanswered } from './gateway.mjs';
import { Hold } from './hold.mjs';
import { LOAD_WAIT_MS, Loads } from './loads.mjs';
import { Queue } from './queue.mjs';
import { adapt } from './redis.mjs';
import { Refresher } from './refresh.mjs';
import { Unclaimed } from './unclaimed.mjs';

export { idOf, idOfJSON } from './ids.mjs';
export { QueuedError } from './queue.mjs';

export class Cachewright {
  #calls;
  #queue;
  #loads;
  #refresher;
  #counts;
  #unclaimed;
  #onError;

  /**
   * @param redis a client of ioredis or node-redis, with the settings that main.mjs has
   * @param namespace the Kubernetes namespace of the policies
   * @param options schema: the version of payloads, 1 to 64 ASCII characters: entries of other versions are misses;
   *   timeoutMs: for how long a read may wait for Redis, 100 unless set. Redis should answer in a quarter of that;
   *   onError: called with failures of Redis that a caller does not see;
   *   onUnclaimed: called with a sentence, once for each name that no policy lists
   */
  constructor(redis, namespace, options = {}) {
    const { schema = '', timeoutMs = 100, onUnclaimed = console.warn } = options;
    const onError = (error) => {
      try {
        options.onError?.(error);
      } catch {} // it must not fail a read
    };
    const adapter = adapt(redis);
    const gateway = new Gateway(adapter, namespace);
    this.#onError = onError;
    this.#calls = new Calls(gateway, new Fence(adapter, gateway, onError), { namespace, schema, timeoutMs });
    this.#queue = new Queue(this.#calls, onError);
    this.#loads = new Loads(this.#calls, this.#queue, (call) => this.#attempt(call));
    this.#refresher = new Refresher(this.#calls, this.#loads, onError);
    this.#counts = new Counts(this.#calls);
    this.#unclaimed = new Unclaimed(gateway, namespace, onUnclaimed);
  }

  /**
   * Reads through the cache: returns {payload, from}. It calls load on a miss, and in the background for a stale entry.
   * Callers share a load where that is right, so treat load as one for all of them. ttlMs shortens the life of what is
   * stored: a number, or a function of the payload.
   *
   * from says where the payload came from: cache or stale. After a load, it says what became of it: stored, held by
   * somebody, disabled by the policy, fenced by an invalidation meanwhile, refused by a limit, queued behind an
   * invalidation, or unavailable. A failure of Redis never reaches the caller. A failure of load does.
   */
  async fetch(of, load, { ttlMs } = {}) {
    const key = entryOf(of);
    if (this.#queue.covers(key.module, key)) return this.#loads.alone(key, load, 'queued');
    const found = await this.#attempt(this.#find(key));
    if (!found) return this.#loads.alone(key, load, 'unavailable');
    if (found.hit) return this.#hit(key, found, load, ttlMs);
    if (found.cacheable) return this.#loads.shared(key, found, load, ttlMs);
    if (found.heldMs > 0) return this.#loads.held(key, load);
    this.#unclaimed.count(key.module, key.operation, 'reads');
    return this.#loads.alone(key, load, 'disabled');
  }

  async #find(key) {
    const budget = this.#calls.budget();
    const found = await this.#calls.read(key, budget);
    return found.hit ? found : this.#calls.lease(key, LOAD_WAIT_MS, budget);
  }

  // Redis counts what it leased, and stale hits when it is asked for the refresh.
  #hit(key, found, load, ttlMs) {
    const isAsked = found.stale && this.#refresher.start(key, found.token, load, ttlMs);
    if (!isAsked) this.#counts.add(key, found.stale ? 'stale' : 'hits');
    return { payload: found.payload, from: found.stale ? 'stale' : 'cache' };
  }

  /**
   * Stores what the source has now in place of what is cached, in one call: no reader finds nothing in between. Change
   * the source first. Returns stored, disabled, held, refused, or unavailable. Throws a QueuedError if Redis cannot be
   * reached, and does then what delete does.
   */
  async put(of, payload, { ttlMs } = {}) {
    const key = entryOf(of);
    if (!this.#queue.covers(key.module, key)) {
      try {
        return await this.#calls.put(key, payload, ttlMs);
      } catch (error) {
        this.#onError(error);
        // It may arrive later than the deletion.
        if (isUnanswered(error)) setTimeout(() => this.delete(key).catch(() => {}), LATEST_ARRIVAL_MS).unref();
      }
    }
    await this.delete(key);
    return 'unavailable';
  }

  /** Removes one entry. Change the source first. Throws a QueuedError as invalidate does. */
  async delete(of) {
    const { module, ...entry } = entryOf(of);
    this.#unclaimed.count(module, entry.operation, 'invalidations');
    return (await this.#queue.send(module, entry, () => this.#calls.invalidate(module, entry))) === 1;
  }

  /**
   * Invalidates an operation, a user, an operation of a user, or the module. Change the source first. mode soft makes
   * entries stale. Throws a QueuedError if Redis cannot be reached: then it is sent again until it is done, and reads of
   * this client go to the source until then.
   */
  async invalidate(module, { operation = '', user = '', mode = 'hard', requestId = '' } = {}) {
    this.#unclaimed.count(module, operation, 'invalidations');
    const scope = { operation, user };
    const invalidate = () => this.#calls.invalidate(module, scope, mode, requestId);
    const [keys, pending] = await this.#queue.send(module, scope, invalidate);
    return { keys, pending };
  }

  /**
   * Invalidates things of a module, and forbids to cache them for ms, 1 to 600,000. Hold what a transaction changes
   * from before its commit until after it. Then no read shows what was before, even if this process dies in between.
   * A thing is {operation, user}, both optional, or an entry if it has an id. It never fails: hold.error says why it
   * does not hold. Then make the change all the same, and release after it, which invalidates.
   */
  async hold(module, ms, ...things) {
    const hold = new Hold(this.#calls, this.#queue, module, things);
    await hold.renew(ms).catch((error) => {
      hold.error = error;
    });
    return hold;
  }

  /** Adds the hits since the last call to the statistics. Call it about once a second. It keeps what fails. */
  async reportHits() {
    const failure = await this.#counts.report();
    if (failure) this.#onError(failure);
  }

  /**
   * Tells and reports which names of modules and operations were used since the last call and are in no policy, so that
   * a misspelt one shows in the status of the CacheStore. Call it about once a minute.
   */
  async reportUnclaimed() {
    await this.#attempt(this.#unclaimed.report());
  }

  /** Call it before the process ends: it sends once more what waits, and the counts. Throws if invalidations remain. */
  async close() {
    await this.reportHits();
    await this.#queue.close();
  }

  // Awaits a call to Redis, and returns undefined if it fails.
  async #attempt(call) {
    try {
      return await call;
    } catch (error) {
      this.#onError(error);
      return undefined;
    }
  }
}

const entryOf = ({ module, operation, user = '', id = '' }) => ({ module, operation, user, id });
