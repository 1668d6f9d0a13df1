// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// The conformance vectors of the protocol's keys and entries.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { decode, readKeys } from '../entry.mjs';

const vectors = JSON.parse(readFileSync(new URL('../../../docs/protocol-vectors.json', import.meta.url), 'utf8'));
const bytes = (hex) => (hex == null ? null : Buffer.from(hex, 'hex'));

for (const { name, namespace, module, operation, user, id, mget } of vectors.keys) {
  test(`keys: ${name}`, () => {
    const keys = readKeys(namespace, { module, operation: bytes(operation), user: bytes(user), id: bytes(id) });
    assert.deepEqual(
      keys.map((key) => key.toString('hex')),
      mget,
    );
  });
}

for (const { name, value, heads, schema, live, payload, freshUntilMs, softStale, negative } of vectors.entries) {
  test(`entries: ${name}`, () => {
    const entry = decode(bytes(value), heads.map(bytes), schema);
    const want = live ? { payload: bytes(payload), freshUntilMs, softStale, negative } : null;
    assert.deepEqual(entry, want);
  });
}
