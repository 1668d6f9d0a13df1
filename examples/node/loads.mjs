// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Loads from the source. Callers share one where that is right: within this process, and by the load lock with others.

import { AsyncLocalStorage } from 'node:async_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { address } from './entry.mjs';
import { within } from './gateway.mjs';

export const LOAD_WAIT_MS = 1000; // for the load of another process
const SHARED_WAIT_MS = 60_000; // for the load of another caller here
const FIRST_PAUSE_MS = 4; // between looks at what another process loads
const MOST_PAUSE_MS = 64;

// The entries that are loaded around a call, by name.
const loading = new AsyncLocalStorage();

/** Calls a loader, unless that fetches its own entry. */
function loadWithin(name, load) {
  const around = loading.getStore() ?? [];
  if (around.includes(name)) throw new Error('the loader fetches its own entry');
  return loading.run([...around, name], load);
}

/** Reports whether two tokens of an entry were leased under the same heads. Their first byte is no part of the heads. */
export const isSameHeads = (one, other) => headsOf(one) === headsOf(other);

const headsOf = (token) => token.slice(1);

export const nameOf = (key) => `${key.module} ${address(key).toString('latin1')}`;

export class Loads {
  #calls;
  #queue;
  #attempt;
  #flights = new Map(); // by entry and heads
  #lines = new Map(); // of loads of what is held, by entry

  /** attempt awaits a call to Redis, and returns undefined if it fails. */
  constructor(calls, queue, attempt) {
    this.#calls = calls;
    this.#queue = queue;
    this.#attempt = attempt;
  }

  /** Loads beside all others, and stores nothing: {payload, from}. */
  async alone(key, load, from) {
    return { payload: await loadWithin(nameOf(key), load), from };
  }

  /**
   * Loads and fills an entry that was leased. Callers with the same heads share the load: no invalidation came between
   * them. What the policy refused to store may be for one user alone, so callers without a user do not share it.
   */
  async shared(key, lease, load, ttlMs) {
    const name = `${nameOf(key)} ${headsOf(lease.token)}`;
    const flight = this.#flights.get(name);
    const isNested = loading.getStore() !== undefined; // it must not wait for a load that may wait for it
    if (!flight || isNested) return this.#fly(name, key, lease, load, ttlMs);
    const isLate = flight.isFilling && lease.waitMs === 0; // a lock that came after the one that the fill releases
    if (lease.waitMs === 0 && !isLate) flight.lease = lease; // the load lock, which the flight may wait for
    const { payload, from, isShared } = await within(SHARED_WAIT_MS, flight.result).catch((error) => {
      if (flight.failed) throw error;
      return { from: 'unavailable' };
    });
    if (isLate) this.#attempt(this.#calls.unlock(key));
    return isShared ? { payload: copyOf(payload), from } : this.alone(key, load, from);
  }

  /**
   * Loads what is held. It may change at any moment, so a caller may only join a load that begins after it came: one
   * runs, and one waits to begin.
   */
  async held(key, load) {
    const name = nameOf(key);
    if (loading.getStore() !== undefined) return this.alone(key, load, 'held');
    const line = this.#lines.get(name) ?? { running: Promise.resolve(), next: null };
    this.#lines.set(name, line);
    const isOwn = line.next === null;
    line.next ??= this.#afterRunning(name, line, () => loadWithin(name, load));
    const payload = await line.next;
    return { payload: isOwn ? payload : copyOf(payload), from: 'held' };
  }

  async #afterRunning(name, line, load) {
    await within(SHARED_WAIT_MS, line.running).catch(() => {});
    line.running = line.next;
    line.next = null;
    try {
      return await load();
    } finally {
      if (line.next === null && this.#lines.get(name) === line) this.#lines.delete(name);
    }
  }

  async #fly(name, key, lease, load, ttlMs) {
    const flight = { lease, isFilling: false, failed: false };
    flight.result = this.#result(flight, key, load, ttlMs).finally(() => {
      if (this.#flights.get(name) === flight) this.#flights.delete(name);
    });
    if (!this.#flights.has(name)) this.#flights.set(name, flight);
    try {
      return await flight.result;
    } catch (error) {
      flight.failed = true;
      throw error;
    }
  }

  async #result(flight, key, load, ttlMs) {
    const found = await this.#wait(flight, key);
    if (found?.hit) return { payload: found.payload, from: found.stale ? 'stale' : 'cache', isShared: true };
    return this.loadAndFill(key, flight, load, ttlMs);
  }

  /** Loads and fills, and gives the load lock back if that fails. */
  async loadAndFill(key, flight, load, ttlMs) {
    let from;
    try {
      const payload = await loadWithin(nameOf(key), load);
      flight.isFilling = true;
      from = await this.#fill(key, payload, flight.lease.token, ttlMs);
      const isShared = from === 'stored' || from === 'fenced' || (key.user ?? '').length > 0;
      return { payload, from, isShared };
    } finally {
      const isLocked = flight.lease.waitMs === 0 && !isAnswered(from);
      if (isLocked) this.#attempt(this.#calls.unlock(key));
    }
  }

  async #fill(key, payload, token, ttlMs) {
    if (this.#queue.covers(key.module, key)) return 'queued';
    const ms = typeof ttlMs === 'function' ? ttlMs(payload) : ttlMs;
    return (await this.#attempt(this.#calls.set(key, payload, token, ms))) ?? 'unavailable';
  }

  // Waits until another process has stored an entry, and returns the hit. Otherwise the flight has the lease to load with.
  async #wait(flight, key) {
    const end = Date.now() + Math.min(flight.lease.waitMs, LOAD_WAIT_MS);
    for (let pauseMs = FIRST_PAUSE_MS; Date.now() < end; pauseMs = Math.min(2 * pauseMs, MOST_PAUSE_MS)) {
      await sleep(Math.min(pauseMs * (0.5 + Math.random()), end - Date.now()));
      if (flight.lease.waitMs === 0) return null;
      const found = await this.#attempt(this.#calls.readLoading(key));
      if (!found || found.hit) return found;
      if (found.loading) continue;
      const lease = await this.#attempt(this.#calls.lease(key, LOAD_WAIT_MS));
      if (!lease || lease.hit) return lease;
      if (!lease.cacheable) return null; // the policy has changed, or a hold began: Redis decides about the fill
      flight.lease = lease;
    }
    return null;
  }
}

// Every fill that Redis answers releases the load lock.
const isAnswered = (from) => from !== undefined && from !== 'queued' && from !== 'unavailable';

// Callers may change the bytes that they get.
const copyOf = (payload) => (Buffer.isBuffer(payload) ? Buffer.from(payload) : payload);
