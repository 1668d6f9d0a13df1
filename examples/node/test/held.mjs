// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Holds, and the lag of a source. REDIS_URL is a Redis whose policies of shop/users and shop/lagging cache everything,
// the latter with a sourceLag of a second.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Cachewright, QueuedError } from '../cachewright.mjs';
import { fake, open, patient, skip } from './support/redis.mjs';

const redis = await open();
const MINUTE = 60_000;
const key = (operation, id, user) => ({ module: 'users', operation, id, user });

const cache = redis && new Cachewright(redis, 'shop', patient);
const from = async (of, load = () => 'loaded') => (await cache.fetch(of, load)).from;
const clear = () => cache.invalidate('users');

test('nothing that is held is served or stored', { skip }, async () => {
  const list = { operation: 'list' };
  for (const thing of [{}, list, { user: 'ada' }, { ...list, user: 'ada' }, key('list', 'a', 'ada')]) {
    await clear();
    await from(key('list', 'a', 'ada'));
    await from(key('get', 'a'));
    const hold = await cache.hold('users', MINUTE, thing);
    assert.equal(await from(key('list', 'a', 'ada')), 'held');
    assert.equal(await from(key('list', 'a', 'ada')), 'held');
    if (thing.operation || thing.user) assert.equal(await from(key('get', 'a')), 'cache');
    await hold.release();
    assert.equal(await from(key('list', 'a', 'ada')), 'stored');
    assert.equal(await from(key('list', 'a', 'ada')), 'cache');
    assert.equal(hold.error, null);
  }
});

test('a load from before a hold is not stored after it', { skip }, async () => {
  await clear();
  const entry = key('list', 'a');
  const load = async () => {
    const hold = await cache.hold('users', MINUTE, entry);
    await hold.release();
    return 'from before';
  };
  assert.equal(await from(entry, load), 'fenced');
  assert.equal(await from(entry), 'stored');
});

test('a hold ends at its time, which a renewal may change', { skip }, async () => {
  await clear();
  const entry = key('list', 'a');
  const hold = await cache.hold('users', MINUTE, entry);
  await hold.renew(50);
  assert.equal(hold.error, null);
  await sleep(100);
  assert.equal(await from(entry), 'stored');
  await hold.renew(MINUTE);
  assert.match(hold.error.message, /did not last/);
  assert.equal(await from(entry), 'held');
  await hold.release();
});

test('a hold of many things is made in several calls', { skip }, async () => {
  await clear();
  const entries = Array.from({ length: 150 }, (_, i) => key('list', `entry ${i}`));
  const hold = await cache.hold('users', MINUTE, ...entries);
  for (const entry of [entries[0], entries[149]]) assert.equal(await from(entry), 'held');
  await hold.release();
  assert.equal(hold.error, null);
  for (const entry of [entries[0], entries[149]]) assert.equal(await from(entry), 'stored');
});

test('the lag of the source is obeyed after each invalidation', { skip }, async () => {
  const entry = { ...key('list', 'a', 'ada'), module: 'lagging' };
  for (const forget of [
    () => cache.delete(entry),
    () => cache.invalidate('lagging', { operation: 'list' }),
    () => cache.invalidate('lagging', { user: 'ada' }),
    () => cache.invalidate('lagging'),
  ]) {
    while ((await from(entry)) === 'held') await sleep(50);
    assert.equal(await from(entry), 'cache');
    const began = Date.now();
    await forget();
    assert.equal(await from(entry), 'held');
    while ((await from(entry)) === 'held') await sleep(20);
    assert.ok(Date.now() - began >= 990, `it lagged for ${Date.now() - began} ms`);
  }
});

test('a hold that Redis does not answer holds nothing, and is released', async () => {
  let down = true;
  const answer = (reply) => () => {
    if (down) throw new Error('no answer');
    return reply;
  };
  const broken = fake({ cw_hold: answer([0, 0]), cw_release: answer(0), cw_invalidate: answer([0, 0]) });
  const hold = await new Cachewright(broken, 'shop').hold('users', MINUTE, { operation: 'list' });
  assert.equal(hold.error.message, 'no answer');
  await assert.rejects(hold.release(), (error) => error instanceof QueuedError && error.cause.message === 'no answer');
  down = false;
  await hold.release();
  assert.deepEqual(broken.calls, ['cw_hold', 'cw_release', 'cw_release']);
});

test('a release that fails halfway says nothing about the hold', async () => {
  let left = 3; // calls until there is no answer
  const marked = new Set();
  const broken = fake({
    cw_hold: (id, ms, ...things) => [things.length / 4, marked.add(String(things[3])) && 0],
    cw_release: (id, ...things) => {
      const stood = marked.delete(String(things[3])) ? things.length / 4 : 0;
      if (left-- === 0) throw new Error('no answer'); // it was carried out
      return stood;
    },
    cw_invalidate: () => [0, 0],
    cw_delete: () => 0,
  });
  const things = Array.from({ length: 300 }, (_, i) => ({ operation: 'list', id: `entry ${i}` }));
  const hold = await new Cachewright(broken, 'shop').hold('users', MINUTE, ...things);
  assert.equal(hold.error, null);
  await assert.rejects(hold.release(), /queued/);
  await hold.release();
  assert.equal(hold.error, null);
  assert.equal(broken.calls.filter((name) => name === 'cw_release').length, 6);
});

test('a call that was not answered may arrive late, so it is released once more', async (t) => {
  const redis = fake({
    cw_hold: () => {
      throw new Error('no answer');
    },
    cw_release: () => 0,
  });
  const hold = await new Cachewright(redis, 'shop', patient).hold('users', MINUTE, { operation: 'list' });
  const { setTimeout } = globalThis;
  t.after(() => (globalThis.setTimeout = setTimeout));
  let late;
  globalThis.setTimeout = (call, ms) => {
    late = { call, ms };
    return { unref() {} };
  };
  await hold.release();
  assert.deepEqual(redis.calls, ['cw_hold', 'cw_release']);
  assert.ok(late.ms >= 1000, `once more after ${late.ms} ms`);
  await late.call();
  assert.deepEqual(redis.calls, ['cw_hold', 'cw_release', 'cw_release']);
});

test('a renewal and the release never run at the same time', async () => {
  const log = [];
  const slow = (name, reply) => async () => {
    log.push(`${name} begins`);
    await sleep(5);
    log.push(`${name} ends`);
    return reply;
  };
  const redis = fake({ cw_hold: slow('cw_hold', [0, 1]), cw_release: slow('cw_release', 1) });
  const hold = await new Cachewright(redis, 'shop', patient).hold('users', MINUTE, { operation: 'list' });
  await Promise.all([hold.renew(MINUTE), hold.release(), hold.release()]);
  const calls = ['cw_hold', 'cw_hold', 'cw_release'];
  assert.deepEqual(log, calls.flatMap((name) => [`${name} begins`, `${name} ends`]));
});

test('a hold that cannot be is refused, and leaves no mark', { skip }, async () => {
  const entry = key('list', 'of what is not held');
  const bad = {
    'no time': [0, entry],
    'too much time': [600_001, entry],
    'no things': [MINUTE],
    'an operation that is too long': [MINUTE, entry, { operation: 'o'.repeat(129) }],
    'a user that is too long': [MINUTE, entry, { user: 'u'.repeat(257) }],
    'an id that is too long': [MINUTE, entry, key('list', 'i'.repeat(1025))],
    'an entry without an operation': [MINUTE, entry, { id: 'a' }],
  };
  for (const [name, [ms, ...things]] of Object.entries(bad)) {
    const hold = await cache.hold('users', ms, ...things);
    assert.match(hold.error?.message ?? 'none', /^CACHEWRIGHT cw_hold|must name things/, name);
    assert.match((await cache.fetch(entry, () => 'loaded')).from, /stored|cache/, name);
    await hold.release().catch(() => {});
  }
});

test('the release of what is not held invalidates it', { skip }, async () => {
  const entry = key('list', 'of which the mark is lost');
  const hold = await cache.hold('users', MINUTE, entry);
  const other = await cache.hold('users', MINUTE, entry);
  await other.release();
  await hold.renew(1);
  await sleep(20);
  assert.equal((await cache.fetch(entry, () => 'loaded')).from, 'stored');
  await hold.release();
  assert.match(hold.error.message, /did not last/);
  assert.equal((await cache.fetch(entry, () => 'loaded')).from, 'stored');
});

test('a hold of what has no policy is harmless', { skip }, async () => {
  const nowhere = { module: 'nowhere', operation: 'list', id: 'a' };
  const hold = await cache.hold('nowhere', MINUTE, nowhere, {});
  assert.equal(hold.error, null);
  assert.equal((await cache.fetch(nowhere, () => 'loaded')).from, 'disabled');
  await hold.release();
  assert.equal(hold.error, null);
  assert.deepEqual(await redis.send('cw:{shop/nowhere}', ['keys', 'cw:{shop/nowhere}:[emou]*']), []);
});
