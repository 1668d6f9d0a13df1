// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"errors"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/cache/internal/audit"
	"github.com/cachewright/cachewright/cache/internal/checks"
	"github.com/cachewright/cachewright/cache/internal/failure"
	"github.com/cachewright/cachewright/cache/internal/near"
	"github.com/cachewright/cachewright/cache/internal/schema"
	"github.com/cachewright/cachewright/registry"
)

const (
	defaultTimeout             = 100 * time.Millisecond
	defaultInvalidationTimeout = 2 * time.Second
	defaultReportInterval      = 10 * time.Second
	defaultRefreshTimeout      = 10 * time.Second
	defaultLoadWait            = time.Second
	defaultSharedLoadWait      = time.Minute

	// triedValues: of so many values, one is decoded to see whether it survives.
	triedValues = 64

	// maxLoadLock is the longest load lock that Redis grants.
	maxLoadLock = 10 * time.Minute
)

// options are what the Options of a Client set.
type options struct {
	namespace           string
	codec               Codec
	timeout             time.Duration
	invalidationTimeout time.Duration
	reportInterval      time.Duration
	refreshTimeout      time.Duration
	loadWait            time.Duration
	sharedLoadWait      time.Duration
	earlyRefresh        float64
	fenceWait           time.Duration
	nearCache           *near.Bounds
	pipelining          *registry.Duplex
	logger              *slog.Logger
	failureHook         func(Failure)
	observer            Observer
	audits              audit.Rules
	schemas             schema.Rules
}

func newOptions(namespace string, opts []Option) (options, error) {
	if err := checks.Namespace(namespace); err != nil {
		return options{}, err
	}
	o := options{
		namespace:           namespace,
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
		return options{}, errors.New("WithCodec and WithLogger: nil; leave them out, " +
			"or discard with slog.DiscardHandler")
	}
	return o, errors.Join(
		checks.Positive("WithTimeout", o.timeout),
		checks.Positive("WithInvalidationTimeout", o.invalidationTimeout),
		checks.Positive("WithReportInterval", o.reportInterval),
		checks.Positive("WithRefreshTimeout", o.refreshTimeout),
		checks.AtMost("WithRefreshTimeout", o.refreshTimeout, maxLoadLock),
		checks.AtLeast0("WithLoadWait", o.loadWait),
		checks.AtMost("WithLoadWait", o.loadWait, maxLoadLock),
		checks.Positive("WithSharedLoadWait", o.sharedLoadWait),
		checks.AtLeast0("WithFenceWait", o.fenceWait),
		checks.AtLeast0Number("WithEarlyRefresh", o.earlyRefresh),
		o.checkNearCache(),
		o.audits.Check(),
		o.schemas.Check(),
	)
}

func (o options) checkNearCache() error {
	if o.nearCache == nil {
		return nil
	}
	return o.nearCache.Check()
}

// hook returns the failure hook, nil if there is none.
func (o options) hook() failure.Hook {
	if o.failureHook == nil {
		return nil
	}
	return func(module, operation string, err error) {
		o.failureHook(Failure{Module: module, Operation: operation, Err: err})
	}
}

// open returns a registry over a Redis client, pipelined if the options say so.
func (o options) open(client redis.UniversalClient) (*registry.Registry, error) {
	if o.pipelining == nil {
		return registry.New(client), nil
	}
	return registry.NewPipelined(client, *o.pipelining)
}
