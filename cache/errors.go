// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import "errors"

// Errors of this package, for errors.Is. Errors of Redis are those of the registry:
// registry.ErrUnreachable and its neighbours.
var (
	// ErrQueued: an invalidation has not reached Redis yet. It is retried until it does.
	ErrQueued = errors.New("the invalidation is queued")
	// ErrNotFound is what a loader returns, or wraps, if the source has nothing under the key.
	ErrNotFound = errors.New("not found")
	// ErrRefused: the policy forbids the entry. Either it is larger than maxEntryBytes, or it has
	// no user and the operation's scope is User.
	ErrRefused = errors.New("refused by the policy")
	// ErrParams: the params cannot name an entry.
	ErrParams = errors.New("params cannot name an entry")
	// ErrLoadCycle: a loader fetches the entry that it loads, directly or through other loaders,
	// over and over.
	ErrLoadCycle = errors.New("the loader fetches its own entry")
	// ErrLoadStuck: two loads of the entry by other callers in this process did not end in time.
	// See WithSharedLoadWait.
	ErrLoadStuck = errors.New("loads by other callers do not end")
	// ErrCodec: a value cannot be encoded, or stored bytes cannot be decoded.
	ErrCodec = errors.New("codec")
)
