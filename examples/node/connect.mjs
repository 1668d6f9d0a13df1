// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Clients of Redis with the settings that a cache needs:
//
//   - Without a connection, commands fail at once: a failing cache must cost next to nothing.
//   - Unanswered commands are not sent again. Cachewright does so itself where that is right.
//   - Primaries only. A replica serves what was invalidated.
//   - No prefix of keys: the library in Redis knows them.

const CONNECT_MS = 1000;
const pauseMs = (attempts) => Math.min(50 * attempts, 1000);

/**
 * Connects to Redis, and returns a client even if there is no Redis yet.
 *
 * @param urls one, or several of a cluster
 * @param options library: ioredis or node-redis; resp: 2 or, with node-redis, 3; isCluster; username and password, which
 *   may be in the first URL, too; onError: called with failures of connections
 */
export function connect(urls, { library = 'ioredis', onError = () => {}, ...options } = {}) {
  const servers = urls.map((url) => new URL(url));
  const [username, password] = [servers[0].username, servers[0].password].map(decodeURIComponent); // of all nodes
  const isCluster = options.isCluster ?? urls.length > 1;
  return CONNECT[library](servers, { username, password, ...options, isCluster, onError });
}

const CONNECT = { ioredis: connectIoredis, 'node-redis': connectNodeRedis };

async function connectIoredis(servers, { isCluster, username, password, onError }) {
  const { default: Redis } = await import('ioredis');
  const options = {
    autoResendUnfulfilledCommands: false,
    connectTimeout: CONNECT_MS,
    enableOfflineQueue: false,
    lazyConnect: true,
    maxRetriesPerRequest: 0,
    retryStrategy: pauseMs,
    ...(username && { username }),
    ...(password && { password }),
  };
  const ofCluster = {
    clusterRetryStrategy: pauseMs,
    enableOfflineQueue: false,
    enableReadyCheck: false, // it needs CLUSTER INFO, which a tenant's ACL has not
    lazyConnect: true,
    redisOptions: options,
    retryDelayOnFailover: 0,
    scaleReads: 'master',
  };
  const nodes = servers.map(({ href }) => href);
  const redis = isCluster ? new Redis.Cluster(nodes, ofCluster) : new Redis(nodes[0], options);
  redis.on('error', onError);
  await redis.connect().catch(() => {}); // it goes on trying
  if (isCluster) await Promise.all(redis.nodes('master').map((node) => node.connect().catch(() => {})));
  return redis;
}

async function connectNodeRedis(servers, { isCluster, resp = 2, username, password, onError }) {
  const { createClient, createCluster } = await import('redis');
  const options = {
    RESP: resp,
    disableOfflineQueue: true,
    socket: { connectTimeout: CONNECT_MS, reconnectStrategy: pauseMs },
    ...(username && { username }),
    ...(password && { password }),
  };
  const nodes = servers.map(({ href }) => ({ url: href }));
  const redis = isCluster
    ? createCluster({ rootNodes: nodes, defaults: options, RESP: resp, useReplicas: false })
    : createClient({ ...nodes[0], ...options });
  redis.on('error', onError);
  const connected = redis.connect().catch(onError);
  await Promise.race([connected, new Promise((resolve) => setTimeout(resolve, CONNECT_MS).unref())]); // it goes on trying
  return redis;
}
