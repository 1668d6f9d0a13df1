// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// What Redis brought back from an older state is not served.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import Redis from 'ioredis';
import { Cachewright } from '../cachewright.mjs';
import { entry, fake, heads, patient } from './support/redis.mjs';

const key = { module: 'users', operation: 'list', id: 'a' };
const hit = () => [entry(), ...heads];
const life = (name) => [Buffer.from(name), 0];
const fences = (redis) => redis.calls.filter((name) => name === 'cw_fence').length;

function open(functions) {
  const redis = fake({ mget: hit, ...functions });
  const errors = [];
  const cache = new Cachewright(redis, 'shop', { ...patient, onError: (error) => errors.push(error.message) });
  return { redis, errors, from: async (of = key) => (await cache.fetch(of, () => 'loaded')).from };
}

test('a module is fenced before it is read, and once in each generation', async () => {
  const { redis, from } = open({});
  await Promise.all([from(), from()]);
  await from();
  assert.deepEqual(redis.calls, ['cw_fence', 'mget', 'mget', 'mget']);
  redis.changed();
  assert.equal(await from(), 'cache');
  assert.equal(await from({ ...key, module: 'other' }), 'cache');
  assert.deepEqual(redis.calls.slice(4), ['cw_fence', 'mget', 'cw_fence', 'mget']);
});

test('a reply counts only if no other server may have given it', async () => {
  for (const [changes, served] of [[1, 'cache'], [2, 'unavailable']]) {
    let left = changes;
    const { redis, from } = open({
      mget: () => {
        if (left-- > 0) redis.changed();
        return hit();
      },
    });
    assert.equal(await from(), served, `${changes} changes`);
    assert.equal(fences(redis), 2);
  }
});

test('a lease counts only if no other server may have given it', async () => {
  let left = 1;
  const { redis, from } = open({
    mget: () => [null, null, null],
    cw_get: () => {
      if (left-- > 0) redis.changed();
      return [1, Buffer.from('payload'), 1000, 0];
    },
  });
  assert.equal(await from(), 'cache');
  assert.deepEqual(redis.calls, ['cw_fence', 'mget', 'cw_get', 'cw_fence', 'cw_get']);
});

test('a connection that is new while a module is fenced is asked, too', async () => {
  let left = 2;
  const { redis, from } = open({
    cw_fence: () => {
      if (left-- > 0) redis.changed();
      return life('a');
    },
  });
  assert.equal(await from(), 'cache');
  assert.equal(fences(redis), 3);
  left = Infinity;
  redis.changed();
  assert.equal(await from(), 'unavailable');
});

test('another life of the data begins a generation for all modules', async () => {
  let now = 'a';
  const { redis, from } = open({ cw_fence: () => life(now) });
  await from();
  await from({ ...key, module: 'other' });
  now = 'b'; // behind the same connection
  await from({ ...key, module: 'third' });
  redis.calls.length = 0;
  await from();
  assert.deepEqual(redis.calls, ['cw_fence', 'mget']);
});

test('a fence that Redis does not answer keeps the module from being read', async () => {
  const { redis, from } = open({
    cw_fence: () => {
      throw new Error('no answer');
    },
    cw_version: () => 4,
  });
  assert.equal(await from(), 'unavailable');
  assert.ok(!redis.calls.includes('mget'));
});

test('where the call is refused, the client says so once and goes on', async () => {
  for (const [message, version] of [
    ['CACHEWRIGHT NOPERM cw_fence needs the right to call INFO (+info)', 0],
    ['CACHEWRIGHT cw_fence: INFO has neither run_id nor master_replid', 0],
    ['ERR Function not found', 4],
  ]) {
    const refuse = () => {
      throw new Error(message);
    };
    const { redis, errors, from } = open({ cw_fence: refuse, cw_version: () => version });
    for (const module of ['users', 'other', 'users']) assert.equal(await from({ ...key, module }), 'cache');
    redis.changed();
    assert.equal(await from(), 'cache');
    assert.deepEqual(errors, ['nobody will notice that Redis went back in time'], message);
    assert.equal(fences(redis), 2);
  }
});

test('a server without a library, or with a new one, is no older one', async () => {
  const missing = () => {
    throw new Error('ERR Function not found');
  };
  for (const cw_version of [missing, () => 5]) {
    const { errors, from } = open({ cw_fence: missing, cw_version });
    assert.equal(await from(), 'unavailable');
    assert.deepEqual(errors, ['ERR Function not found']);
  }
});

test('a client that reads replicas, or puts a prefix before keys, is refused', () => {
  const lazy = { lazyConnect: true };
  for (const client of [
    new Redis.Cluster(['redis://127.0.0.1:1'], { ...lazy, scaleReads: 'slave' }),
    new Redis.Cluster(['redis://127.0.0.1:1'], { ...lazy, scaleReads: (nodes) => nodes[0] }),
    new Redis({ ...lazy, sentinels: [{ host: '127.0.0.1', port: 1 }], name: 'shop', role: 'slave' }),
    new Redis({ ...lazy, keyPrefix: 'shop:' }),
  ]) {
    assert.throws(() => new Cachewright(client, 'shop'), TypeError);
  }
  assert.doesNotThrow(() => new Cachewright(new Redis(lazy), 'shop'));
  assert.doesNotThrow(() => new Cachewright(new Redis.Cluster(['redis://127.0.0.1:1'], lazy), 'shop'));
});

test('the load lock of a lease that does not count is given back', async () => {
  let left = 1;
  const { redis, from } = open({
    mget: () => [null, null, null],
    cw_get: () => {
      if (left-- > 0) redis.changed();
      return [0, Buffer.from(`2${'m'.repeat(11)}${'o'.repeat(22)}`)];
    },
    cw_set: () => 1000,
    cw_unlock: () => 1,
  });
  assert.equal(await from(), 'stored');
  assert.deepEqual(redis.calls, ['cw_fence', 'mget', 'cw_get', 'cw_unlock', 'cw_fence', 'cw_get', 'cw_set']);
});
