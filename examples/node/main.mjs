// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// A cache in front of an HTTP service.
//
//   GET    /<module>/<operation>/<id>   through the cache; X-Cache says where the answer came from
//   DELETE /<module>/<operation>/<id>   deletes one entry
//   DELETE /<module>/<operation>        invalidates an operation
//   DELETE /<module>                    invalidates a module
//
// With a header X-User, entries belong to that user. After a miss it calls the service with the same path and user.
// Environment: SOURCE, the URL of the service; REDIS_URL, several of a cluster with commas in between; NAMESPACE; PORT;
// CLIENT, ioredis or node-redis; SCHEMA, the version of the answers; TIMEOUT_MS, how long a read may wait for Redis;
// UNCLAIMED_MS, how often names that no policy lists are reported.

import { createServer } from 'node:http';
import { Cachewright, QueuedError } from './cachewright.mjs';
import { connect } from './connect.mjs';

const { SOURCE, SCHEMA, CLIENT } = process.env;
const { REDIS_URL = 'redis://127.0.0.1:6379', NAMESPACE = 'default', PORT = '8081' } = process.env;
if (!SOURCE) throw new Error('SOURCE must be the URL of the service to cache, for example http://127.0.0.1:8080');

const redis = await connect(REDIS_URL.split(','), {
  library: CLIENT,
  onError: (error) => console.error('redis:', error.message),
});
const cache = new Cachewright(redis, NAMESPACE, {
  schema: SCHEMA,
  timeoutMs: process.env.TIMEOUT_MS && Number(process.env.TIMEOUT_MS),
  onError: (error) => console.error('doing without the cache:', error.message),
});
setInterval(() => cache.reportHits(), 1000).unref();
setInterval(() => cache.reportUnclaimed(), Number(process.env.UNCLAIMED_MS ?? 60_000)).unref();

const server = createServer((request, response) => {
  answer(request, response).catch((error) => response.writeHead(statusOf(error)).end(`${error.message}\n`));
});
server.listen(Number(PORT), '127.0.0.1', () => console.log(`listening on http://127.0.0.1:${server.address().port}`));

process.once('SIGTERM', () => {
  server.close(async () => {
    await cache.close().catch((error) => console.error(error.message));
    process.exit();
  });
  server.closeIdleConnections();
});

// An invalidation that is queued is accepted: it is done once Redis is back.
const statusOf = (error) => (error instanceof QueuedError ? 202 : 502);

async function answer(request, response) {
  const key = keyOf(request);
  if (request.method === 'GET' && key.id !== undefined) {
    const { payload, from } = await cache.fetch(key, () => load(request));
    response.writeHead(payload === null ? 404 : 200, { 'X-Cache': from }).end(payload);
  } else if (request.method === 'DELETE' && key.module !== undefined) {
    await forget(key);
    response.writeHead(204).end();
  } else {
    response.writeHead(405).end();
  }
}

function forget({ module, operation, id, user }) {
  if (id !== undefined) return cache.delete({ module, operation, id, user });
  return cache.invalidate(module, { operation, user });
}

// keyOf takes what follows the operation, including a query, as the id. Like the user it is bytes, not always UTF-8.
function keyOf(request) {
  const [, module, operation, id] = /^\/([^/]+)(?:\/([^/]+)(?:\/(.*))?)?$/.exec(request.url) ?? [];
  return {
    module: module && String(unescapeBytes(module)),
    operation: operation && String(unescapeBytes(operation)),
    id: id === undefined ? undefined : unescapeBytes(id),
    user: Buffer.from(request.headers['x-user'] ?? '', 'latin1'),
  };
}

function unescapeBytes(text) {
  const bytes = text.replace(/%([0-9a-f]{2})/gi, (_, hex) => String.fromCharCode(parseInt(hex, 16)));
  return Buffer.from(bytes, 'latin1');
}

async function load(request) {
  const user = request.headers['x-user'];
  const response = await fetch(new URL(request.url, SOURCE), { headers: user ? { 'X-User': user } : {} });
  if (response.status === 404) return null;
  if (!response.ok) throw new Error(`the source answered ${response.status}`);
  return Buffer.from(await response.arrayBuffer());
}
