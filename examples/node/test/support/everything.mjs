// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Does all that the client can do, and writes the failures that it met, as JSON. REDIS_URL has the policies of
// shop/users, which caches everything, and of shop/others, which caches list.

import { setTimeout as sleep } from 'node:timers/promises';
import { Cachewright } from '../../cachewright.mjs';
import { connect } from '../../connect.mjs';

const { REDIS_URL, CLIENT, RESP } = process.env;
const failures = [];
const onError = (error) => failures.push(`${error.message} ${error.cause?.message ?? ''}`);
const options = { timeoutMs: 10_000, onError, onUnclaimed: () => {} };
const redis = await connect(REDIS_URL.split(','), { library: CLIENT, resp: Number(RESP ?? 2), onError });
const [cache, other] = [new Cachewright(redis, 'shop', options), new Cachewright(redis, 'shop', options)];
const key = (operation, id = 'a', user = '') => ({ module: 'users', operation, id, user });
const slow = () => sleep(50).then(() => 'loaded');
const broken = async () => {
  throw new Error('the source is down');
};
const expect = (is, wanted) => is === wanted || failures.push(`${is}, not ${wanted}`);

try {
  for (const of of [key('list'), key('list', 'a', 'ada'), key('get')]) {
    const from = await Promise.all([cache, other].map((client) => client.fetch(of, slow)));
    expect(from.map((got) => got.from).sort().join(), 'cache,stored');
    expect((await cache.fetch(of, slow)).from, 'cache');
  }
  await cache.fetch(key('list', 'broken'), broken).catch(() => {});
  expect((await cache.fetch(key('list', 'nothing'), () => null)).from, 'disabled');
  expect(await cache.put(key('list'), 'put', { ttlMs: 5000 }), 'stored');
  expect(String((await cache.fetch(key('list'), slow, { ttlMs: 5000 })).payload), 'put');
  expect(await cache.delete(key('list')), true);
  expect((await cache.fetch(key('list'), slow, { ttlMs: 1e9 })).from, 'stored');
  for (const scope of [{ operation: 'list', user: 'ada' }, { user: 'ada' }, { operation: 'list' }, {}]) {
    await cache.fetch(key('list', 'a', 'ada'), slow);
    await cache.invalidate('users', { ...scope, mode: 'soft' });
    expect((await cache.fetch(key('list', 'a', 'ada'), slow)).from, 'stale');
    await sleep(200); // the refresh
    await cache.invalidate('users', scope);
  }
  const hold = await cache.hold('users', 60_000, key('list'), { operation: 'get' }, { user: 'ada' });
  await hold.renew(60_000);
  expect((await cache.fetch(key('list'), slow)).from, 'held');
  await hold.release();
  expect(hold.error, null);
  await cache.fetch({ module: 'others', operation: 'lst' }, slow);
  await cache.fetch({ module: 'other', operation: 'list' }, slow);
  await cache.reportUnclaimed();
  await cache.close();
  await other.close();
} catch (error) {
  failures.push(error.stack);
}
console.log(JSON.stringify(failures));
process.exit();
