// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

import { randomBytes } from 'node:crypto';

const MOST_THINGS = 64; // of one call
const LATEST_ARRIVAL_MS = 5000; // of a call without an answer: far more than the timeout of commands

/** One hold: see Cachewright.hold. */
export class Hold {
  #call;
  #id = randomBytes(16);
  #things = [];
  #before = Promise.resolve(); // a renewal and the release never run at the same time
  #made = false;
  #unanswered = false;

  /** Why it does not hold, or did not all the time; null if nothing is known of that. */
  error = null;

  constructor(call, things) {
    this.#call = call;
    const args = things.map(({ operation = '', user = '', id }) =>
      id === undefined ? ['s', operation, user, ''] : ['e', operation, user, id],
    );
    for (let i = 0; i < args.length; i += MOST_THINGS) this.#things.push(args.slice(i, i + MOST_THINGS));
  }

  /** Lets the hold last for ms from now on, also if that is earlier. Throws what Redis says. */
  renew(ms) {
    return this.#afterOthers(async () => {
      if (this.#things.length === 0) throw new Error('a hold must name things');
      for (const things of this.#things) {
        const [, stood] = await this.#call('cw_hold', this.#id, ms, ...things.flat()).catch((error) => {
          this.#unanswered = true;
          throw error;
        });
        if (this.#made && stood < things.length) this.error ??= new Error('the hold did not last');
      }
      this.#made = true;
    });
  }

  /** Ends the hold, and invalidates what it did not cover until now. Throws what Redis says: then try again. */
  release() {
    return this.#afterOthers(async () => {
      const lifted = await this.#lift();
      if (this.#made && lifted < this.#things.flat().length) this.error ??= new Error('the hold did not last');
      // A call without an answer may still arrive, and hold again.
      if (this.#unanswered) setTimeout(() => this.#lift().catch(() => {}), LATEST_ARRIVAL_MS).unref();
      this.#made = this.#unanswered = false;
    });
  }

  async #lift() {
    let lifted = 0;
    for (const things of this.#things) lifted += await this.#call('cw_release', this.#id, ...things.flat());
    return lifted;
  }

  #afterOthers(next) {
    const result = this.#before.then(next);
    this.#before = result.catch(() => {});
    return result;
  }
}
