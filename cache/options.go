// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"log/slog"
	"time"

	"github.com/cachewright/cachewright/cache/internal/near"
	"github.com/cachewright/cachewright/cache/internal/schema"
	"github.com/cachewright/cachewright/registry"
)

// Option changes how a Client works.
type Option func(*options)

// WithCodec makes the client store values in another form than JSON. All clients of a module must
// use the same codec, or each its own WithSchema: a client replaces what it cannot decode.
func WithCodec(codec Codec) Option { return func(o *options) { o.codec = codec } }

// WithSchema names the version of the values that this application stores under the operations or,
// if none is given, under all. Name another one when values change so that other versions of the
// application could misread them. Default: none.
//
// An entry of another schema, or of none where this Client has one, is a miss, and the fill
// replaces it. That includes entries that are stale, and those that say that the source has
// nothing. The schema is no part of the entry's address: Delete, invalidations and holds are for
// all versions. While two versions run, each fill makes the entry a miss for the other version:
// docs/applications.md says what that costs.
//
// A schema has 1 to 64 printable ASCII characters without spaces. If WithSchema is given several
// times, the first one that covers an operation applies.
func WithSchema(name string, operations ...Operation) Option {
	rule := schema.Rule{Schema: name, Operations: covered(operations)}
	return func(o *options) { o.schemas = append(o.schemas, rule) }
}

// WithTimeout bounds each call to Redis, except invalidations. It also bounds the calls of a Fetch
// together; for the load of another process, a Fetch may wait longer (see WithLoadWait). Default
// 100ms. If the caller's context has a deadline, no call takes more than half of the time left, so
// that there is time to load.
//
// An answer that takes more than half of the timeout is as bad as none. After three of either kind
// in a row, Redis is not called for a while. A Fetch that finds nothing makes three calls. So the
// timeout should be at least four times what Redis takes to answer.
func WithTimeout(d time.Duration) Option { return func(o *options) { o.timeout = d } }

// WithInvalidationTimeout bounds each call to Redis that invalidates, holds or releases. Default
// 2s.
func WithInvalidationTimeout(d time.Duration) Option {
	return func(o *options) { o.invalidationTimeout = d }
}

// WithReportInterval sets how often the client adds its counts of hits and errors to those in
// Redis. Default 10s.
func WithReportInterval(d time.Duration) Option {
	return func(o *options) { o.reportInterval = d }
}

// WithRefreshTimeout bounds a load in the background that replaces a stale entry. During that time
// no other process refreshes the entry. Default 10s, at most 10m.
func WithRefreshTimeout(d time.Duration) Option {
	return func(o *options) { o.refreshTimeout = d }
}

// WithLoadWait sets how long a Fetch that finds nothing waits for another process that is loading
// the entry, before it loads the entry itself. It never waits for more than half of the time that
// its context has left. A process that dies while it loads delays others no longer than that. When
// a load ends and nothing is stored, one of those who wait loads next. Default 1s, at most 10m.
// With 0, processes do not wait for each other. Nor do they where the last loads of the operation
// in this process took up to 4 ms. That spares each miss a round trip.
func WithLoadWait(d time.Duration) Option { return func(o *options) { o.loadWait = d } }

// WithSharedLoadWait sets how long a Fetch waits for the load of another caller in this process.
// Then it reads the entry again and, if there is none, loads once more beside the first load. If
// that load does not end in time either, those who wait for it get ErrLoadStuck. Set it well above
// the time of the slowest load. Default 1m.
func WithSharedLoadWait(d time.Duration) Option { return func(o *options) { o.sharedLoadWait = d } }

// WithFenceWait sets how long the client loads without the cache after Redis was restarted, failed
// over or resharded. In that time, others may invalidate what an older state of Redis may have
// brought back. After it, the client itself invalidates the modules that it reads. Default 0: at
// once. For a CacheStore with onDataLoss: Replay, give the operator a minute: it invalidates less.
func WithFenceWait(d time.Duration) Option { return func(o *options) { o.fenceWait = d } }

// WithEarlyRefresh makes Fetch refresh an entry in the background before it ends, as it does with a
// stale one. So no caller waits for a load. The probability grows towards the end of the entry. It
// begins to grow earlier if loads of the operation take longer in this process. Across all
// processes, one at a time does it.
//
// beta scales how early: 1 is the optimum for most, 2 is twice as early. A read with r left to live
// refreshes with the probability exp(-r / (beta × time of a load)). An entry that is rarely read
// still ends. Each refresh counts as a miss. If values may be served past their TTL, staleFor in
// the policy does the same with fewer loads. Default 0: none.
func WithEarlyRefresh(beta float64) Option { return func(o *options) { o.earlyRefresh = beta } }

// WithNearCache makes Fetch and Get also keep what they read from Redis in memory, decoded. A hit
// in memory costs no call and no decoding. Default: none.
//
// Values in it are shared. Treat all that Fetch and Get return as read-only, including what maps,
// slices and pointers in them lead to. An entry whose type is not that of the caller's destination
// is read from Redis.
//
// Redis reports invalidations, wherever they are made, and they take effect when that message
// arrives. Those of this Client take effect at once. That takes two connections to each primary,
// whatever the number of modules. On one, heads are read. On the other, Redis reports changes of
// what was read. A module is followed from its first hit in Redis on. An entry is kept only if its
// heads were followed before it was read. When either connection is lost, nothing is kept, or
// served from memory, until it is back. A connection that falls silent is trusted for one second.
// So no read returns what another process invalidated more than a second before.
//
// An ACL user needs more permissions than without a near cache: docs/operations.md. The client
// given to New must be a *redis.Client or a *redis.ClusterClient that reads from primaries.
//
// The policy decides, live: a localTTL of 0 keeps nothing of an operation, a longer one bounds how
// long. The smaller of localTTL and MaxAge counts.
func WithNearCache(bounds NearCache) Option {
	return func(o *options) {
		bounds := near.Bounds(bounds).WithDefaults()
		o.nearCache = &bounds
	}
}

// WithAudit makes Fetch compare a share of its hits with the source. This measures how consistent
// the application is, with all its ways of changing the source. See Client.Audits. If it is given
// several times, the first Audit that covers an operation applies. Default: none.
//
// An audit runs in the background, and few run at a time. No caller waits for one, or sees it fail.
// It calls the load of the Fetch that was a hit, within WithRefreshTimeout. So load must not use
// what ends with its caller, such as a transaction.
//
// If the source differs from what was served, the audit waits for the Grace and loads again. The
// read was inconsistent if the source still differs, and the entry was neither invalidated nor
// replaced. Then the invalidation that should have followed the change is missing, or was lost.
// Stale entries are not audited.
func WithAudit(audit Audit) Option {
	return func(o *options) { o.audits = append(o.audits, audit.rule()) }
}

// WithAutoPipelining makes the client send in one batch what many goroutines read and fill at the
// same time. It sends fills on one connection for each primary, and reads of a module as one
// command. With registry.FullDuplex, reads go on the connection of the fills. It pays with many
// goroutines, and adds latency with few: measure. Default: each call takes a connection of the
// pool.
//
// Calls still obey WithTimeout and their contexts. But a connection that hangs delays all callers.
// The Redis client's ReadTimeout and MaxRetries limit how long: set both low. Meanwhile callers
// load from the source. ReadTimeout must be set. The client given to New must be a *redis.Client or
// a *redis.ClusterClient.
//
// Caches of one such client share its pipeline, and the duplex of the first one.
func WithAutoPipelining(duplex registry.Duplex) Option {
	return func(o *options) { o.pipelining = &duplex }
}

// WithLogger sets where failures are logged, as warnings, at most one in ten seconds. Names that no
// CachePolicy lists are logged, too, once each. Default: slog.Default().
func WithLogger(logger *slog.Logger) Option { return func(o *options) { o.logger = logger } }

// WithFailureHook sets a function that is called for each failure, including those that are
// returned. That values of an operation do not survive their Codec is one failure. It is also
// called once for each name that no CachePolicy lists, with ErrUnclaimed. The goroutine that met
// the failure calls it, so it must be quick and safe for concurrent use.
func WithFailureHook(hook func(Failure)) Option { return func(o *options) { o.failureHook = hook } }

// WithObserver sets who sees what the client does, for metrics and traces. Default: nobody, which
// costs nothing.
func WithObserver(observer Observer) Option { return func(o *options) { o.observer = observer } }
