// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"time"
)

// Cache is what an application depends on. *Client is the one over Redis. cachetest.Fake, in
// memory, takes its place in the application's tests. All methods are safe for concurrent use.
//
// Use the function Fetch rather than the methods Fetch, Get and Set where you can. It is typed, and
// only a read-through is fenced: a value whose load began before an invalidation is never stored
// after it.
type Cache interface {
	// Fetch reads the entry into dest, a non-nil pointer as for json.Unmarshal. If there is none,
	// it calls load and stores the result. Unlike json.Unmarshal, it replaces what dest points at:
	// the old value is neither merged nor written to, so dest may be used again. After an error
	// dest may hold anything. See the function Fetch.
	Fetch(ctx context.Context, key Key, dest any, load func(context.Context) (any, error)) error

	// Get reads the entry into dest, as Fetch does, and reports whether it was there, fresh or
	// stale. It refreshes nothing. ErrNotFound: the cache knows that the source has nothing. Any
	// other error says why the cache could not answer: load as after a miss.
	Get(ctx context.Context, key Key, dest any) (found bool, err error)

	// Set stores a value in place of the one that is there, for as long as the policy says. Loads
	// of the entry that are under way do not overwrite it. Readers find the former value or this one,
	// and never nothing. It cannot know what the value was made from: after a change to the source,
	// invalidate instead.
	//
	// It also returns nil if the policy does not cache the operation, or a Hold covers the entry.
	// ErrRefused: a limit or the scope of the policy forbids the entry. ErrParams, ErrCodec: it cannot
	// be stored at all.
	Set(ctx context.Context, key Key, value any) error

	// Delete removes one entry. Loads of it that are under way are not stored. Its errors are those
	// of InvalidateModule.
	Delete(ctx context.Context, key Key) error

	// InvalidateModule makes all entries of a module invalid, at once and whatever their number, in
	// every process. Loads that are under way are not stored.
	//
	// An error that is ErrQueued says that Redis could not be reached, so other processes may still
	// read the entries. You need not try again: the Cache tries in the background until the
	// invalidation is delivered. Until then this process loads what is covered, and stores none of
	// it. The invalidation is lost only if the process ends. After any other error the entries stay
	// valid.
	InvalidateModule(ctx context.Context, module string) error

	// InvalidateOperation does the same for one operation of a module.
	InvalidateOperation(ctx context.Context, module, operation string) error

	// InvalidateUser does the same for the entries of one user in the modules or, if none is given,
	// in every module of the namespace. If the modules of the namespace are not known, it does what
	// it can and returns an error that is registry.ErrModulesUnknown.
	InvalidateUser(ctx context.Context, user string, modules ...string) error

	// InvalidateSoftly makes the entries in scope stale, at once and whatever their number. A
	// reader still gets a stale entry, and the first one refreshes it in the background. Use it for
	// changes that readers may see a moment late, where many misses at once would hurt. Loads that
	// are under way are not stored. It also covers operations without staleFor in the policy.
	InvalidateSoftly(ctx context.Context, scope Scope) error

	// TTL returns how long entries of an operation live, 0 if they are not cached.
	TTL(ctx context.Context, module, operation string) (time.Duration, error)

	// Stats returns the statistics of the modules or, if none is given, of every module of the
	// namespace, sorted by name.
	Stats(ctx context.Context, modules ...string) ([]ModuleStats, error)
}

// Fetch returns the entry if the cache has it. If not, it calls load, stores the result for as long
// as the policy says, and returns it. If an invalidation finished before you called Fetch, you get
// data that was loaded after it.
//
// # Failures
//
// The cache never makes Fetch fail or hang. Fetch calls load and returns its value if Redis is
// down, slow or refuses. It does the same if the params cannot name an entry, or the value cannot
// be encoded. An error is always that of load, unchanged, or that of ctx, or ErrLoadCycle or
// ErrLoadStuck. After an error nothing is stored, with one exception: an error that is ErrNotFound.
// If the policy has a negativeTTL for the operation, other callers get ErrNotFound without a load
// for that time. Stored bytes that no longer decode as a T, as after a change of the type, are
// replaced.
//
// # Stale entries
//
// An entry is stale if its TTL has passed and the policy has staleFor, or if it was invalidated
// softly. Fetch returns a stale entry at once. One caller, across all processes, then calls load in
// the background, within WithRefreshTimeout, to replace it. If that fails or panics, the failure is
// reported, and after a second there is another attempt. Meanwhile the entry is served if it is
// there. Invalidate hard if callers must not see what was there before a change. If operations may
// be stale, load must not use what ends with its caller, such as a transaction: it may run after
// Fetch has returned.
//
// # Concurrent loads
//
// If another process is loading the entry already, Fetch waits for it for a moment: see
// WithLoadWait.
//
// Concurrent callers in a process share one load if the policy caches the operation, there was no
// invalidation between them, and Redis could say so. Each gets a value of its own. The caller whose
// load it was gets the result of load, the others a decoded copy. A caller whose ctx ends returns
// at once, and the load goes on while anyone waits for it. Its context has the values of the ctx of
// the caller that began it, but not its deadline. It ends when all callers have left. load may run
// on another goroutine than its caller. If it panics, that caller panics and the others load for
// themselves.
//
// While a Hold covers the entry, a caller shares only a load that began after the caller came. So
// one load runs, and one waits for its end, or for WithSharedLoadWait.
//
// A load may use the cache, with the context that it gets. If it fetches the entry that it loads,
// it does not wait for itself: the inner Fetch calls its own load, without sharing. If that one
// fetches the entry again, it gets ErrLoadCycle. The same holds for loads that fetch each other's
// entries, on however many goroutines. A load that fetches its entry with another context than its
// own looks like any other caller. It waits for itself for twice WithSharedLoadWait, then gets
// ErrLoadStuck.
//
// # Types
//
// What Fetch returns from the cache was encoded and decoded. With the default codec, a T must be a
// type that survives JSON. Values that do not are returned, and not stored: see Codec.
func Fetch[T any](
	ctx context.Context, c Cache, key Key, load func(context.Context) (T, error),
) (T, error) {
	var value T
	err := c.Fetch(ctx, key, &value, func(ctx context.Context) (any, error) { return load(ctx) })
	if err != nil {
		var zero T
		return zero, err
	}
	return value, nil
}
