// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Refreshes of stale entries in the background: no caller waits for one, and one process at a time does it.

import { within } from './gateway.mjs';
import { nameOf } from './loads.mjs';

const MOST_RUNNING = 32;
const MOST_KNOWN = 1000; // running, or tried a moment ago
const LOAD_MS = 10_000; // for a load; no other process refreshes the entry meanwhile
const PAUSE_MS = 1000; // after one that failed, or that another process does

export class Refresher {
  #calls;
  #loads;
  #onError;
  #known = new Set();
  #running = 0;

  constructor(calls, loads, onError) {
    this.#calls = calls;
    this.#loads = loads;
    this.#onError = onError;
  }

  /** Refreshes an entry, unless that is under way or too much else is. Reports whether Redis was or is asked for it. */
  start(key, token, load, ttlMs) {
    const name = nameOf(key);
    if (this.#known.has(name) || this.#known.size >= MOST_KNOWN || this.#running >= MOST_RUNNING) return false;
    this.#known.add(name);
    this.#running++;
    this.#refresh(key, token, load, ttlMs)
      .catch((error) => {
        this.#onError(error);
        return false;
      })
      .then((isDone) => {
        this.#running--;
        if (isDone) this.#known.delete(name);
        else setTimeout(() => this.#known.delete(name), PAUSE_MS).unref();
      });
    return true;
  }

  async #refresh(key, token, load, ttlMs) {
    const lease = token ? { token, hit: true } : await this.#calls.lease(key, LOAD_MS);
    if (!lease.hit) {
      if (lease.cacheable && lease.waitMs === 0) await this.#calls.unlock(key); // it is gone, for others to load
      return true;
    }
    if (!lease.token) return !lease.stale;
    const flight = { lease: { token: lease.token, waitMs: 0 } };
    const { payload, from } = await within(LOAD_MS, this.#loads.loadAndFill(key, flight, load, ttlMs));
    const isGone = payload === null && from === 'disabled'; // nothing is stored of that, so the old value must go
    if (isGone) await this.#calls.invalidate(key.module, key);
    return from !== 'unavailable';
  }
}
