// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"time"
)

// Cache is what an application depends on. *Client is the one over Redis; cachetest.Fake, in
// memory, stands in for it in the application's tests. All methods are safe for concurrent use.
//
// Use the function Fetch rather than the methods Fetch, Get and Set where it will do: it is typed,
// and only a read-through is fenced, which is to say that a value whose load began before an
// invalidation is never stored after it.
type Cache interface {
	// Fetch reads the entry into dest, a non-nil pointer as for json.Unmarshal, or else calls load
	// and stores what it returns. Unlike json.Unmarshal it replaces what dest points at: what that held is
	// neither mixed with the value nor written to, so a dest may be used again. After an error it may hold
	// anything. See the function Fetch.
	Fetch(ctx context.Context, key Key, dest any, load func(context.Context) (any, error)) error

	// Get reads the entry into dest, as Fetch does, and says whether it was there, fresh or stale; it
	// refreshes nothing. ErrNotFound: the cache knows that the source has nothing. Any other error says why the
	// cache could not answer: load as after a miss.
	Get(ctx context.Context, key Key, dest any) (found bool, err error)

	// Set stores a value in place of the one that is there, for as long as the policy says. Loads
	// of the entry that are under way will not overwrite it. It cannot know what the value was made
	// from: after a change to the source, invalidate instead.
	//
	// It returns nil also where the policy does not cache the operation. ErrRefused: a limit or
	// the scope of the policy forbids the entry. ErrParams, ErrCodec: it cannot be stored at all.
	Set(ctx context.Context, key Key, value any) error

	// Delete removes one entry. Loads of it that are under way will not be stored. Errors are as those of
	// InvalidateModule.
	Delete(ctx context.Context, key Key) error

	// InvalidateModule makes all entries of a module invalid, at once and whatever their number,
	// in every process, and keeps loads that are under way from being stored.
	//
	// An error that is ErrQueued says that Redis could not be reached, so other processes may read
	// the entries still. There is no need to try again: the Cache does, in the background, until the
	// invalidation is delivered; until then this process loads what is covered, and stores
	// none of it. Only the end of the process loses it. After any other error the entries stay valid.
	InvalidateModule(ctx context.Context, module string) error

	// InvalidateOperation does so for one operation of a module.
	InvalidateOperation(ctx context.Context, module, operation string) error

	// InvalidateUser does so for the entries of one user in the modules, or, if none is given, in
	// every module of the namespace. If the modules of the namespace are not known it does what it
	// can and returns an error that is registry.ErrModulesUnknown.
	InvalidateUser(ctx context.Context, user string, modules ...string) error

	// InvalidateSoftly makes the entries in scope stale, at once and whatever their number: who reads
	// one gets it still, and the first to do so loads it anew in the background. For changes that
	// readers may see a moment late, where a crowd of misses would hurt. Loads that are under way are not
	// stored. The entries of operations without staleFor in the policy turn stale as others do.
	InvalidateSoftly(ctx context.Context, scope Scope) error

	// TTL returns how long entries of an operation live, 0 if they are not cached.
	TTL(ctx context.Context, module, operation string) (time.Duration, error)

	// Stats returns the figures of the modules, or, if none is given, of every module of the
	// namespace, sorted by name.
	Stats(ctx context.Context, modules ...string) ([]ModuleStats, error)
}

// Key addresses an entry.
type Key struct {
	// Module whose CachePolicy applies, such as "users". Letters, digits, '.', '_' and '-'.
	Module string
	// Operation of the module, such as "getById". 1 to 128 bytes.
	Operation string
	// Params of the operation, if it has any: any value that JSON can hold. Entries are told apart
	// by it as ID describes.
	Params any
	// User whose entry it is, any bytes, up to 256. Empty: one entry serves all users. Set it
	// wherever the value depends on who asks, or users will see each other's.
	User string
}

// Scope says what of a namespace an invalidation covers: a module; an operation of it, a user's
// entries in it, or both; or, with the user alone, that user's entries in every module.
type Scope struct {
	Module    string
	Operation string
	User      string
}

// Errors of this package, for errors.Is. Those of Redis are the registry's: registry.ErrUnreachable
// and its neighbours.
var (
	// ErrQueued: an invalidation has not reached Redis yet. It is retried until it does.
	ErrQueued = errors.New("the invalidation is queued")
	// ErrNotFound is what a loader returns, or wraps, to say that the source has nothing under the key.
	ErrNotFound = errors.New("not found")
	// ErrRefused: the policy forbids the entry: it is larger than maxEntryBytes, or it has no user
	// and the operation's scope is User.
	ErrRefused = errors.New("refused by the policy")
	// ErrParams: the params cannot name an entry.
	ErrParams = errors.New("params cannot name an entry")
	// ErrLoadCycle: a loader fetches the entry that it loads, by itself or by way of other loaders, over and over.
	ErrLoadCycle = errors.New("the loader fetches its own entry")
	// ErrLoadStuck: two loads of the entry by other callers in this process did not end in time. See WithSharedLoadWait.
	ErrLoadStuck = errors.New("loads by other callers do not end")
	// ErrCodec: a value cannot be encoded, or stored bytes cannot be decoded.
	ErrCodec = errors.New("codec")
)

// Fetch returns the entry if the cache has it. If not, it calls load, stores what load returns for
// as long as the policy says, and returns it.
//
// The cache never makes Fetch fail or hang: if Redis is down, slow or refuses, if the params cannot
// name an entry or the value cannot be encoded, load is called and its value returned. An error is
// always load's own, as it is, or that of ctx, or one of two that say that loads would never end; nothing is stored then. The exception is an error that is
// ErrNotFound: where the policy has a negativeTTL for the operation, for so long other callers get
// ErrNotFound without a load. Stored bytes that no longer
// decode as a T, as after a change of the type, are replaced.
//
// An entry that is stale, for its TTL has passed and the policy has staleFor, or for it was
// invalidated softly, is returned at once. One caller over all processes then has load called in the
// background, within WithRefreshTimeout, to replace it. If that fails, or panics, the failure is told of,
// the entry is served on as long as it is there, and another attempt made after a second. Where
// callers must not see what was there before a change, invalidate hard: what Fetch loads for a caller
// who waits is never older than the last invalidation. Where operations may be stale, load must not
// use what ends with its caller, such as a transaction: it may run after Fetch has returned.
//
// If another process is loading the entry already, Fetch waits for it for a moment: see WithLoadWait.
//
// Concurrent callers in a process share one load if the policy caches the operation, no invalidation
// came between them and Redis could tell them so. Each gets a value of its own: the caller whose load it was gets
// what load returned, the others a decoded copy. A caller whose ctx ends returns at once; the load
// goes on while anyone waits for it. Its context has the values of the ctx of the caller that began
// it, but not its deadline, and ends when all callers have left. load may run on another goroutine
// than its caller's; if it panics, that caller panics and others load for themselves.
//
// A load may use the cache, with the context that it gets. One that fetches the entry that it loads does not
// wait for itself: the inner Fetch calls its own load, without sharing. Should that fetch the entry again, it gets
// ErrLoadCycle. It is the same for loads that fetch each other's entries, on however many goroutines. A load that
// fetches its entry with another context than its own cannot be told from any other caller: it waits for itself for
// twice WithSharedLoadWait, then gets ErrLoadStuck.
//
// What Fetch returns from the cache was encoded and decoded: with the default codec, a T should be
// a type that survives JSON.
func Fetch[T any](ctx context.Context, c Cache, key Key, load func(context.Context) (T, error)) (T, error) {
	var value T
	err := c.Fetch(ctx, key, &value, func(ctx context.Context) (any, error) { return load(ctx) })
	if err != nil {
		var zero T
		return zero, err
	}
	return value, nil
}
