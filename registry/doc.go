// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package registry keeps cached entries, the index that makes their invalidation precise, and the
// policies they go by in Redis, through the cachewright function library (cachewright.lua). It
// knows nothing of Kubernetes. The bytes and calls are specified in docs/protocol.md.
//
// Applications usually import package cache, which adds encoding, read-through and fail-open
// behaviour.
package registry
