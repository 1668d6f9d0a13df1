// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package registry keeps cached entries, the indexes that make invalidation precise, and policies
// in Redis. It uses the cachewright function library (cachewright.lua, made of the parts in lua).
// It knows nothing of Kubernetes. docs/protocol.md specifies calls and bytes.
//
// Applications usually import package cache, which adds encoding, read-through and fail-open
// behaviour.
//
// # Glossary
//
//   - store: a Redis: a standalone server, one behind Sentinels, or a cluster.
//   - module, operation: a module is a part of an application, for example "users"; an operation is
//     one of its cached calls, for example "list".
//   - slot: one module of one namespace: a group of keys on one node, so that each call on it is
//     atomic.
//   - policy, owner: a policy sets the TTL and limits of each operation of a module; its owner is
//     the operator that keeps it in force.
//   - scope: what an invalidation covers: a module, an operation, a user, or an operation of a
//     user.
//   - invalidation, purge: the same thing: an invalidation in code, a purge in text for people.
//   - epoch: 11 random characters that are never drawn again.
//   - head: a string with an epoch, for a module, an operation or a user. An entry is live if the
//     heads that cover it exist and have the epochs it carries.
//   - soft epoch, stale: a soft invalidation changes the second epoch in a head. Entries with
//     another one are stale: they may be served while one caller reloads them.
//   - lease, token, load lock: a load begins with a lease. Its token records the heads, and the
//     fill presents it. A load lock lets one caller load an entry while others wait.
//   - fence: what makes fills of older loads fail. In the head of an operation: characters that
//     each deletion of a single entry renews. Of a module: the invalidation of everything from
//     before the current incarnation.
//   - incarnation: one life of a server's data, named by run id and replication id. A new one may
//     hold an older state.
//   - schema: the version of an entry's payload. To readers of another schema the entry is a miss.
//     It is no part of the entry's address.
//   - hold, mark: a hold forbids fills for a while. Its mark stands in place of a head or of an
//     entry.
//   - index, reclaim: an index lists the entries of an operation or a user, and is detached when
//     its head goes. Reclaim frees the memory of detached indexes in small steps.
package registry
