// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// One process of the chaos test. It reads entries of all processes and changes its own, over a source that all share: a
// file with the version of each value. A second file says which version was invalidated: an invalidation that completed
// counts for all reads that begin after it, and one that is queued for those of this process. A read that returns less
// is a violation.
//
// Environment: REDIS_URL, CLIENT and RESP as in redis.mjs; DIR, of the files; PROCESS, its number; UNFENCED: it takes
// every module for fenced, and every connection for an old one. It writes its counts each 100 ms, until its input ends.

import { openSync, readSync, writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Cachewright, QueuedError } from '../../cachewright.mjs';
import { connect } from '../../connect.mjs';
import { adapt } from '../../redis.mjs';

const { REDIS_URL, CLIENT, RESP, DIR, UNFENCED } = process.env;
const own = Number(process.env.PROCESS);
const PROCESSES = 4; // each changes the values of one operation
const USERS = 3; // user 0 is none
const IDS = 10;
const READERS = 16;
const cellOf = (operation, user, id) => (operation * USERS + user) * IDS + id;
const random = (n) => Math.floor(Math.random() * n);

// Versions in a file. Each has one writer, and is written at once.
function versions(name) {
  const file = openSync(`${DIR}/${name}`, 'r+');
  const bytes = Buffer.alloc(8);
  return {
    read: (cell) => (readSync(file, bytes, 0, 8, cell * 8) === 8 ? Number(bytes.readBigUInt64LE()) : 0),
    write: (cell, version) => {
      bytes.writeBigUInt64LE(BigInt(version));
      writeSync(file, bytes, 0, 8, cell * 8);
    },
  };
}

const source = versions('source');
const invalidated = versions('invalidated');
const obeyed = new Map(); // what was queued here

const counts = { reads: 0, hits: 0, stale: 0, loads: 0, invalidations: 0, queued: 0, puts: 0, violations: 0, failed: 0 };

const redis = adapt(await connect(REDIS_URL.split(','), { library: CLIENT, resp: Number(RESP) }));
const unfenced = {
  watch: () => {},
  send: async (key, command) => (command[1] === 'cw_fence' ? [Buffer.from('always'), 0] : redis.send(key, command)),
};
const cache = new Cachewright(UNFENCED ? unfenced : redis, 'shop', { timeoutMs: 500, onUnclaimed: () => {} });

function keyOf(operation, user, id) {
  return { module: 'users', operation: `op${operation}`, user: user === 0 ? '' : `user${user}`, id: String(id) };
}

async function read() {
  const [operation, user, id] = [random(PROCESSES), random(USERS), random(IDS)];
  const cell = cellOf(operation, user, id);
  const least = Math.max(invalidated.read(cell), obeyed.get(cell) ?? 0);
  const { payload, from } = await cache.fetch(keyOf(operation, user, id), async () => {
    counts.loads++;
    const version = source.read(cell);
    await sleep(random(3));
    return String(version);
  });
  counts.reads++;
  if (from === 'cache') counts.hits++;
  if (from === 'stale') counts.stale++;
  if (from === 'unavailable' || from === 'queued') await sleep(5); // loads prove nothing
  if (Number(payload) < least) counts.violations++;
}

// Changes the values of some cells in the source, and then what is cached of them.
async function change(cells, invalidate) {
  const changed = cells.map((cell) => [cell, source.read(cell) + 1]);
  for (const [cell, version] of changed) source.write(cell, version);
  try {
    await invalidate(changed[0][1]);
    for (const [cell, version] of changed) invalidated.write(cell, version);
    counts.invalidations++;
  } catch (error) {
    if (!(error instanceof QueuedError)) throw error;
    for (const [cell, version] of changed) obeyed.set(cell, version);
    counts.queued++;
  }
}

const ownCells = (users) => users.flatMap((user) => Array.from({ length: IDS }, (_, id) => cellOf(own, user, id)));
const everybody = Array.from({ length: USERS }, (_, user) => user);

async function write() {
  const [user, id, dice] = [random(USERS), random(IDS), random(40)];
  const key = keyOf(own, user, id);
  const cell = [cellOf(own, user, id)];
  if (dice === 0) return change(ownCells(everybody), () => cache.invalidate('users'));
  if (dice < 4) return change(ownCells(everybody), () => cache.invalidate('users', { operation: key.operation }));
  if (dice < 8 && user > 0) return change(ownCells([user]), () => cache.invalidate('users', { user: key.user }));
  if (dice < 20) return change(cell, () => cache.delete(key));
  if (dice < 32) return change(cell, (version) => cache.put(key, String(version)).then(count('puts')));
  const hold = await cache.hold('users', 10_000, key);
  return change(cell, () => hold.release());
}

const count = (what) => (outcome) => {
  if (outcome === 'stored') counts[what]++;
};

let ended = false;
process.stdin.resume().on('end', () => {
  ended = true;
});
async function loop(doIt, pauseMs) {
  while (!ended) {
    await doIt().catch((error) => {
      if (counts.failed++ === 0) console.error(error);
    });
    if (pauseMs > 0) await sleep(random(2 * pauseMs));
  }
}
const say = () => console.log(JSON.stringify(counts));
setInterval(say, 100).unref();
await Promise.all([...Array.from({ length: READERS }, () => loop(read, 0)), loop(write, 50)]);
say();
process.exit();
