// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Redis goes back in time: a restart with an old snapshot, or a failover to a replica that lagged, brings back entries
// that were invalidated. So before a module is read, cw_fence invalidates it once in each life of the server's data. And
// a reply counts only if no other server may have given it.
//
// The client counts generations: one more with each connection, each redirection and each new life of the data. What is
// fenced in a generation stays so until the next one.

import { READ } from './gateway.mjs';

const MOST_CHECKS = 4; // of one read, while generations change
const MOST_KEPT = 1000; // modules, and lives
const REFUSED_FOR_MS = 60_000; // by an ACL without +info, or an older library: somebody may correct that
const SINCE_VERSION = 5; // of the library

export class Fence {
  #gateway;
  #tell;
  #told = false;
  #generation = 0;
  #fencedIn = new Map(); // the generation, by module
  #checks = new Map(); // under way, by module
  #lives = new Set(); // of servers' data
  #refusedUntil = new Map(); // by module

  constructor(redis, gateway, tell) {
    this.#gateway = gateway;
    this.#tell = tell;
    redis.watch(() => {
      this.#generation++;
    });
  }

  /**
   * Reads from a module, and once more if another server may have answered. Throws if that may be so again. drop gives
   * back what a reply brought that does not count.
   */
  async guard(module, budget, read, drop = () => {}) {
    for (let attempt = 0; attempt < 2; attempt++) {
      const generation = await this.#enter(module, budget);
      const reply = await read();
      if (generation === this.#generation || this.#isRefused(module)) return reply;
      await drop(reply);
    }
    throw new Error('Redis was restarted, failed over or resharded: another server may have answered');
  }

  // Returns the current generation once the module is fenced in it.
  #enter(module, budget) {
    if (this.#fencedIn.get(module) === this.#generation || this.#isRefused(module)) return this.#generation;
    if (!this.#checks.has(module)) {
      const check = this.#check(module, budget).finally(() => this.#checks.delete(module));
      this.#checks.set(module, check);
    }
    return this.#checks.get(module);
  }

  async #check(module, budget) {
    for (let i = 0; i < MOST_CHECKS; i++) {
      const generation = this.#generation;
      await this.#fence(module, budget);
      if (generation !== this.#generation) continue;
      keep(this.#fencedIn, module, generation);
      return generation;
    }
    throw new Error('Redis was restarted, failed over or resharded: the module is not fenced yet');
  }

  async #fence(module, budget) {
    try {
      const [life] = await this.#gateway.call(READ, budget, 'cw_fence', module);
      this.#live(String(life));
    } catch (error) {
      if (!(await this.#isRefusal(error, module, budget))) throw error;
      keep(this.#refusedUntil, module, Date.now() + REFUSED_FOR_MS);
      if (!this.#told) this.#tell(new Error('nobody will notice that Redis went back in time', { cause: error }));
      this.#told = true;
    }
  }

  // A new life of the data begins a generation, in case that no connection told of it.
  #live(life) {
    if (this.#lives.has(life)) return;
    if (this.#lives.size > 0) this.#generation++;
    if (this.#lives.size >= MOST_KEPT) this.#lives.clear();
    this.#lives.add(life);
  }

  // A server without any library is no older one: somebody is about to load it.
  async #isRefusal(error, module, budget) {
    if (/^CACHEWRIGHT (NOPERM|cw_fence:)/.test(error.message)) return true;
    if (!/Function not found/.test(error.message)) return false;
    return (await this.#gateway.send(READ, budget, module, ['fcall', 'cw_version', 0])) < SINCE_VERSION;
  }

  #isRefused(module) {
    return Date.now() < (this.#refusedUntil.get(module) ?? 0);
  }
}

function keep(map, name, value) {
  if (map.size >= MOST_KEPT) map.clear();
  map.set(name, value);
}
