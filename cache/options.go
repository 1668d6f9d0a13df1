// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

const (
	defaultTimeout             = 100 * time.Millisecond
	defaultInvalidationTimeout = 2 * time.Second
	defaultReportInterval      = 10 * time.Second
)

// Option changes how a Client works.
type Option func(*options)

type options struct {
	codec               Codec
	timeout             time.Duration
	invalidationTimeout time.Duration
	reportInterval      time.Duration
	logger              *slog.Logger
	failureHook         func(Failure)
}

func newOptions(opts []Option) (options, error) {
	o := options{
		codec:               JSON{},
		timeout:             defaultTimeout,
		invalidationTimeout: defaultInvalidationTimeout,
		reportInterval:      defaultReportInterval,
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
	)
}

func positive(option string, d time.Duration) error {
	if d <= 0 {
		return fmt.Errorf("%s: the duration must be more than 0, not %s", option, d)
	}
	return nil
}

// WithCodec makes the client store values in another form than JSON. All clients of a module must
// agree; what one cannot decode it replaces.
func WithCodec(codec Codec) Option { return func(o *options) { o.codec = codec } }

// WithTimeout bounds each call to Redis other than an invalidation; a Fetch waits for no more than
// one that fails. Default 100ms. Where the caller's context has a deadline, no call takes more than half
// of what is left, so that there is time to load.
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

// WithLogger sets where failures are logged, as warnings and at most one in ten seconds. Default:
// slog.Default().
func WithLogger(logger *slog.Logger) Option { return func(o *options) { o.logger = logger } }

// WithFailureHook sets a function that is told of each failure, also of those that are returned. It is
// called by the goroutine that met the failure, so it must be quick and safe for concurrent use.
func WithFailureHook(hook func(Failure)) Option { return func(o *options) { o.failureHook = hook } }
