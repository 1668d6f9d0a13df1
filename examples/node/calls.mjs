// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// The calls of the protocol: their arguments, and what their replies mean.

import { decode, isLoading, lockKey, readKeys, stored } from './entry.mjs';
import { Budget, FILL, READ, isRejected } from './gateway.mjs';

const HIT = 1;
const NEGATIVE = 2;
const LOCKED = '2'; // begins the token that came with the load lock
const NO_TOKEN = '0'; // of what is held, or of an operation that the policy does not cache
const FILLS = { 0: 'disabled', '-1': 'fenced', '-2': 'refused' };
const PUTS = { ...FILLS, '-1': 'held' };

const entryArgs = ({ operation, id = '', user = '' }) => [operation, id, user];

export class Calls {
  #gateway;
  #fence;
  #namespace;
  #schema;
  #timeoutMs;

  constructor(gateway, fence, { namespace, schema, timeoutMs }) {
    this.#gateway = gateway;
    this.#fence = fence;
    this.#namespace = namespace;
    this.#schema = schema;
    this.#timeoutMs = timeoutMs;
  }

  /** The time of one read: the calls that share it wait for so long together. */
  budget() {
    return new Budget(this.#timeoutMs);
  }

  /** Reads an entry with one MGET: {hit, payload, stale}. Takes no token on a miss, and Redis counts nothing. */
  async read(key, budget = this.budget()) {
    const [value, ...heads] = await this.#mget(key, budget, readKeys(this.#namespace, key));
    return this.#lookup(value, heads);
  }

  /** Reads an entry that a caller elsewhere loads: loading says whether it does so still. */
  async readLoading(key, budget = this.budget()) {
    const keys = [...readKeys(this.#namespace, key), lockKey(this.#namespace, key)];
    const values = await this.#mget(key, budget, keys);
    const [value, ...heads] = values.slice(0, -1);
    return { ...this.#lookup(value, heads), loading: isLoading(values.at(-1), value, heads) };
  }

  /**
   * Returns the token to fill an entry with, or a hit after all. Lease before loading: what is invalidated from then on
   * fences the fill. Takes the load lock for lockMs; waitMs is for how long another caller has it. heldMs is for how
   * long a hold forbids to fill the entry. A hit has a token for the one caller that must refresh a stale entry.
   */
  async lease(key, lockMs, budget = this.budget()) {
    this.#gateway.checkTakesFills(key.module); // others would wait for a load that is never stored
    const args = [...entryArgs(key), lockMs, ...(this.#schema ? [this.#schema] : [])];
    const reply = await this.#fence.guard(
      key.module,
      budget,
      () => this.#gateway.call(READ, budget, 'cw_get', key.module, ...args),
      ([kind, second, , , fifth]) => {
        const token = String((kind === HIT || kind === NEGATIVE ? fifth : second) ?? NO_TOKEN);
        return token.startsWith(LOCKED) ? this.unlock(key, budget).catch(() => {}) : undefined;
      },
    );
    const [kind, second, third, fourth, fifth] = reply;
    if (kind === HIT || kind === NEGATIVE) {
      const payload = kind === NEGATIVE ? null : second;
      return { hit: true, payload, stale: fourth === 1, token: fifth && String(fifth) };
    }
    const token = String(second);
    return { hit: false, token, cacheable: token !== NO_TOKEN, waitMs: third ?? 0, heldMs: fourth ?? 0 };
  }

  /** Fills an entry: stored, disabled by the policy, fenced by an invalidation since the lease, or refused by a limit. */
  async set(key, payload, token, ttlMs, budget = this.budget()) {
    const reply = await this.#store('cw_set', key, payload, [token], ttlMs, budget);
    return FILLS[reply] ?? 'stored';
  }

  /** Replaces an entry: stored, disabled, held or refused. What was there is gone in any case. */
  async put(key, payload, ttlMs, budget = this.budget()) {
    const reply = await this.#store('cw_put', key, payload, [], ttlMs, budget);
    return PUTS[reply] ?? 'stored';
  }

  unlock(key, budget = this.budget()) {
    return this.#gateway.call(READ, budget, 'cw_unlock', key.module, ...entryArgs(key));
  }

  report(module, operation, counts, budget = this.budget()) {
    const counted = Object.entries(counts).filter(([, n]) => n > 0);
    return this.#gateway.call(READ, budget, 'cw_report', module, operation, ...counted.flat());
  }

  /** Removes an entry, or invalidates an operation, a user, both or the module. */
  async invalidate(module, { operation = '', user = '', id }, mode = 'hard', requestId = '') {
    if (id !== undefined) return this.#gateway.callUnguarded('cw_delete', module, operation, id, user);
    return this.#gateway.callUnguarded('cw_invalidate', module, operation, user, mode, requestId);
  }

  hold(module, id, ms, things) {
    return this.#gateway.callUnguarded('cw_hold', module, id, ms, ...things.flatMap(thingArgs));
  }

  release(module, id, things) {
    return this.#gateway.callUnguarded('cw_release', module, id, ...things.flatMap(thingArgs));
  }

  /** The modules of the namespace that have policies. */
  modules() {
    return this.#gateway.members(`cw:{${this.#namespace}}:modules`);
  }

  #mget(key, budget, keys) {
    const command = ['mget', ...keys];
    return this.#fence.guard(key.module, budget, () => this.#gateway.send(READ, budget, key.module, command));
  }

  #lookup(value, heads) {
    const entry = decode(value, heads, this.#schema);
    if (!entry) return { hit: false };
    const stale = entry.softStale || entry.freshUntilMs <= Date.now();
    return { hit: true, payload: entry.negative ? null : entry.payload, stale };
  }

  // A time to live may only shorten that of the policy. If it does not, the policy's is right.
  async #store(name, key, payload, token, ttlMs, budget) {
    const send = (options) => {
      const args = [...entryArgs(key), stored(payload ?? '', this.#schema), ...token, options.join(' ')];
      return this.#gateway.call(FILL, budget, name, key.module, ...args);
    };
    const options = [...(payload === null ? ['negative'] : []), ...(this.#schema ? ['schema'] : [])];
    if (ttlMs === undefined) return send(options);
    try {
      return await send([...options, 'ttl', Math.max(1, Math.floor(ttlMs))]);
    } catch (error) {
      if (!isRejected(error) || !error.message.includes(`${name}: ttl`)) throw error;
      return send(options);
    }
  }
}

// A thing that a hold covers is an entry if it has an id, and else a scope.
function thingArgs({ operation = '', user = '', id }) {
  return id === undefined ? ['s', operation, user, ''] : ['e', operation, user, id];
}
