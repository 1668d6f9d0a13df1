// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// The driver of this client for the conformance runner. docs/clients.md says what it is asked. The argument is the
// client of Redis to use: ioredis or node-redis.
//
//   make conformance DRIVER='node examples/node/conform.mjs node-redis' CONFORM='-resp 3'

import { createInterface } from 'node:readline';
import { Cachewright, idOfJSON } from './cachewright.mjs';
import { connect } from './connect.mjs';
import { decode, readKeys } from './entry.mjs';
import { isSameHeads } from './loads.mjs';
import { adapt } from './redis.mjs';

const [library = 'ioredis'] = process.argv.slice(2);
const TIMEOUT_MS = 3000; // the machine may be busy with other tests

class Unsupported extends Error {}

const bytes = (hex) => (hex === null ? null : Buffer.from(hex, 'hex'));
const hex = (payload) => (payload === null ? null : payload.toString('hex'));
const scopeOf = ({ operation, user }) => ({ operation: bytes(operation ?? ''), user: bytes(user ?? '') });
const entryOf = (request) => ({ module: request.module, id: bytes(request.id), ...scopeOf(request) });

let redis, cache, hold;

// Loads that wait for the runner, or the runner for them.
class Loads {
  #waiting = [];
  #asked = [];

  /** Loads what the runner says. */
  load() {
    return new Promise((resolve, reject) => {
      const load = { resolve, reject };
      const asked = this.#asked.shift();
      if (asked) asked(load);
      else this.#waiting.push(load);
    });
  }

  /** Resolves to the next load that waits, and takes it. */
  next() {
    const load = this.#waiting.shift();
    return load ? Promise.resolve(load) : new Promise((resolve) => this.#asked.push(resolve));
  }

  /** Stops waiting. */
  forget() {
    this.#asked = [];
  }

  /** Keeps a load for the next request. */
  keep(load) {
    this.#waiting.unshift(load);
  }
}

const loads = new Loads();
let fetching = null; // the result of the fetch whose load the runner knows of

const FUNCTIONS = {
  async open({ addresses, cluster, resp, username, password, namespace, schema, near }) {
    if (near) throw new Unsupported('there is no near cache');
    if (resp === 3 && library === 'ioredis') throw new Unsupported('ioredis speaks RESP2');
    const urls = addresses.map((address) => `redis://${address}`);
    const options = { library, resp, isCluster: cluster, username, password };
    redis = await connect(urls, options);
    cache = new Cachewright(redis, namespace, { schema, timeoutMs: TIMEOUT_MS });
  },

  async fetch({ ttlMs, ...request }) {
    const result = cache.fetch(entryOf(request), () => loads.load(), { ttlMs });
    const isLoading = loads.next().then((load) => {
      loads.keep(load);
      return true;
    });
    const first = await Promise.race([result, isLoading]).finally(() => loads.forget());
    if (first !== true) return { payload: hex(first.payload) };
    fetching = result;
    return { loading: true };
  },

  async loaded({ payload, error }) {
    const load = await loads.next();
    if (error === undefined) load.resolve(bytes(payload));
    else load.reject(new Error(error));
    if (fetching === null) return {};
    const result = fetching;
    fetching = null;
    return { payload: hex((await result).payload) };
  },

  async waiting() {
    loads.keep(await loads.next());
  },

  async put({ payload, ttlMs, ...request }) {
    await cache.put(entryOf(request), bytes(payload), { ttlMs });
  },

  async delete(request) {
    await cache.delete(entryOf(request));
  },

  async invalidate({ soft, ...request }) {
    await cache.invalidate(request.module, { ...scopeOf(request), mode: soft ? 'soft' : 'hard' });
  },

  async hold({ module, ms, things }) {
    const covered = things.map((thing) => ({ ...scopeOf(thing), ...(thing.id !== undefined && { id: bytes(thing.id) }) }));
    hold = await cache.hold(module, ms, ...covered);
    if (hold.error) throw hold.error;
  },

  async release() {
    await hold.release();
  },

  async report() {
    await cache.reportHits();
  },

  keys({ namespace, ...request }) {
    return { keys: readKeys(namespace, entryOf(request)).map(hex) };
  },

  decode({ value, heads, schema }) {
    const entry = decode(bytes(value), heads.map(bytes), schema);
    if (entry === null) return { live: false };
    const { payload, negative, softStale, freshUntilMs } = entry;
    return { live: true, payload: hex(payload), negative, stale: softStale || freshUntilMs <= Date.now() };
  },

  id({ params }) {
    return { id: hex(Buffer.from(idOfJSON(params))) };
  },

  same({ tokens }) {
    const [one, other] = tokens.map(bytes).map(String);
    return { same: isSameHeads(one, other) };
  },

  async call({ function: name, keys, args }) {
    const command = ['fcall', name, keys.length, ...keys.map(bytes), ...args.map(bytes)];
    return { reply: replyOf(await adapt(redis).send(bytes(keys[0] ?? ''), command)) };
  },
};

function replyOf(reply) {
  if (Array.isArray(reply)) return reply.map(replyOf);
  return Buffer.isBuffer(reply) ? hex(reply) : reply;
}

async function answer({ n, do: name, ...request }) {
  try {
    if (FUNCTIONS[name] === undefined) throw new Unsupported(`there is no ${name}`);
    return { n, ...(await FUNCTIONS[name](request)) };
  } catch (error) {
    return { n, [error instanceof Unsupported ? 'unsupported' : 'error']: error.message };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await answer(JSON.parse(line)))}\n`);
}
process.exit(); // connections would keep it alive
