// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

const MOST_NAMES = 1000; // between two reports

/** What Redis does not count itself: hits by MGET. */
export class Counts {
  #calls;
  #byName = new Map();

  constructor(calls) {
    this.#calls = calls;
  }

  /** Counts a read: what is 'hits' or 'stale'. */
  add({ module, operation }, what, more = 1) {
    const name = `${module}/${operation}`; // no module contains a slash
    if (!this.#byName.has(name) && this.#byName.size >= MOST_NAMES) return;
    const counts = this.#byName.get(name) ?? { module, operation, hits: 0, stale: 0 };
    counts[what] += more;
    this.#byName.set(name, counts);
  }

  /** Reports the counts since the last time. Keeps those that Redis did not get, and returns the first failure. */
  async report() {
    const counted = [...this.#byName.values()];
    this.#byName.clear();
    const reports = counted.map(({ module, operation, ...counts }) =>
      this.#calls.report(module, operation, counts).catch((error) => {
        for (const what of Object.keys(counts)) this.add({ module, operation }, what, counts[what]);
        throw error;
      }),
    );
    return (await Promise.allSettled(reports)).find(({ reason }) => reason)?.reason ?? null;
  }
}
