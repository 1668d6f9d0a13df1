// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// What the blocks of docs/how-to/migration.md use without a word: the test appends them to this file.

import assert from 'node:assert/strict';
import { createCache } from 'cache-manager';
import { Cachewright, idOf } from './cachewright.mjs';
import { connect } from './connect.mjs';

const names = new Map();
const nameOf = (id) => ({ id, name: names.get(id) ?? `User ${id}` });

const db = {
  user: async (id) => nameOf(id),
  users: async () => ['1', '2'].map(nameOf),
  rename: async (id, name) => names.set(id, name),
  // A read that has its answer when it starts, and gives it when it is told to finish.
  slowly(id) {
    const { promise: started, resolve: start } = gate();
    const { promise: finished, resolve: finish } = gate();
    const load = async () => {
      const user = nameOf(id);
      start();
      await finished;
      return user;
    };
    return { load, started, finish };
  },
};

function gate() {
  let resolve;
  const promise = new Promise((open) => {
    resolve = open;
  });
  return { promise, resolve };
}

async function until(holds) {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 5));
}

const redis = await connect([`redis://${process.env.REDIS_HOST}:${process.env.REDIS_PORT}`]);
const cache = new Cachewright(redis, 'members', { timeoutMs: 20_000 }); // the machine may be busy
await cache.invalidate('users'); // fences the module, which invalidates what was stored before
