// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Ids of params: those of the conformance vectors, and what has none.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { runInNewContext } from 'node:vm';
import { idOf, idOfJSON } from '../ids.mjs';

const { ids } = JSON.parse(readFileSync(new URL('../../../docs/protocol-vectors.json', import.meta.url), 'utf8'));

for (const { name, json, id } of ids) {
  test(`the id of ${name}`, () => {
    if (id === undefined) {
      assert.throws(() => idOfJSON(json), /^(TypeError: params cannot name an entry|SyntaxError)/);
    } else {
      assert.equal(idOfJSON(json), id);
    }
  });
}

test('the id of a value is that of its JSON', () => {
  const since = new Date('2026-11-30T21:25:00Z');
  for (const params of [
    null, false, 0, -0, 1.5e-9, 2 ** 53 - 1, 1e21, Number.MAX_VALUE, Number.MIN_VALUE, '', '\0nul', 'é€😀', [], [[null]], {},
    { b: 1, a: [{ z: 'ż', 10: 1, 9: 2 }], '': 0, '\0': 1 }, Object.create(null), Object.assign(Object.create(null), { a: 1 }),
    { since }, [since], new URL('https://example.com/'), { page: undefined, size: 1 }, { toJSON: () => ({ a: 1 }) },
    Buffer.from('a').toJSON(), runInNewContext('({ a: [1, { b: 2 }] })'), JSON.parse('{"__proto__": 1}'),
  ]) {
    assert.equal(idOf(params), idOfJSON(JSON.stringify(params)), JSON.stringify(params));
  }
  assert.equal(idOf(), idOf(null));
});

test('a BigInt is exact', () => {
  for (const text of ['0', '-7', '9007199254740993', '-9007199254740993', '9007199254740992', '18446744073709551615']) {
    assert.equal(idOf([BigInt(text)]), idOfJSON(`[${text}]`), text);
  }
  assert.equal(idOf(7n), idOf(7));
  assert.notEqual(idOf(9007199254740993n), idOf(9007199254740992n));
  assert.notEqual(idOf(9007199254740993n), idOf('9007199254740993'));
});

class Query {
  #hidden = 1;
}
class Sorted extends Array {}

test('what JSON cannot tell apart is refused', () => {
  const cycle = { list: [] };
  cycle.list.push(cycle);
  let deep = [];
  for (let level = 0; level < 5000; level++) deep = [deep];
  const named = Object.assign([1], { index: 0 });
  const gapAndName = Object.assign([, 1], { index: 0 }); // eslint-disable-line no-sparse-arrays
  for (const [name, params] of Object.entries({
    'a Map': new Map([[1, 2]]), 'a Set': new Set([1]), 'a WeakMap': new WeakMap(), 'a Promise': Promise.resolve(1),
    'a RegExp': /a/, 'an Error': new Error('a'), 'a class': new Query(), 'a subclass of Array': Sorted.from([1]),
    'a boxed number': Object(1), 'a boxed text': Object('a'), 'a Map of another realm': runInNewContext('new Map()'),
    NaN: NaN, Infinity: -Infinity, 'a function': () => 1, 'a symbol': Symbol('a'), 'a generator': (function* () {})(),
    'a gap': [1, , 2], 'undefined in a list': [undefined], 'a list with a name': named, 'a gap and a name': gapAndName,
    'a match': /a/.exec('a'), arguments: (function () { return arguments; })(1),
    'a name that is a symbol': { [Symbol('a')]: 1 }, 'a hidden name': Object.defineProperty({}, 'a', { value: 1 }),
    'a lone surrogate': '\ud800', 'a name with one': { 'a\udc00b': 1 }, 'an integer that may be rounded': 2 ** 53,
    'a negative one': -(2 ** 60), 'an invalid Date': new Date(NaN), 'a Buffer': Buffer.from('a'), bytes: new Uint8Array(1),
    numbers: new Float64Array(1), 'an ArrayBuffer': new ArrayBuffer(1), 'a cycle': cycle, 'what is too deep': deep,
    'a toJSON that leaves it out': { toJSON: () => undefined }, 'a toJSON of itself': { toJSON() { return this; } },
    'a toJSON of another one': { toJSON: () => new Date() }, 'search params': new URLSearchParams('a=1'), Math,
  })) {
    const refused = { name: 'TypeError', message: /^params cannot name an entry: .*[^.]$/ };
    assert.throws(() => idOf(params), refused, name);
    assert.throws(() => idOf({ in: [params] }), refused, `${name}, inside`);
  }
  assert.throws(() => idOf(undefined ?? [undefined]), TypeError);
});

test('a refusal quotes no value', () => {
  for (const params of [{ secret: new Map([['secret', 'secret']]) }, ['secret\ud800'], { secret: /secret/ }]) {
    assert.throws(() => idOf(params), (error) => !error.message.includes('secret'));
  }
});

test('JSON text that is none is refused', () => {
  for (const text of ['', '{', '[1,]', '01', 'NaN', "'a'", '{"a":1,"a":1}', '1 2']) assert.throws(() => idOfJSON(text), text);
});
