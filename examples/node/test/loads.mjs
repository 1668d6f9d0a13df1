// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Who loads, who waits, and who gets what. REDIS_URL is a Redis whose policies of shop/users and shop/lagging cache
// everything.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Cachewright } from '../cachewright.mjs';
import { entry, fake, heads, open, patient, skip } from './support/redis.mjs';

const redis = await open();
const client = (over = redis) => new Cachewright(over, 'shop', patient);
let last = 0;
const fresh = (user = '') => ({ module: 'users', operation: 'list', id: `loads ${last++}`, user });
const token = (locked, fence = 'f') => Buffer.from(`${locked}${'m'.repeat(11)}${'o'.repeat(11)}${fence.repeat(11)}`);

// A loader that waits until it is let go on.
function gate(payload = 'loaded') {
  const it = { loads: 0, began: null, goOn: null };
  const going = new Promise((resolve) => (it.goOn = resolve));
  it.began = new Promise((resolve) => {
    it.load = async () => {
      it.loads++;
      resolve();
      await going;
      if (payload instanceof Error) throw payload;
      return payload;
    };
  });
  return it;
}

test('callers of one entry share a load, and each gets bytes of its own', { skip }, async () => {
  const [cache, key, it] = [client(), fresh(), gate(Buffer.from('loaded'))];
  const reads = Array.from({ length: 100 }, () => cache.fetch(key, it.load));
  await it.began;
  await sleep(50);
  it.goOn();
  const got = await Promise.all(reads);
  assert.equal(it.loads, 1);
  assert.equal(new Set(got.map(({ payload }) => payload)).size, 100);
  for (const { payload, from } of got) assert.equal(`${from} ${payload}`, 'stored loaded');
});

test('a load that fails, fails for all that share it', { skip }, async () => {
  const [cache, key, it] = [client(), fresh(), gate(new Error('broken'))];
  const reads = Array.from({ length: 10 }, () => cache.fetch(key, it.load));
  await it.began;
  await sleep(20);
  it.goOn();
  for (const { reason } of await Promise.allSettled(reads)) assert.equal(reason?.message, 'broken');
  assert.equal(it.loads, 1);
  assert.equal((await cache.fetch(key, () => 'again')).from, 'stored');
});

test('a caller that comes after an invalidation does not join an older load', { skip }, async () => {
  const [cache, key, old] = [client(), fresh(), gate('old')];
  const before = cache.fetch(key, old.load);
  await old.began;
  await cache.delete(key);
  assert.equal((await cache.fetch(key, () => 'new')).payload, 'new');
  old.goOn();
  assert.equal((await before).from, 'fenced');
  assert.equal(String((await cache.fetch(key, () => assert.fail('not a hit'))).payload), 'new');
});

test('processes wait for the load of another', { skip }, async () => {
  const [key, it] = [fresh(), gate()];
  const first = client().fetch(key, it.load);
  await it.began;
  const others = [client(), client()].map((cache) => cache.fetch(key, () => assert.fail('it did not wait')));
  await sleep(100);
  it.goOn();
  assert.equal((await first).from, 'stored');
  for (const other of others) assert.equal((await other).from, 'cache');
});

test('a process whose load fails lets another one load at once', { skip }, async () => {
  const [key, it] = [fresh(), gate(new Error('broken'))];
  const first = client().fetch(key, it.load);
  await it.began;
  const other = client().fetch(key, () => 'of another');
  await sleep(50);
  const began = Date.now();
  it.goOn();
  await assert.rejects(first, /broken/);
  assert.equal((await other).from, 'stored');
  assert.ok(Date.now() - began < 800, 'it waited for the end of the lock');
});

test('nobody waits for a process for more than a second', { skip }, async () => {
  const [key, it] = [fresh(), gate()];
  const first = client().fetch(key, it.load);
  await it.began;
  const began = Date.now();
  assert.equal((await client().fetch(key, () => 'of another')).payload, 'of another');
  assert.ok(Date.now() - began >= 500, 'it did not wait');
  it.goOn();
  await first;
});

test('the load lock goes to the flight that waits for it', async () => {
  let leases = 0;
  const over = fake({
    cw_get: () => (leases++ === 0 ? [0, token(2), 900] : [0, token(1)]),
    mget: (...keys) => (keys.length === 4 ? [null, ...heads, token(1)] : [null, ...heads]),
    cw_set: () => 1000,
  });
  const [cache, key, began] = [client(over), fresh(), Date.now()];
  let loads = 0;
  const load = () => `loaded ${++loads}`;
  const got = await Promise.all([cache.fetch(key, load), sleep(30).then(() => cache.fetch(key, load))]);
  assert.deepEqual(got.map(({ payload }) => payload), ['loaded 1', 'loaded 1']);
  assert.ok(Date.now() - began < 500, 'it waited for a lock that this process had');
});

test('a load lock that comes while the entry is stored is given back', async () => {
  const over = fake({
    mget: () => [null, ...heads],
    cw_get: () => [0, token(1)],
    cw_set: () => sleep(60).then(() => 1000),
    cw_unlock: () => 1,
  });
  const [cache, key] = [client(over), fresh()];
  await Promise.all([cache.fetch(key, () => 'loaded'), sleep(30).then(() => cache.fetch(key, () => 'loaded again'))]);
  await sleep(0);
  assert.deepEqual(over.calls.filter((name) => name !== 'cw_fence'), ['mget', 'cw_get', 'cw_set', 'mget', 'cw_get', 'cw_unlock']);
});

test('what the policy refused is not shared without a user', async () => {
  for (const [user, shares] of [['', false], ['ada', true]]) {
    const over = fake({ cw_get: () => [0, token(1)], cw_set: () => -2 });
    const cache = client(over);
    const key = fresh(user);
    let loads = 0;
    const load = async () => {
      await sleep(20);
      return `loaded ${++loads}`;
    };
    const got = await Promise.all([cache.fetch(key, load), cache.fetch(key, load)]);
    assert.equal(got[0].payload === got[1].payload, shares);
    for (const { from } of got) assert.equal(from, 'refused');
  }
});

test('a caller of what is held joins only a load that begins later', async () => {
  const over = fake({ cw_get: () => [0, '0', 0, 60_000] });
  const [cache, key, it] = [client(over), fresh(), gate('before')];
  const first = cache.fetch(key, it.load);
  await it.began;
  let loads = 0;
  const later = Array.from({ length: 10 }, () => cache.fetch(key, () => `after ${++loads}`));
  while (over.calls.filter((name) => name === 'cw_get').length < 11) await sleep(1);
  await sleep(0); // now all of them wait
  assert.equal(loads, 0);
  it.goOn();
  assert.equal((await first).payload, 'before');
  for (const { payload, from } of await Promise.all(later)) assert.equal(`${from} ${payload}`, 'held after 1');
});

test('a loader may read other entries, and not its own', { skip }, async () => {
  const [cache, one, other] = [client(), fresh(), fresh()];
  const nested = async () => String((await cache.fetch(other, () => 'inner')).payload);
  assert.equal((await cache.fetch(one, nested)).payload, 'inner');
  const [cycle, back] = [fresh(), fresh()];
  const again = () => cache.fetch(cycle, () => 'never');
  await assert.rejects(cache.fetch(cycle, again), /fetches its own entry/);
  await assert.rejects(cache.fetch(cycle, () => cache.fetch(back, again)), /fetches its own entry/);
});

test('loaders that read each other’s entries do not wait for each other', { skip }, async () => {
  const [cache, one, other] = [client(), fresh(), fresh()];
  const crossing = (of) => async () => {
    await sleep(20);
    return (await cache.fetch(of, () => 'inner')).payload;
  };
  const got = await Promise.all([cache.fetch(one, crossing(other)), cache.fetch(other, crossing(one))]);
  assert.deepEqual(got.map(({ payload }) => String(payload)), ['inner', 'inner']);
});

test('a stale entry is served at once, and one caller refreshes it in the background', async () => {
  let [leases, loads] = [0, 0];
  const over = fake({
    mget: () => [entry({ freshMs: -1 }), ...heads],
    cw_get: () => [1, Buffer.from('payload'), 0, 1, ...(leases++ === 0 ? [token(1)] : [])],
    cw_set: () => 1000,
  });
  const caches = [client(over), client(over)];
  const load = async () => {
    loads++;
    await sleep(50);
    return 'loaded';
  };
  for (let i = 0; i < 50; i++) {
    for (const cache of caches) assert.equal((await cache.fetch(fresh.key, load)).from, 'stale');
  }
  await sleep(100);
  assert.equal(loads, 1);
  assert.ok(leases <= 3, `Redis was asked ${leases} times`);
});
fresh.key = fresh();

test('a refresh that fails is not repeated at once, and fails for nobody', async () => {
  const over = fake({
    mget: () => [entry({ freshMs: -1 }), ...heads],
    cw_get: () => [1, Buffer.from('payload'), 0, 1, token(1)],
    cw_unlock: () => 1,
  });
  const errors = [];
  const cache = new Cachewright(over, 'shop', { ...patient, onError: ({ message }) => errors.push(message) });
  const key = fresh();
  const load = async () => {
    throw new Error('broken');
  };
  for (let i = 0; i < 20; i++) {
    assert.equal((await cache.fetch(key, load)).from, 'stale');
    await sleep(5);
  }
  assert.deepEqual([errors, over.calls.includes('cw_unlock')], [['broken'], true]);
  await sleep(1000);
  await cache.fetch(key, load);
  await sleep(20);
  assert.equal(errors.length, 2);
});

test('a failing report of a failure fails no read', async () => {
  const onError = () => {
    throw new Error('in the log');
  };
  const over = fake({
    mget: () => {
      throw new Error('no connection');
    },
  });
  assert.equal((await new Cachewright(over, 'shop', { onError }).fetch(fresh(), () => 'loaded')).from, 'unavailable');
});

test('a time to live is passed on, and that of the policy holds where it is shorter', async () => {
  const sets = [];
  const set = (...args) => {
    const options = String(args.at(-1));
    sets.push(options);
    if (options.endsWith('ttl 60000')) throw new Error('CACHEWRIGHT cw_set: ttl may only shorten 30000');
    return 1000;
  };
  const over = fake({ cw_get: () => [0, token(1)], cw_set: set });
  const cache = client(over);
  const from = async (ttlMs, payload = 'loaded') => (await cache.fetch(fresh(), () => payload, { ttlMs })).from;
  assert.equal(await from(5000), 'stored');
  assert.equal(await from((payload) => payload.length * 1000.5), 'stored');
  assert.equal(await from(60_000), 'stored');
  assert.equal(await from(undefined, null), 'stored');
  assert.deepEqual(sets, ['ttl 5000', 'ttl 6003', 'ttl 60000', '', 'negative']);
});
