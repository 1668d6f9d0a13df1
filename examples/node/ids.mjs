// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Ids of entries: the first 18 bytes of the SHA-256 of canonical JSON, in base64url, as package cache makes them.
//
// Two different params must never share an id, or one caller gets the value of another. So whatever JSON leaves out or
// cannot tell apart is refused with a TypeError. Its message names types, and no value.

import { createHash } from 'node:crypto';

const ID_BYTES = 18;
const DEEPEST = 1000; // lists and objects within each other
const EXPONENT = 1e21; // from here on JavaScript writes a number with an exponent, so it is no id of 64 bits
const MOST_EXPONENT = 2n ** 63n;
const LONE_SURROGATE = /\p{Surrogate}/u;
const TOKENS = /"(?:[^"\\]|\\.)*"|[-+.\w]+|[[\]{},:]/g;

/**
 * Makes an id from the params of an operation: null, booleans, text, numbers, BigInts, lists, plain objects, and what
 * has a toJSON of its own, such as a Date. Params of equal JSON have the same id. Fields that are undefined do not count.
 *
 * @param {unknown} params
 */
export function idOf(params = null) {
  return digest(canonical(params, []));
}

/** Makes an id from JSON text. It loses no digit of a number, while JSON.parse makes doubles of them. */
export function idOfJSON(text) {
  JSON.parse(text); // throws a SyntaxError
  const tokens = text.match(TOKENS);
  let at = 0;
  return digest(canonicalText(() => tokens[at++], () => tokens[at]));
}

const digest = (json) => createHash('sha256').update(json).digest().subarray(0, ID_BYTES).toString('base64url');

const refuse = (reason) => {
  throw new TypeError(`params cannot name an entry: ${reason}`);
};

// canonical writes a value by RFC 8785. within are the lists and objects around it.
function canonical(value, within) {
  switch (typeof value) {
    case 'string':
      return canonicalString(value);
    case 'number':
      return canonicalDouble(value);
    case 'bigint':
      return canonicalNumber(String(value));
    case 'boolean':
      return String(value);
    case 'object':
      return value === null ? 'null' : canonicalObject(value, within);
    default:
      return refuse(`${typeof value} has no JSON`);
  }
}

function canonicalObject(object, within) {
  if (within.includes(object)) refuse('they contain themselves');
  if (within.length >= DEEPEST) refuse(`they are more than ${DEEPEST} levels deep`);
  const inside = [...within, object];
  if (ArrayBuffer.isView(object)) refuse("bytes have no JSON; pass bytes.toString('base64'), as Go writes them");
  if (typeof object.toJSON === 'function') return canonicalOwn(object, inside);
  checkPlain(object);
  if (Array.isArray(object)) return `[${object.map((element) => canonical(element, inside))}]`;
  const defined = Object.entries(object).filter(([, field]) => field !== undefined);
  return fields(defined.map(([name, field]) => [name, canonical(field, inside)]));
}

// canonicalOwn writes what the toJSON of an object returns, whose own toJSON does not count.
function canonicalOwn(object, within) {
  const json = object.toJSON('');
  if (object instanceof Date && json === null) refuse('an invalid Date');
  if (json === object || typeof json?.toJSON === 'function') refuse('a toJSON that returns something with a toJSON');
  return canonical(json, within);
}

// checkPlain refuses what has more to it than JSON writes: a class, a gap in a list, a name that is a symbol or hidden.
function checkPlain(object) {
  const isList = Array.isArray(object);
  let above = Object.getPrototypeOf(object);
  for (let level = isList ? 2 : 1; above && level > 0; level--) above = Object.getPrototypeOf(above);
  if (above) refuse(`a ${object.constructor?.name ?? 'class'} without toJSON; pass a list or a plain object`);
  const names = Reflect.ownKeys(object).length - (isList ? 1 : 0); // the length of a list is hidden
  if (names !== Object.keys(object).length) refuse('an object with names that are symbols or not enumerable');
  if (isList && (names !== object.length || !Object.keys(object).every((name, i) => name === String(i)))) {
    refuse('a list with gaps or with names');
  }
}

// fields writes the fields of an object in the order of their names, by UTF-16 code units.
function fields(named) {
  const sorted = named.sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${sorted.map(([name, json]) => `${canonicalString(name)}:${json}`)}}`;
}

// canonicalString puts a second U+0000 in front of text that begins with one. The first one marks exact numbers.
function canonicalString(text) {
  if (LONE_SURROGATE.test(text)) refuse('text that is not well-formed Unicode');
  return JSON.stringify(text.startsWith('\0') ? `\0${text}` : text);
}

function canonicalDouble(number) {
  if (!Number.isFinite(number)) refuse(`${number} has no JSON`);
  if (Number.isInteger(number) && !Number.isSafeInteger(number) && Math.abs(number) < EXPONENT) {
    refuse('an integer that a number may have rounded; pass a BigInt, or text');
  }
  return JSON.stringify(number);
}

// canonicalNumber writes a number of JSON as the double that it is, or exactly if a double cannot hold it.
function canonicalNumber(literal) {
  const exact = decimal(literal);
  const double = Number(literal);
  if (Number.isFinite(double) && decimal(String(double)) === exact) return JSON.stringify(double);
  return `"\\u0000${exact}"`;
}

// decimal writes a number as <digits>e<exponent> without zeros at either end, so equal numbers have equal texts.
function decimal(literal) {
  const [, sign, whole, fraction = '', exponent = '0'] = /^(-?)(\d+)(?:\.(\d+))?(?:e([-+]?\d+))?$/i.exec(literal);
  const scale = BigInt(exponent.replace('+', ''));
  if (scale >= MOST_EXPONENT || scale < -MOST_EXPONENT) refuse('a number with an exponent that is too large');
  const all = (whole + fraction).replace(/^0+/, '');
  const digits = all.replace(/0+$/, '');
  if (digits === '') return '0e0';
  return `${sign}${digits}e${scale + BigInt(all.length - digits.length - fraction.length)}`;
}

// canonicalText writes the next value of JSON text, which is known to be valid.
function canonicalText(next, peek) {
  const token = next();
  if (token === '[') return `[${listed(']', next, peek, () => canonicalText(next, peek))}]`;
  if (token === '{') return fields(distinct(listed('}', next, peek, () => field(next, peek))));
  if (token.startsWith('"')) return canonicalString(JSON.parse(token));
  return /\d/.test(token) ? canonicalNumber(token) : token;
}

// listed returns what read finds up to the end of a list or an object.
function listed(end, next, peek, read) {
  const found = [];
  while (peek() !== end) {
    found.push(read());
    if (peek() === ',') next();
  }
  next();
  return found;
}

function field(next, peek) {
  const name = JSON.parse(next());
  next(); // the colon
  return [name, canonicalText(next, peek)];
}

function distinct(named) {
  if (new Set(named.map(([name]) => name)).size !== named.length) refuse('an object with a name twice');
  return named;
}
