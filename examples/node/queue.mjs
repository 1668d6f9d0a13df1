// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Invalidations and releases that did not reach Redis, sent again until they do. Until then nobody here reads what they
// cover from Redis. There is a bound to what waits: beyond it, more is invalidated, never less. So a soft invalidation
// that waits becomes a hard one.

import { isRejected } from './gateway.mjs';

const MOST_SCOPES = 100; // of one module; with more, the whole module waits
const MOST_MODULES = 1000; // with more, all modules of the namespace do
const MOST_RELEASES = 1000; // the marks of further ones stand until their deadlines
const FIRST_PAUSE_MS = 50;
const MOST_PAUSE_MS = 5000;
const EVERY = ''; // module

/** Says that an invalidation is not in effect yet, except for reads through this client. It is sent again. */
export class QueuedError extends Error {
  name = 'QueuedError';
}

export class Queue {
  #calls;
  #onError;
  #modules = new Map(); // by name: {scopes, releases}
  #releases = 0;
  #turn = 0;
  #running = false;
  #hurry = () => {};

  constructor(calls, onError) {
    this.#calls = calls;
    this.#onError = onError;
  }

  /** Reports whether something that waits covers a scope, or an entry, of a module. */
  covers(module, { operation, user, id }) {
    if (this.#modules.size === 0) return false;
    const wider = [{}, { operation }, { user }, { operation, user }, { operation, user, id }].map(nameOf);
    const waiting = [module, EVERY].map((name) => this.#modules.get(name)?.scopes);
    return waiting.some((scopes) => scopes && wider.some((scope) => scopes.has(scope)));
  }

  /**
   * Invalidates a scope by a call. Queues it if that fails, or if what waits covers it already: Redis was out of reach a
   * moment ago, so the caller need not wait to find that out again.
   */
  async send(module, scope, call) {
    let cause = new Error('one that covers it waits already');
    if (!this.covers(module, scope)) {
      try {
        return await call();
      } catch (error) {
        if (isRejected(error)) throw error;
        cause = error;
      }
    }
    this.#add(module, scope);
    throw new QueuedError('the invalidation is queued', { cause });
  }

  /** Queues the release of a hold, which invalidates what it covers. endsAt is when its marks have expired. */
  addRelease(module, id, things, endsAt) {
    for (const thing of things) this.#add(module, thing);
    const waiting = this.#modules.get(module);
    if (!waiting || this.#releases >= MOST_RELEASES) return;
    this.#releases++;
    waiting.releases.push({ id, things, endsAt });
  }

  /** Tries once more to send everything. Throws if that fails. */
  async close() {
    await this.#deliver();
    if (this.#modules.size > 0) throw new QueuedError('invalidations did not reach Redis: invalidate their modules');
  }

  #add(module, scope) {
    if (!this.#modules.has(module) && this.#modules.size >= MOST_MODULES) {
      this.#modules.clear();
      this.#releases = 0;
      return this.#add(EVERY, {});
    }
    const waiting = this.#modules.get(module) ?? { scopes: new Map(), releases: [] };
    this.#modules.set(module, waiting);
    const whole = waiting.scopes.has(WHOLE) || waiting.scopes.size >= MOST_SCOPES || nameOf(scope) === WHOLE;
    if (whole) waiting.scopes.clear();
    // What is requested again while it is sent must be sent once more, so each request has a number.
    waiting.scopes.set(whole ? WHOLE : nameOf(scope), { scope: whole ? {} : scope, turn: ++this.#turn });
    this.#hurry();
    if (!this.#running) this.#run();
  }

  async #run() {
    this.#running = true;
    let pauseMs = FIRST_PAUSE_MS;
    while (this.#modules.size > 0) {
      await this.#rest(pauseMs * (0.5 + Math.random()));
      pauseMs = (await this.#deliver()) ? FIRST_PAUSE_MS : Math.min(2 * pauseMs, MOST_PAUSE_MS);
    }
    this.#running = false;
  }

  // A new request shortens the pause: Redis may be back.
  #rest(ms) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms).unref();
      this.#hurry = () => {
        this.#hurry = () => {};
        clearTimeout(timer);
        setTimeout(resolve, Math.min(ms, FIRST_PAUSE_MS)).unref();
      };
    });
  }

  // Reports whether anything arrived. Modules fail one by one, with the nodes of a cluster.
  async #deliver() {
    const tries = [...this.#modules].map(([module, waiting]) => this.#deliverTo(module, waiting));
    return (await Promise.allSettled(tries)).some(({ value }) => value > 0);
  }

  async #deliverTo(module, waiting) {
    let arrived = 0;
    try {
      for (const release of [...waiting.releases]) {
        await this.#release(module, release);
        waiting.releases.splice(waiting.releases.indexOf(release), 1);
        this.#releases--;
        arrived++;
      }
      for (const [name, { scope, turn }] of [...waiting.scopes]) {
        await this.#invalidate(module, scope);
        if (waiting.scopes.get(name)?.turn === turn) waiting.scopes.delete(name);
        arrived++;
      }
    } catch (error) {
      this.#onError(error);
    }
    const isEmpty = waiting.scopes.size + waiting.releases.length === 0;
    if (isEmpty && this.#modules.get(module) === waiting) this.#modules.delete(module);
    return arrived;
  }

  #release(module, { id, things, endsAt }) {
    return Date.now() < endsAt ? this.#unlessRejected(this.#calls.release(module, id, things)) : null;
  }

  async #invalidate(module, scope) {
    const modules = module === EVERY ? await this.#calls.modules() : [module];
    for (const name of modules) await this.#unlessRejected(this.#calls.invalidate(name, scope));
  }

  // What Redis rejects is never carried out.
  async #unlessRejected(call) {
    try {
      await call;
    } catch (error) {
      if (!isRejected(error)) throw error;
      this.#onError(error);
    }
  }
}

// A text for a scope or, with an id, an entry. Bytes and text that are the same have the same name.
function nameOf({ operation = '', user = '', id }) {
  const texts = [operation, user, ...(id === undefined ? [] : [id])];
  return JSON.stringify(texts.map((text) => Buffer.from(text).toString('latin1')));
}

const WHOLE = nameOf({}); // of a module
