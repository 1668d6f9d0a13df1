// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Invalidations that do not reach Redis are obeyed here at once, and sent until they arrive.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Cachewright, QueuedError } from '../cachewright.mjs';
import { entry, fake, heads } from './support/redis.mjs';

const key = (operation, id = 'a', user = '') => ({ module: 'users', operation, id, user });

// A Redis that hears of nothing while it is down, but whose entries can be read.
function open(more = {}) {
  const sent = [];
  const state = { isDown: true, sent };
  const change = (name, reply) => (...args) => {
    if (state.isDown) throw new Error('no connection');
    sent.push([name, ...args].map(String));
    return reply;
  };
  const redis = fake({
    mget: (...keys) => [entry(), ...heads, ...keys.slice(3).map(() => heads[0])],
    cw_invalidate: change('cw_invalidate', [0, 0]),
    cw_delete: change('cw_delete', 0),
    cw_hold: change('cw_hold', [0, 0]),
    cw_release: change('cw_release', 1),
    smembers: change('smembers', ['users', 'others'].map(Buffer.from)),
    ...more,
  });
  const cache = new Cachewright(redis, 'shop', { onUnclaimed: () => {} });
  const from = async (of) => (await cache.fetch(of, () => 'loaded')).from;
  const back = async () => {
    state.isDown = false;
    while ((await from(key('list'))) === 'queued' || (await from(key('get'))) === 'queued') await sleep(10);
  };
  return Object.assign(state, { redis, cache, from, back });
}

const queued = (promise) => assert.rejects(promise, (error) => error instanceof QueuedError);

test('what a queued invalidation covers is not read, until it is done', async () => {
  for (const [invalidate, covered, others] of [
    [(cache) => cache.delete(key('list')), [key('list')], [key('list', 'b'), key('get')]],
    [(cache) => cache.invalidate('users', { operation: 'list' }), [key('list'), key('list', 'b')], [key('get')]],
    [(cache) => cache.invalidate('users'), [key('list'), key('get')], [{ ...key('get'), module: 'others' }]],
  ]) {
    const it = open();
    await queued(invalidate(it.cache));
    for (const of of covered) assert.equal(await it.from(of), 'queued');
    for (const of of others) assert.notEqual(await it.from(of), 'queued');
    await it.back();
    for (const of of covered) assert.notEqual(await it.from(of), 'queued');
    assert.equal(it.sent.length, 1);
  }
});

test('a queued invalidation of a user covers entries of that user', async () => {
  const it = open();
  await queued(it.cache.invalidate('users', { user: 'ada' }));
  assert.equal(await it.from(key('list', 'a', 'ada')), 'queued');
  assert.equal(await it.from(key('list', 'a', Buffer.from('ada'))), 'queued');
  for (const of of [key('list'), key('list', 'a', 'eve')]) assert.notEqual(await it.from(of), 'queued');
});

test('what is covered already is queued without a call', async () => {
  const it = open();
  await queued(it.cache.invalidate('users', { operation: 'list' }));
  const calls = it.redis.calls.length;
  await queued(it.cache.delete(key('list', 'b')));
  assert.equal(it.redis.calls.length, calls);
  await it.back();
});

test('an invalidation that is requested again while it is sent is sent once more', async () => {
  let during = null;
  const it = open();
  await queued(it.cache.delete(key('list')));
  const { redis } = it;
  const send = redis.send;
  redis.send = async (slot, command) => {
    const reply = await send(slot, command);
    if (command[1] === 'cw_delete' && during === null) during = queued(it.cache.delete(key('list')));
    return reply;
  };
  await it.back();
  await during;
  assert.equal(it.sent.filter(([name]) => name === 'cw_delete').length, 2);
});

test('many scopes of a module become the module, and many modules all of them', async () => {
  const it = open();
  for (let i = 0; i < 101; i++) await queued(it.cache.delete(key('list', `${i}`)));
  assert.equal(await it.from(key('get')), 'queued');
  await it.back();
  assert.deepEqual(it.sent, [['cw_invalidate', '', '', 'hard', '']]);

  const wide = open();
  for (let i = 0; i < 1001; i++) await queued(wide.cache.invalidate(`module${i}`));
  assert.equal(await wide.from({ ...key('get'), module: 'never heard of' }), 'queued');
  await wide.back();
  assert.deepEqual(wide.sent.map(([name]) => name), ['smembers', 'cw_invalidate', 'cw_invalidate']);
});

test('what Redis rejects is not queued', async () => {
  const reject = () => {
    throw new Error('CACHEWRIGHT cw_delete: the id is too long');
  };
  const it = open({ cw_delete: reject });
  await assert.rejects(it.cache.delete(key('list')), /too long/);
  assert.equal(await it.from(key('list')), 'cache');
});

test('a release that fails is sent until it is done, and covers what was held', async () => {
  const it = open();
  it.isDown = false;
  const hold = await it.cache.hold('users', 60_000, key('list'), { operation: 'get' });
  it.isDown = true;
  await queued(hold.release());
  for (const of of [key('list'), key('get', 'b')]) assert.equal(await it.from(of), 'queued');
  await it.back();
  assert.deepEqual(it.sent.map(([name]) => name).sort(), ['cw_delete', 'cw_hold', 'cw_invalidate', 'cw_release']);
  assert.deepEqual(it.sent.find(([name]) => name === 'cw_release')[1], it.sent[0][1]);
});

test('a put that fails is an invalidation', async () => {
  const broken = () => {
    throw new Error('no connection');
  };
  const it = open({ cw_put: broken });
  await queued(it.cache.put(key('list'), 'payload'));
  assert.equal(await it.from(key('list')), 'queued');
  await it.back();
  assert.equal(await it.cache.put(key('list'), 'payload'), 'unavailable');
  assert.deepEqual(it.sent, [['cw_delete', 'list', 'a', ''], ['cw_delete', 'list', 'a', '']]);
});

test('a client that closes sends once more what waits', async () => {
  const it = open();
  await queued(it.cache.delete(key('list')));
  await queued(it.cache.close());
  it.isDown = false;
  await it.cache.close();
  assert.equal(it.sent.length, 1);
});

test('entries are not filled while an invalidation of them waits', async () => {
  const it = open({ mget: () => [null, null, null], cw_get: () => [0, Buffer.from('1mmm')] });
  const load = async () => {
    await queued(it.cache.delete(key('list')));
    return 'loaded';
  };
  assert.equal((await it.cache.fetch(key('list'), load)).from, 'queued');
  assert.ok(!it.redis.calls.includes('cw_set'));
});
