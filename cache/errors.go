// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"github.com/cachewright/cachewright/cache/internal/checks"
	"github.com/cachewright/cachewright/cache/internal/codec"
	"github.com/cachewright/cachewright/cache/internal/holds"
	"github.com/cachewright/cachewright/cache/internal/loads"
	"github.com/cachewright/cachewright/cache/internal/outbox"
	"github.com/cachewright/cachewright/cache/internal/params"
	"github.com/cachewright/cachewright/cache/internal/source"
)

// Errors of this package, for errors.Is. Errors of Redis are those of the registry:
// registry.ErrUnreachable and its neighbours.
var (
	// ErrQueued: an invalidation, or the release of a hold, has not reached Redis yet. It is retried
	// until it does.
	ErrQueued = outbox.ErrQueued
	// ErrHoldLost: a hold did not last until it was released. See Hold.
	ErrHoldLost = holds.ErrLost
	// ErrNotFound is what a loader returns, or wraps, if the source has nothing under the key.
	ErrNotFound = source.ErrNotFound
	// ErrRefused: the policy forbids the entry. Either it is larger than maxEntryBytes, or it has
	// no user and the operation's scope is User.
	ErrRefused = loads.ErrRefused
	// ErrParams: the params cannot name an entry.
	ErrParams = params.ErrParams
	// ErrLoadCycle: a loader fetches the entry that it loads, directly or through other loaders,
	// over and over.
	ErrLoadCycle = loads.ErrCycle
	// ErrLoadStuck: two loads of the entry by other callers in this process did not end in time.
	// See WithSharedLoadWait.
	ErrLoadStuck = loads.ErrStuck
	// ErrTooMany: a call has more than MaxMany keys.
	ErrTooMany = checks.ErrTooMany
	// ErrCodec: a value cannot be encoded or does not survive that, or stored bytes cannot be decoded.
	// See Codec.
	ErrCodec = codec.ErrCodec
)

// Failure is something that the cache could not do. It holds neither payloads nor params nor users,
// so it may be logged and counted.
type Failure struct {
	Module    string
	Operation string // empty if it concerns the whole module
	Err       error
}
