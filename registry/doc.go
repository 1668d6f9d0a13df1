// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package registry keeps cached entries, the indexes that make invalidation precise, and policies
// in Redis. It uses the cachewright function library (cachewright.lua, made of the parts in lua).
// It knows nothing of Kubernetes.
// docs/protocol.md specifies calls and bytes.
//
// Applications usually import package cache, which adds encoding, read-through and fail-open
// behaviour.
//
// # Glossary
//
//   - slot: one module of one Kubernetes namespace. All its keys sit on one node, so each call on
//     it is atomic.
//   - module, operation: a module is a part of an application, for example "users"; an operation is
//     one of its cached calls, for example "list". A policy sets the TTL and limits of each
//     operation of a module.
//   - scope: what an invalidation covers: a module, an operation, a user, or an operation of a
//     user.
//   - epoch: 11 random characters that are never drawn again.
//   - head: a string with an epoch, for a module, an operation or a user. An entry is live if the
//     heads that cover it exist and have the epochs it carries. A hard invalidation deletes a head;
//     a soft one changes its soft epoch, which makes entries stale.
//   - lease, token: a load begins with a lease. Its token records the heads, and the fill presents
//     it.
//   - fence: what makes fills of older loads fail. In the head of an operation: characters that
//     each deletion of a single entry renews. Of a module: the invalidation of everything from
//     before the current incarnation.
//   - load lock: lets one caller load an entry while others wait.
//   - incarnation: one life of a server's data, named by run id and replication id. A new one may
//     hold an older state.
//   - index: lists the entries of an operation or a user. It is detached when its head goes.
//   - reclaim: frees the memory of invalidated entries in small steps, through detached indexes.
//   - owner: the operator that keeps a policy in force; another one's claim is refused.
//   - store: a Redis: a standalone server, one behind Sentinels, or a cluster.
package registry
