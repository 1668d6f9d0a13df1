// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// What the tests share: the Redis at REDIS_URL, if there is one, and Redis servers that only seem to be.

import { after } from 'node:test';
import { connect } from '../../connect.mjs';
import { adapt } from '../../redis.mjs';

const { REDIS_URL, CLIENT, RESP } = process.env;

/** Of tests that need a Redis. */
export const skip = REDIS_URL ? false : 'set REDIS_URL';

/** Connects until the tests end. */
export async function open() {
  if (skip) return null;
  const redis = await connect(REDIS_URL.split(','), { library: CLIENT, resp: Number(RESP ?? 2) });
  after(() => (CLIENT === 'node-redis' ? redis.destroy() : redis.disconnect()));
  return adapt(redis);
}

/** A Redis whose functions are those of an object. What it has not says that nothing is there. */
export function fake(functions) {
  const calls = [];
  let changed = () => {};
  return {
    calls,
    changed: () => changed(),
    watch: (listener) => {
      changed = listener;
    },
    send: async (_key, [command, ...args]) => {
      const [name, rest] = command === 'fcall' ? [args[0], args.slice(3)] : [command, args];
      calls.push(name);
      return (functions[name] ?? NOTHING[name])(...rest);
    },
  };
}

const NOTHING = {
  cw_fence: () => [Buffer.from('run/replication'), 0],
  cw_get: () => [0, Buffer.from('0')],
  mget: () => [null, null, null],
};

/** Options of a client on a busy machine. */
export const patient = { timeoutMs: 10_000 };

/** A live entry of no user and the heads that it is read with, as MGET returns them. */
export function entry({ payload = 'payload', freshMs = 60_000 } = {}) {
  const fresh = Buffer.alloc(8);
  fresh.writeBigUInt64BE(BigInt(Date.now() + freshMs));
  return Buffer.concat([Buffer.from([1, 0]), fresh, Buffer.alloc(8), epoch('m'), epoch('o'), Buffer.from(payload)]);
}
const epoch = (letter) => Buffer.alloc(11, letter);
export const heads = [epoch('m'), Buffer.concat([epoch('o'), epoch('f')])];
