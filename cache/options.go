// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/registry"
)

const (
	defaultTimeout             = 100 * time.Millisecond
	defaultInvalidationTimeout = 2 * time.Second
	defaultReportInterval      = 10 * time.Second
	defaultRefreshTimeout      = 10 * time.Second
	defaultLoadWait            = time.Second
	defaultSharedLoadWait      = time.Minute

	// maxLoadLock is what Redis grants to one load.
	maxLoadLock = 10 * time.Minute
	// maxTTL is that of policies.
	maxTTL = 720 * time.Hour
)

// Option changes how a Client works.
type Option func(*options)

type options struct {
	codec               Codec
	timeout             time.Duration
	invalidationTimeout time.Duration
	reportInterval      time.Duration
	refreshTimeout      time.Duration
	loadWait            time.Duration
	sharedLoadWait      time.Duration
	earlyRefresh        float64
	fenceWait           time.Duration
	nearCache           *NearCache
	pipelining          *registry.Duplex
	logger              *slog.Logger
	failureHook         func(Failure)
	observer            Observer
	audits              []Audit
}

func newOptions(opts []Option) (options, error) {
	o := options{
		codec:               JSON{},
		timeout:             defaultTimeout,
		invalidationTimeout: defaultInvalidationTimeout,
		reportInterval:      defaultReportInterval,
		refreshTimeout:      defaultRefreshTimeout,
		loadWait:            defaultLoadWait,
		sharedLoadWait:      defaultSharedLoadWait,
		logger:              slog.Default(),
	}
	for _, option := range opts {
		option(&o)
	}
	if o.codec == nil || o.logger == nil {
		return options{}, errors.New("WithCodec and WithLogger: nil; leave them out, or discard with slog.DiscardHandler")
	}
	return o, errors.Join(
		positive("WithTimeout", o.timeout),
		positive("WithInvalidationTimeout", o.invalidationTimeout),
		positive("WithReportInterval", o.reportInterval),
		positive("WithRefreshTimeout", o.refreshTimeout),
		atMost("WithRefreshTimeout", o.refreshTimeout, maxLoadLock),
		atLeast0("WithLoadWait", o.loadWait),
		atMost("WithLoadWait", o.loadWait, maxLoadLock),
		positive("WithSharedLoadWait", o.sharedLoadWait),
		atLeast0("WithFenceWait", o.fenceWait),
		o.checkEarlyRefresh(),
		o.checkNearCache(),
		o.checkAudits(),
	)
}

func (o options) checkAudits() error {
	for _, audit := range o.audits {
		if err := audit.check(); err != nil {
			return err
		}
	}
	return nil
}

func (o options) checkEarlyRefresh() error {
	if !(o.earlyRefresh >= 0) || math.IsInf(o.earlyRefresh, 0) { // not a number is none of these
		return fmt.Errorf("WithEarlyRefresh: must be a number of at least 0, not %v", o.earlyRefresh)
	}
	return nil
}

func (o options) checkNearCache() error {
	if o.nearCache == nil {
		return nil
	}
	return o.nearCache.check()
}

func positive(option string, d time.Duration) error {
	if d <= 0 {
		return fmt.Errorf("%s: the duration must be more than 0, not %s", option, d)
	}
	return nil
}

func atLeast0(option string, d time.Duration) error {
	if d < 0 {
		return fmt.Errorf("%s: the duration must be at least 0, not %s", option, d)
	}
	return nil
}

func atMost(option string, d, most time.Duration) error {
	if d > most {
		return fmt.Errorf("%s: the duration must be at most %s, not %s", option, most, d)
	}
	return nil
}

// WithCodec makes the client store values in another form than JSON. All clients of a module must
// agree; what one cannot decode it replaces.
func WithCodec(codec Codec) Option { return func(o *options) { o.codec = codec } }

// WithTimeout bounds each call to Redis other than an invalidation, and the calls of a Fetch in all. (For another process'
// load a Fetch may wait longer: see WithLoadWait.) Default 100ms. Where the caller's context has a deadline, no call takes
// more than half of what is left, so that there is time to load.
//
// An answer that takes more than half of it is as bad as none: after three in a row, of either, Redis is left alone. A Fetch
// that finds nothing makes three calls, so it should be at least four times what Redis takes to answer.
func WithTimeout(d time.Duration) Option { return func(o *options) { o.timeout = d } }

// WithInvalidationTimeout bounds each call to Redis that invalidates. Default 2s.
func WithInvalidationTimeout(d time.Duration) Option {
	return func(o *options) { o.invalidationTimeout = d }
}

// WithReportInterval says how often the client adds its counts of hits and errors to those in Redis.
// Default 10s.
func WithReportInterval(d time.Duration) Option {
	return func(o *options) { o.reportInterval = d }
}

// WithRefreshTimeout bounds a load in the background that is to replace a stale entry; for so long no other
// process refreshes that entry. Default 10s, at most 10m.
func WithRefreshTimeout(d time.Duration) Option {
	return func(o *options) { o.refreshTimeout = d }
}

// WithLoadWait says how long a Fetch that finds nothing waits, at most, for another process that is
// loading the entry already, before it loads for itself; but never for more than half of what is left of its
// context's time. A process that dies while it loads holds up others for no longer; when a load
// ends and nothing is stored, one of those who wait loads next. Default 1s, at most 10m; 0: processes load each for
// themselves.
func WithLoadWait(d time.Duration) Option { return func(o *options) { o.loadWait = d } }

// WithSharedLoadWait says how long a Fetch waits, at most, for the load of another caller in this process. Then it reads
// the entry again and, if nothing is there, loads once more beside the first load. Where that one does not end in time either,
// those who wait for it get ErrLoadStuck. Set it well above the time of the slowest load. Default 1m.
func WithSharedLoadWait(d time.Duration) Option { return func(o *options) { o.sharedLoadWait = d } }

// WithFenceWait says how long the client loads without the cache, after Redis was restarted, failed over or resharded,
// until somebody else has invalidated what an older state may have brought back. Then it invalidates the modules that it
// reads by itself. Default 0: at once. For a CacheStore with onDataLoss: Replay, give the operator a minute: it
// invalidates less.
func WithFenceWait(d time.Duration) Option { return func(o *options) { o.fenceWait = d } }

// WithEarlyRefresh makes Fetch refresh an entry in the background before it ends, as it does a stale one, so that no
// caller waits for a load: the more probably the nearer the end is, and the earlier the longer loads of the
// operation take in this process. One process, over all, does it at a time. beta scales how early: 1 is the
// optimum for most; with 2 it is twice as early; a read with r left to live refreshes with the probability
// exp(-r / (beta × time of a load)). An entry that is seldom read ends as ever. Each refresh is counted as a miss.
// Where values may be served past their TTL, staleFor in the policy does the same with fewer loads. Default 0:
// none.
func WithEarlyRefresh(beta float64) Option { return func(o *options) { o.earlyRefresh = beta } }

// WithNearCache makes Fetch and Get keep what they read from Redis in memory too, decoded. A hit in it
// costs no call and no decoding. Default: none.
//
// Values in it are shared: treat all that Fetch and Get return as read-only, down to what maps, slices and
// pointers in them lead to. An entry whose type is not that of the caller's destination is read from
// Redis.
//
// Redis tells of invalidations, wherever they are made, and they are obeyed when that message arrives; those of this
// Client at once. That takes two connections to each primary, whatever the number of modules: one on which heads are read,
// one on which Redis tells of changes of what was read. A module is followed from the first hit in Redis on, and an entry is
// kept only if its heads were followed before it was read. When either connection is lost nothing is kept, or served
// from memory, until it is back; one that falls silent is believed for a second. So no read returns what another process
// invalidated more than a second before. An ACL user needs more than without:
// docs/operations.md. The client given to New must be a
// *redis.Client or a *redis.ClusterClient that reads from primaries.
//
// The policy has the last word, live: a localTTL of 0 keeps nothing of an operation near, a longer one bounds
// how long. Of localTTL and MaxAge the smaller counts.
func WithNearCache(bounds NearCache) Option {
	return func(o *options) {
		bounds := bounds.withDefaults()
		o.nearCache = &bounds
	}
}

// WithAudit makes Fetch hold a share of its hits against the source: the consistency that the application really
// has, with all its ways of changing the source, as a figure. See Client.Audits. Given several times, the first that
// covers an operation applies. Default: none.
//
// An audit runs in the background, and few at a time; no caller waits for it, or sees it fail. It calls the load of
// the Fetch that was a hit, within WithRefreshTimeout, so load must not use what ends with its caller, such as a
// transaction. If the source has something else than was served, it waits for the Grace and loads again.
// The read was inconsistent if the source still has something else, and the entry has not been invalidated or
// replaced: the invalidation that should have followed the change is missing, or was lost.
// Entries that are stale are not audited.
func WithAudit(audit Audit) Option {
	return func(o *options) { o.audits = append(o.audits, audit.withDefaults()) }
}

// WithAutoPipelining makes the client send to Redis in one go what many goroutines read and fill at the same time: fills
// on one connection for each primary, and reads of a module as one command (with registry.FullDuplex, on the connection
// of the fills). It pays with many goroutines, and costs latency with few: measure. Default: each call takes a connection
// of the pool.
//
// Calls keep to WithTimeout and to their contexts. But a connection that hangs holds up all callers, who load from the
// source meanwhile, for as long as the Redis client's ReadTimeout and MaxRetries say: set both low. ReadTimeout must be
// set, and the client given to New must be a *redis.Client or a *redis.ClusterClient. Caches of one such client share
// its pipeline, and the duplex of the first one.
func WithAutoPipelining(duplex registry.Duplex) Option {
	return func(o *options) { o.pipelining = &duplex }
}

// open returns what the options say of a Redis client.
func (o options) open(client redis.UniversalClient) (*registry.Registry, error) {
	if o.pipelining == nil {
		return registry.New(client), nil
	}
	return registry.NewPipelined(client, *o.pipelining)
}

// WithLogger sets where failures are logged, as warnings and at most one in ten seconds. Default:
// slog.Default().
func WithLogger(logger *slog.Logger) Option { return func(o *options) { o.logger = logger } }

// WithFailureHook sets a function that is told of each failure, also of those that are returned. It is
// called by the goroutine that met the failure, so it must be quick and safe for concurrent use.
func WithFailureHook(hook func(Failure)) Option { return func(o *options) { o.failureHook = hook } }

// WithObserver sets who is told what the client does, for metrics and traces. Default: nobody, which costs
// nothing.
func WithObserver(observer Observer) Option { return func(o *options) { o.observer = observer } }
