// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Hits by MGET that could not be reported are reported the next time.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cachewright } from '../cachewright.mjs';
import { fake } from './support/redis.mjs';

const epoch = (letter) => Buffer.alloc(11, letter);
const freshUntil = Buffer.alloc(8);
freshUntil.writeBigUInt64BE(BigInt(Date.now() + 60_000));
const entry = Buffer.concat([Buffer.from([1, 0]), freshUntil, Buffer.alloc(8), epoch('m'), epoch('o')]);

test('hits that Redis did not hear of are kept', async () => {
  const reported = [];
  let down = true;
  const redis = fake({
    mget: () => [entry, epoch('m'), Buffer.concat([epoch('o'), epoch('f')])],
    cw_report: (...args) => {
      if (down) throw new Error('no connection');
      reported.push(args);
      return 1;
    },
  });
  const cache = new Cachewright(redis, 'shop');
  const hit = () => cache.fetch({ module: 'users', operation: 'list', id: 'a' }, () => assert.fail('not a hit'));

  await hit();
  await cache.reportHits();
  await hit();
  down = false;
  await cache.reportHits();
  await cache.reportHits();
  assert.deepEqual(reported, [['list', 'hits', 2]]);
});
