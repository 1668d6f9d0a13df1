// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// The only way to Redis. A call is bounded in time, and a breaker lets none pass to a Redis that does not serve: a
// failing cache must cost next to nothing.

import { slotKey } from './entry.mjs';

export const READ = 'cw_get';
export const FILL = 'cw_set'; // needs memory: a Redis that is full answers everything else

const CHANGE_MS = 2000; // for an invalidation or a hold, which must not be lost to save time
const MOST_FAILURES = 3; // in a row
const PAUSE_MS = 500; // then nothing is sent for so long
const MOST_BREAKERS = 1000; // further modules share one
const PAUSED = new Error('Redis did not serve lately, and is not asked for a moment'); // one for all: it must cost nothing

/** How long after it a call without an answer may still arrive: far more than any call may take. */
export const LATEST_ARRIVAL_MS = 5000;

/** The time that one read may spend waiting for Redis, for all its calls together. */
export class Budget {
  #end;

  constructor(ms) {
    this.#end = performance.now() + ms;
  }

  get leftMs() {
    return this.#end - performance.now();
  }
}

/** Reports whether a call may have been carried out, or may still be, although it failed. */
export const isUnanswered = (error) => !isRejected(error) && error !== PAUSED;

/** Reports whether Redis understood a call and refused it: there is no use in another attempt. */
export const isRejected = (error) => /^CACHEWRIGHT cw_/.test(error?.message);

export class Gateway {
  #redis;
  #namespace;
  #breakers = new Map();

  constructor(redis, namespace) {
    this.#redis = redis;
    this.#namespace = namespace;
  }

  /** Calls a function of the library about a module, unless the breaker is open. use is READ or FILL. */
  call(use, budget, name, module, ...args) {
    return this.send(use, budget, module, this.#command(name, module, args));
  }

  /** Sends any command about a module, as call does. */
  async send(use, budget, module, command) {
    if (!this.#admits(module, use)) throw PAUSED;
    const breaker = this.#breakerOf(module, use);
    const began = performance.now();
    const ms = budget.leftMs;
    try {
      const reply = await within(ms, this.#redis.send(slotKey(this.#namespace, module), command));
      breaker.answered(began, ms);
      return reply;
    } catch (error) {
      if (isRejected(error)) breaker.answered(began, ms);
      else breaker.failed();
      throw error;
    }
  }

  /** Calls a function about a module, whatever the breaker says. */
  callUnguarded(name, module, ...args) {
    const command = this.#command(name, module, args);
    return within(CHANGE_MS, this.#redis.send(slotKey(this.#namespace, module), command));
  }

  /** Calls a function that is about a key of the namespace, whatever the breaker says. */
  callOnNamespace(name, key, ...args) {
    return within(CHANGE_MS, this.#redis.send(key, ['fcall', name, 1, key, ...args]));
  }

  /** Returns the members of a set of the namespace, whatever the breaker says. */
  async members(key) {
    return (await within(CHANGE_MS, this.#redis.send(key, ['smembers', key]))).map(String);
  }

  /** Throws if a module is known to take no fills. */
  checkTakesFills(module) {
    if (!this.#admits(module, FILL)) throw PAUSED;
  }

  #admits(module, use) {
    return this.#breakerOf(module, use).admits(() => this.#try(module, use));
  }

  #command(name, module, args) {
    return ['fcall', name, 1, slotKey(this.#namespace, module), ...args];
  }

  // A call without arguments is rejected by a Redis that serves, and changes nothing.
  async #try(module, use) {
    try {
      await within(CHANGE_MS, this.#redis.send(slotKey(this.#namespace, module), this.#command(use, module, [])));
    } catch (error) {
      return isRejected(error);
    }
    return true;
  }

  #breakerOf(module, use) {
    let name = `${module} ${use}`;
    if (!this.#breakers.has(name)) {
      if (this.#breakers.size >= MOST_BREAKERS) name = use;
      if (!this.#breakers.has(name)) this.#breakers.set(name, new Breaker());
    }
    return this.#breakers.get(name);
  }
}

class Breaker {
  #failures = 0; // in a row
  #pausedUntil = 0;
  #trying = false;
  #slowAt = 0;

  /** Reports whether a call may pass. When the pause is over, it tries Redis in the background: no caller waits. */
  admits(attempt) {
    if (this.#failures < MOST_FAILURES) return true;
    if (!this.#trying && performance.now() >= this.#pausedUntil) {
      this.#trying = true;
      attempt().then((serves) => {
        this.#trying = false;
        if (serves) this.#failures = 0;
        else this.#pausedUntil = performance.now() + PAUSE_MS;
      });
    }
    return false;
  }

  /** An answer that takes more than half of the time is as bad as none. A stall of this process counts once. */
  answered(began, ms) {
    const now = performance.now();
    if (now - began <= ms / 2) {
      this.#failures = 0;
    } else if (began > this.#slowAt) {
      this.#slowAt = now;
      this.failed();
    }
  }

  failed() {
    this.#failures++;
    this.#pausedUntil = performance.now() + PAUSE_MS;
  }
}

/** Settles as a promise does, or fails after so long. */
export function within(ms, promise) {
  return new Promise((resolve, reject) => {
    const overdue = () => reject(new Error('no answer in time'));
    // A process that was busy gets to see the answers that have arrived before it gives up.
    const timer = setTimeout(() => setImmediate(overdue), Math.max(0, ms));
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
