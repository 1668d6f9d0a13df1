// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Adapters of clients of Redis. Two things are needed of one:
//
//   send(key, command)   sends a command, a list of texts, Buffers and numbers, to the primary that serves the key, and
//                        resolves to its reply, with Buffers for text
//   watch(changed)       calls changed each time that another server than before may answer, before its first reply:
//                        with each new connection, and where a node redirects

import hashSlot from 'cluster-key-slot';

/** Returns the adapter of a client of ioredis or node-redis, a single one or a cluster's, or the adapter itself. */
export function adapt(client) {
  if (typeof client.callBuffer === 'function') return new OverIoredis(client);
  if (typeof client.sendCommand === 'function') return new OverNodeRedis(client);
  return client;
}

class OverIoredis {
  #client;

  constructor(client) {
    const { scaleReads = 'master', role = 'master', keyPrefix } = client.options;
    if (scaleReads !== 'master' || role !== 'master') {
      throw new TypeError('a replica serves what was invalidated: set scaleReads and role to master, or leave them out');
    }
    if (keyPrefix) throw new TypeError('the library in Redis knows its keys without a prefix: leave keyPrefix out');
    this.#client = client;
  }

  send(_key, [name, ...args]) {
    return this.#client.callBuffer(name, ...args); // which finds the key itself
  }

  watch(changed) {
    const watchNode = (node) => node.on('connect', changed);
    if (!this.#client.isCluster) {
      watchNode(this.#client);
      return;
    }
    // A cluster follows redirections by itself, so what tells of one is that a slot's commands go to another node.
    const serving = serversOfSlots(changed);
    const watchSlots = (node) => {
      watchNode(node);
      const send = node.sendCommand;
      node.sendCommand = (command, ...rest) => {
        serving(command.getSlot(), node);
        return send.call(node, command, ...rest);
      };
    };
    this.#client.nodes().forEach(watchSlots);
    this.#client.on('+node', watchSlots);
  }
}

const AS_BUFFERS = { typeMapping: { [36]: Buffer } }; // RESP_TYPES.BLOB_STRING

class OverNodeRedis {
  #client;
  #changed = () => {};
  #serving = serversOfSlots(() => this.#changed());

  constructor(client) {
    this.#client = client;
  }

  send(key, command) {
    const args = command.map((arg) => (typeof arg === 'number' ? String(arg) : arg));
    if (!this.#isCluster) return this.#client.sendCommand(args, AS_BUFFERS);
    return this.#sendToNode(key, args);
  }

  watch(changed) {
    this.#changed = changed;
    const events = this.#isCluster ? ['node-connect', 'node-reconnecting'] : ['connect'];
    for (const event of events) this.#client.on(event, changed);
  }

  get #isCluster() {
    return typeof this.#client.nodeClient === 'function';
  }

  // The cluster's own sendCommand follows redirections without a word. So the node is asked first, and answers where to.
  // That of a node without a connection may serve the slot no more, which any other node knows.
  async #sendToNode(key, args) {
    const slot = hashSlot(key);
    const node = this.#client.slots[slot]?.master;
    this.#serving(slot, node);
    const isReady = node?.client?.isReady === true;
    try {
      if (isReady) return await node.client.sendCommand(args, AS_BUFFERS);
    } catch (error) {
      if (!/^(MOVED|ASK) /.test(error.message)) throw error;
    }
    this.#changed();
    return this.#client.sendCommand(isReady ? key : undefined, false, args, AS_BUFFERS);
  }
}

// serversOfSlots notes which node serves a hash slot of a cluster, and calls changed if it is another one than before.
function serversOfSlots(changed) {
  const nodes = new Map();
  return (slot, node) => {
    if (slot === null || nodes.get(slot) === node) return;
    nodes.set(slot, node);
    changed();
  };
}
