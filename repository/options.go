// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package repository

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cachewright/cachewright/cache"
)

// Bounds of times. A hold has a whole second for COMMIT at least, and a cache refuses longer ones.
const (
	defaultHold  = 5 * time.Second
	shortestHold = 2 * time.Second
	longestHold  = 10 * time.Minute
)

// Cache is what InTx needs of a cache: *cache.Client has it, and cachetest.Fake.
type Cache interface {
	cache.Cache
	cache.Holder
}

// CacheAway says what InTx does if it cannot hold in the cache what the transaction changes.
type CacheAway int

const (
	// CommitAnyway commits, and invalidates afterwards, as soon as the cache is back. Until then other
	// processes may read what was before the change. It is the default. Stats counts it.
	CommitAnyway CacheAway = iota
	// Refuse rolls the transaction back, with ErrUnprotected.
	Refuse
)

// Option changes how a DB works.
type Option func(*options)

type options struct {
	cache  Cache
	away   CacheAway
	hold   time.Duration
	lag    time.Duration
	logger *slog.Logger
	outbox bool
}

// WithCache protects what c caches: InTx holds there what a transaction touches, and Fetch reads
// through it. Without it, nothing is held and Fetch only loads.
func WithCache(c Cache) Option { return func(o *options) { o.cache = c } }

// OnCacheAway says what InTx does if the cache is away. Default: CommitAnyway.
func OnCacheAway(what CacheAway) Option { return func(o *options) { o.away = what } }

// WithHold sets for how long a hold lasts that nobody renews: 2s to 10m, default 5s. It is renewed
// while COMMIT is under way. If the process dies in COMMIT, nothing of it is cached for so long. If
// the process freezes, COMMIT must end within half of it.
func WithHold(d time.Duration) Option { return func(o *options) { o.hold = d } }

// ReplicaLag is for loads that read from replicas of the database: 0 to 10m, default 0. For so long
// after a commit, what it changed is not cached. Choose more than the replicas ever lag behind.
func ReplicaLag(d time.Duration) Option { return func(o *options) { o.lag = d } }

// WithLogger sets where the DB logs what went wrong with the cache, as warnings, at most one in ten
// seconds. Default: slog.Default().
func WithLogger(logger *slog.Logger) Option { return func(o *options) { o.logger = logger } }

func newOptions(opts []Option) (options, error) {
	o := options{hold: defaultHold, logger: slog.Default()}
	for _, option := range opts {
		option(&o)
	}
	switch {
	case o.logger == nil:
		return o, errors.New("WithLogger: nil; leave it out, or give a logger")
	case o.away != CommitAnyway && o.away != Refuse:
		return o, errors.New("OnCacheAway takes CommitAnyway or Refuse")
	case o.hold < shortestHold || o.hold > longestHold:
		return o, fmt.Errorf("WithHold takes %s to %s, not %s", shortestHold, longestHold, o.hold)
	case o.lag < 0 || o.lag > longestHold:
		return o, fmt.Errorf("ReplicaLag takes 0 to %s, not %s", longestHold, o.lag)
	}
	return o, nil
}
