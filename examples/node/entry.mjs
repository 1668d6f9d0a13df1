// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Keys and bytes of the protocol: where an entry and its heads are, and which bytes are a hit.

export const slotKey = (namespace, module) => `cw:{${namespace}/${module}}`;

/** The keys of one MGET: the entry and the heads that cover it. */
export function readKeys(namespace, key) {
  const { module, operation, user = '' } = key;
  const slot = slotKey(namespace, module);
  const keys = [join(slot, ':e:', address(key)), join(slot, ':m'), join(slot, ':o:', operation)];
  return user.length > 0 ? [...keys, join(slot, ':u:', user)] : keys;
}

/** The key of the load lock of an entry. */
export const lockKey = (namespace, key) => join(slotKey(namespace, key.module), ':l:', address(key));

/** Bytes that name an entry within its module, and no other one. */
export function address({ operation, id = '', user = '' }) {
  return join(Buffer.byteLength(operation), ':', operation, ':', Buffer.byteLength(user), ':', user, ':', id);
}

const join = (...parts) => Buffer.concat(parts.map((part) => (Buffer.isBuffer(part) ? part : Buffer.from(String(part)))));

/** A payload as cw_set takes it: a schema precedes it, with its length in a byte. */
export const stored = (payload, schema) => (schema ? join(prefix(schema), payload) : payload);

const prefix = (schema) => Buffer.concat([Buffer.from([schema.length]), Buffer.from(schema)]);

// The bytes of an entry: version, flags, fresh-until, an epoch for each head, soft epochs, schema, payload.
const VERSION = 1;
const FLAG_USER = 1;
const FLAG_NEGATIVE = 2;
const FLAG_SCHEMA = 4;
const FLAGS_SOFT = [16, 32, 64]; // the entry carries a soft epoch of the module, the operation, the user
const UNKNOWN_FLAGS = ~(FLAG_USER | FLAG_NEGATIVE | FLAG_SCHEMA | 16 | 32 | 64);
const FIXED = 18;
const EPOCH = 11;
const SOFT_AT = [EPOCH, 2 * EPOCH, EPOCH]; // in the heads; an operation's has its fence in between

// A head ends before or after its soft epoch.
const isHead = (i, head) => head && (head.length === SOFT_AT[i] || head.length === SOFT_AT[i] + EPOCH);

/** Returns the content of an entry if it is live under these heads and has this schema, else null. */
export function decode(value, heads, schema = '') {
  if (!value || value.length < FIXED || value[0] !== VERSION) return null;
  const flags = value[1];
  const ofUser = (flags & FLAG_USER) !== 0;
  if (flags & UNKNOWN_FLAGS || ofUser !== (heads.length === 3) || (!ofUser && flags & FLAGS_SOFT[2])) return null;

  let at = FIXED;
  const next = () => value.subarray(at, (at += EPOCH));
  for (const [i, head] of heads.entries()) {
    if (!isHead(i, head) || !head.subarray(0, EPOCH).equals(next())) return null;
  }
  let softStale = false;
  heads.forEach((head, i) => {
    const carried = flags & FLAGS_SOFT[i] ? next() : Buffer.alloc(0);
    softStale ||= !carried.equals(head.subarray(SOFT_AT[i]));
  });
  if (at > value.length || ((flags & FLAG_SCHEMA) !== 0) !== (schema !== '')) return null;
  if (schema) {
    const wanted = prefix(schema);
    if (!value.subarray(at, (at += wanted.length)).equals(wanted)) return null;
  }
  return {
    payload: value.subarray(at),
    freshUntilMs: Number(value.readBigUInt64BE(2)),
    softStale,
    negative: (flags & FLAG_NEGATIVE) !== 0,
  };
}

/** Reports whether something is a mark, which a hold leaves in place of a head or an entry. */
const isMark = (value) => value?.subarray(0, 2).toString() === '!!';

/**
 * Reports whether a caller elsewhere loads an entry that is no hit: its load lock has the heads of the same reply, behind
 * a byte. The fence of the operation may differ: the deletion of any entry of the operation renews it.
 */
export function isLoading(lock, value, heads) {
  if (!lock || isMark(value) || !heads.every((head, i) => isHead(i, head))) return false;
  const now = Buffer.concat([Buffer.alloc(1), ...heads]);
  const fence = 1 + heads[0].length + EPOCH;
  const end = fence + EPOCH;
  return (
    lock.length === now.length &&
    lock.subarray(1, fence).equals(now.subarray(1, fence)) &&
    lock.subarray(end).equals(now.subarray(end))
  );
}
