// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

const MOST_USED = 1000; // names between two reports
const MOST_REPORTED = 64; // names of one report
const MOST_TOLD = 1000;
const REFUSED_FOR_MS = 600_000; // an older library, or an ACL without the key: somebody may correct that
const OF_MODULE = /^[a-z0-9](?:[\w.-]{0,61}[a-z0-9])?$/i;
const OF_OPERATION = /^[a-z0-9](?:[\w.:/-]{0,126}[a-z0-9])?$/i;

/** Names of modules and operations that the application uses and that no policy may list: see reportUnclaimed. */
export class Unclaimed {
  #gateway;
  #namespace;
  #tell;
  #used = new Map();
  #told = new Set();
  #refusedUntil = 0;

  constructor(gateway, namespace, tell) {
    this.#gateway = gateway;
    this.#namespace = namespace;
    this.#tell = tell;
  }

  /** Counts a use: what is 'reads' or 'invalidations'. Without an operation, the name is that of the module. */
  count(module, operation, what) {
    if (!OF_MODULE.test(module) || (operation && !OF_OPERATION.test(operation))) return;
    const name = `${module} ${operation}`; // neither contains a space
    if (!this.#used.has(name) && this.#used.size >= MOST_USED) return;
    const use = this.#used.get(name) ?? { module, operation, reads: 0, invalidations: 0 };
    use[what] += 1;
    this.#used.set(name, use);
  }

  /** Tells each name once that no policy lists, and reports their counts. Throws what Redis says, and forgets then. */
  async report() {
    const used = [...this.#used.values()];
    this.#used.clear();
    const names = [];
    for (const module of new Set(used.map((use) => use.module))) {
      names.push(...(await this.#unclaimedOf(module, used.filter((use) => use.module === module))));
    }
    for (const name of names) this.#tellOnce(name);
    if (names.length === 0 || Date.now() < this.#refusedUntil) return;
    const reported = names.slice(0, MOST_REPORTED);
    const args = reported.flatMap((name) => [name.module, name.operation, name.reads, name.invalidations]);
    try {
      await this.#gateway.callOnNamespace('cw_unclaimed', `cw:{${this.#namespace}}:unclaimed`, ...args);
    } catch (error) {
      this.#refusedUntil = Date.now() + REFUSED_FOR_MS;
      throw error;
    }
  }

  async #unclaimedOf(module, used) {
    const json = await this.#gateway.callUnguarded('cw_policy_get', module);
    if (json === null) return (await this.#isUnlisted(module)) ? [sum(module, used)] : [];
    const policy = JSON.parse(String(json));
    if (policy.defaultTtlMs !== undefined) return [];
    const listed = new Set(policy.operations?.map((operation) => operation.name));
    return used.filter(({ operation }) => operation && !listed.has(operation));
  }

  // Whether the namespace has policies, and none of this module. Without its list, Redis may have lost its data. A
  // module on the list has lost its policy for a moment.
  async #isUnlisted(module) {
    const modules = await this.#gateway.members(`cw:{${this.#namespace}}:modules`);
    return modules.length > 0 && !modules.includes(module);
  }

  #tellOnce({ module, operation }) {
    const name = operation ? `${module}, operation ${operation}` : module;
    if (this.#told.has(name) || this.#told.size >= MOST_TOLD) return;
    this.#told.add(name);
    this.#tell(`No CachePolicy of namespace ${this.#namespace} lists module ${name}: nothing is cached`);
  }
}

// What is used of a module without a policy counts for the module.
function sum(module, used) {
  const total = (what) => used.reduce((n, use) => n + use[what], 0);
  return { module, operation: '', reads: total('reads'), invalidations: total('invalidations') };
}
