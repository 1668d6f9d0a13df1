// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Hits by MGET that could not be reported are reported the next time.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cachewright } from '../cachewright.mjs';
import { entry, fake, heads } from './support/redis.mjs';

test('hits that Redis did not hear of are kept', async () => {
  const reported = [];
  let down = true;
  const redis = fake({
    mget: () => [entry(), ...heads],
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
