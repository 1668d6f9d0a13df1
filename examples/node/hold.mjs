// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

import { randomBytes } from 'node:crypto';
import { LATEST_ARRIVAL_MS, isRejected } from './gateway.mjs';
import { QueuedError } from './queue.mjs';

const MOST_THINGS = 64; // of one call

/** One hold: see Cachewright.hold. */
export class Hold {
  #calls;
  #queue;
  #module;
  #id = randomBytes(16);
  #parts = []; // what one call covers each
  #before = Promise.resolve(); // a renewal and the release never run at the same time
  #endsAt = 0;

  /** Why it does not hold, or did not all the time; null if nothing is known of that. */
  error = null;

  constructor(calls, queue, module, things) {
    this.#calls = calls;
    this.#queue = queue;
    this.#module = module;
    for (let i = 0; i < things.length; i += MOST_THINGS) {
      // made: a call put its marks. isSure: no call without an answer may have put or taken them.
      this.#parts.push({ things: things.slice(i, i + MOST_THINGS), made: false, isSure: true, released: false });
    }
  }

  /** Lets the hold last for ms from now on, also if that is earlier. Throws what Redis says. */
  renew(ms) {
    return this.#afterOthers(async () => {
      if (this.#parts.length === 0) throw new Error('a hold must name things');
      for (const part of this.#parts) await this.#renew(part, ms);
    });
  }

  async #renew(part, ms) {
    const [, stood] = await this.#sure(part, ms, () => this.#calls.hold(this.#module, this.#id, ms, part.things));
    if (part.made && stood < part.things.length) this.#lose();
    Object.assign(part, { made: true, released: false });
  }

  /**
   * Ends the hold, and invalidates what it did not cover until now. Throws a QueuedError if Redis cannot be reached: then
   * it is sent again until it is done, and reads of this client go to the source until then.
   */
  release() {
    return this.#afterOthers(async () => {
      const failures = [];
      // What was released already is released no more: its marks are gone, which says nothing about the hold.
      for (const part of this.#parts.filter(({ released }) => !released)) {
        await this.#release(part).catch((error) => failures.push(error));
      }
      if (failures.length === 0) return;
      if (failures.every(isRejected)) throw failures[0];
      throw new QueuedError('the release is queued', { cause: failures[0] });
    });
  }

  async #release(part) {
    const { made, isSure } = part;
    const release = () => this.#calls.release(this.#module, this.#id, part.things);
    try {
      const lifted = await this.#sure(part, 0, release);
      part.released = true;
      if (made && isSure && lifted < part.things.length) this.#lose();
    } catch (error) {
      if (!isRejected(error)) this.#queue.addRelease(this.#module, this.#id, part.things, this.#endsAt);
      throw error;
    } finally {
      // A call without an answer may still arrive, and hold again.
      if (!part.isSure) setTimeout(() => release().catch(() => {}), LATEST_ARRIVAL_MS).unref();
    }
  }

  async #sure(part, ms, call) {
    this.#endsAt = Math.max(this.#endsAt, Date.now() + ms + LATEST_ARRIVAL_MS);
    try {
      return await call();
    } catch (error) {
      if (!isRejected(error)) part.isSure = false;
      throw error;
    }
  }

  #lose() {
    this.error ??= new Error('the hold did not last');
  }

  #afterOthers(next) {
    const result = this.#before.then(next);
    this.#before = result.catch(() => {});
    return result;
  }
}
