// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Names that no policy lists. REDIS_URL is a Redis whose policy of shop/users caches list and nothing else, and that of
// shop/all everything. Its list of the modules of shop has these, and lost, whose policy is gone.

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { Cachewright } from '../cachewright.mjs';
import { fake, open, patient, skip } from './support/redis.mjs';

const redis = await open();
const KEY = 'cw:{shop}:unclaimed';
const told = [];
const errors = [];
const options = { ...patient, onUnclaimed: (sentence) => told.push(sentence), onError: (error) => errors.push(error.message) };
const read = (cache, module, operation) => cache.fetch({ module, operation, id: 'a' }, () => 'loaded');

// What the library counted, without the time since.
async function counted() {
  const flat = (await redis.send(KEY, ['fcall', 'cw_unclaimed', 1, KEY])).map(String);
  const names = [];
  for (let i = 0; i < flat.length; i += 5) names.push(flat.slice(i, i + 4).join(' '));
  return names.sort();
}

beforeEach(async () => {
  await redis?.send(KEY, ['del', KEY]);
  told.length = errors.length = 0;
});

test('names that no policy lists are told once, and reported', { skip }, async () => {
  const cache = new Cachewright(redis, 'shop', options);
  for (let round = 0; round < 2; round++) {
    for (const operation of ['list', 'lst', 'lst']) await read(cache, 'users', operation);
    await read(cache, 'user', 'list');
    await cache.delete({ module: 'user', operation: 'get', id: 'a' });
    await cache.invalidate('user');
    await cache.invalidate('users');
    await cache.delete({ module: 'all', operation: 'get', id: 'a' });
    await read(cache, 'lost', 'list');
    await cache.reportUnclaimed();
  }
  assert.deepEqual(await counted(), ['user  2 4', 'users lst 4 0']);
  assert.deepEqual(told.sort(), [
    'No CachePolicy of namespace shop lists module user: nothing is cached',
    'No CachePolicy of namespace shop lists module users, operation lst: nothing is cached',
  ]);
});

test('a namespace without a list of modules reports nothing', { skip }, async () => {
  const cache = new Cachewright(redis, 'shpo', options);
  await read(cache, 'users', 'list');
  await cache.reportUnclaimed();
  assert.deepEqual([told, errors, await redis.send('cw:{shpo}', ['exists', 'cw:{shpo}:unclaimed'])], [[], [], 0]);
});

test('names that no policy can have are not reported, and no more than 64 at once', { skip }, async () => {
  const cache = new Cachewright(redis, 'shop', options);
  for (const operation of ['', 'white space', '-list', 'o'.repeat(129)]) {
    await cache.delete({ module: 'users', operation, id: 'a' }).catch(() => {});
  }
  for (let i = 0; i < 70; i++) await read(cache, 'users', `operation:${i}`);
  await cache.reportUnclaimed();
  assert.deepEqual([(await counted()).length, errors], [64, []]);
});

test('a refused report is not sent again and again', async () => {
  let reports = 0;
  const refusing = fake({
    cw_policy_get: () => Buffer.from('{"operations":[]}'),
    cw_unclaimed: () => {
      reports++;
      throw new Error('NOPERM');
    },
  });
  const cache = new Cachewright(refusing, 'shop', options);
  for (let round = 0; round < 3; round++) {
    await read(cache, 'users', 'list');
    await cache.reportUnclaimed();
  }
  assert.deepEqual([reports, errors], [1, ['NOPERM']]);
});
