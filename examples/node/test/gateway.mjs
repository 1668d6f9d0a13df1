// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// A failing Redis costs next to nothing.

import assert from 'node:assert/strict';
import { stat } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Cachewright } from '../cachewright.mjs';
import { entry, fake, heads } from './support/redis.mjs';

const key = { module: 'users', operation: 'list', id: 'a' };
const never = () => new Promise(() => {});
const rejects = (message) => () => {
  throw new Error(message);
};
const count = (redis, name) => redis.calls.filter((call) => call === name).length;

test('a Redis that hangs delays three reads, and no other', async () => {
  let serves = false;
  const redis = fake({
    cw_fence: () => (serves ? [Buffer.from('life'), 0] : never()),
    cw_get: (...args) => (serves ? rejects(`CACHEWRIGHT cw_get: ${args.length} arguments`)() : never()),
    mget: () => [entry(), ...heads],
  });
  const cache = new Cachewright(redis, 'shop', { timeoutMs: 50 });
  const read = async () => (await cache.fetch(key, () => 'loaded')).from;
  const began = performance.now();
  for (let i = 0; i < 300; i++) assert.equal(await read(), 'unavailable');
  const took = performance.now() - began;
  assert.equal(count(redis, 'cw_fence'), 3);
  assert.ok(took >= 140 && took < 5000, `300 reads took ${took} ms`); // of 50 ms each, it would be 15,000

  serves = true;
  const end = Date.now() + 10_000;
  while ((await read()) !== 'cache' && Date.now() < end) await sleep(10);
  assert.equal(await read(), 'cache');
});

test('while a trial fails, nobody else asks', async () => {
  const redis = fake({ cw_fence: rejects('no connection'), cw_get: rejects('no connection') });
  const cache = new Cachewright(redis, 'shop', { timeoutMs: 5000 });
  const end = Date.now() + 1800;
  while (Date.now() < end) {
    await cache.fetch(key, () => 'loaded');
    await sleep(1);
  }
  assert.equal(count(redis, 'cw_fence'), 3);
  assert.ok(count(redis, 'cw_get') >= 1 && count(redis, 'cw_get') <= 4, `${count(redis, 'cw_get')} trials`);
});

test('a Redis that answers slowly is as bad as one that does not', async () => {
  const redis = fake({ mget: () => sleep(400).then(() => [entry(), ...heads]) });
  const cache = new Cachewright(redis, 'shop', { timeoutMs: 600 });
  const from = [];
  for (let i = 0; i < 6; i++) from.push((await cache.fetch(key, () => 'loaded')).from);
  assert.deepEqual(from, ['cache', 'cache', 'cache', 'unavailable', 'unavailable', 'unavailable']);
});

test('a Redis without memory serves hits, and leases nothing', async () => {
  let isCached = false;
  const redis = fake({
    mget: () => (isCached ? [entry(), ...heads] : [null, null, null]),
    cw_get: () => [0, Buffer.from('1mmm')],
    cw_set: rejects("OOM command not allowed when used memory > 'maxmemory'"),
  });
  const cache = new Cachewright(redis, 'shop', { timeoutMs: 5000 });
  for (let i = 0; i < 20; i++) assert.equal((await cache.fetch(key, () => 'loaded')).from, 'unavailable');
  assert.equal(count(redis, 'cw_get'), 3);
  isCached = true;
  assert.equal((await cache.fetch(key, () => 'loaded')).from, 'cache');
});

test('what Redis rejects says nothing against it', async () => {
  const redis = fake({ cw_get: rejects('CACHEWRIGHT cw_get: the id is too long') });
  const cache = new Cachewright(redis, 'shop', { timeoutMs: 5000 });
  for (let i = 0; i < 20; i++) assert.equal((await cache.fetch(key, () => 'loaded')).from, 'unavailable');
  assert.equal(count(redis, 'cw_get'), 20);
});

test('modules fail one by one', async () => {
  const redis = fake({ mget: (first) => (String(first).includes('/users}') ? never() : [entry(), ...heads]) });
  const cache = new Cachewright(redis, 'shop', { timeoutMs: 200 });
  for (let i = 0; i < 5; i++) assert.equal((await cache.fetch(key, () => 'loaded')).from, 'unavailable');
  assert.equal((await cache.fetch({ ...key, module: 'other' }, () => 'loaded')).from, 'cache');
});

test('a busy process sees the answers that have arrived before it gives up', async () => {
  const busy = () => {
    const end = performance.now() + 300;
    while (performance.now() < end);
  };
  const redis = fake({
    mget: () =>
      new Promise((resolve) => {
        setImmediate(() => {
          stat('.', () => resolve([entry(), ...heads]));
          busy(); // while the answer arrives
        });
      }),
  });
  const cache = new Cachewright(redis, 'shop', { timeoutMs: 200 });
  assert.equal((await cache.fetch(key, () => 'loaded')).from, 'cache');
});
