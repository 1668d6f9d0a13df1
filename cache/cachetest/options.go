// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cachetest

import (
	"slices"
	"time"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/cache/internal/codec"
	"github.com/cachewright/cachewright/cache/internal/flight"
	"github.com/cachewright/cachewright/cache/internal/operations"
	"github.com/cachewright/cachewright/cache/internal/schema"
	"github.com/cachewright/cachewright/registry"
)

// DefaultTTL is long enough for most tests: see WithDefaultTTL.
const DefaultTTL = 5 * time.Minute

const defaultSharedLoadWait = time.Minute

// Option changes how a Fake works.
type Option func(*Fake)

// New returns an empty Fake.
func New(opts ...Option) *Fake {
	f := &Fake{state: &state{
		codec:     cache.JSON{},
		now:       time.Now,
		policies:  make(map[string]registry.Policy),
		revisions: make(map[string]string),
		modules:   make(map[string]bool),
		entries:   make(map[entryKey]entry),
		counts:    make(map[operationKey]counts),

		epochs:     make(map[scope]int),
		softEpochs: make(map[scope]int),
		held:       make(map[scope]map[holdID]time.Time),
		refreshing: make(map[entryKey]bool),
	}}
	f.flights.MaxWait = defaultSharedLoadWait
	for _, option := range opts {
		option(f)
	}
	f.encoder = codec.NewEncoder(f.codec, 1)
	f.trailing = flight.NewTrailing[flightKey, loaded](f.flights.MaxWait, nil)
	return f
}

// WithClock makes entries expire by another clock than the machine's.
func WithClock(now func() time.Time) Option { return func(f *Fake) { f.now = now } }

// WithDefaultTTL caches every operation of modules without a policy for a time, such as DefaultTTL.
// Default: they are not cached, as in production.
func WithDefaultTTL(ttl time.Duration) Option { return func(f *Fake) { f.ttl = ttl } }

// WithCodec is cache.WithCodec. Default: JSON. The Fake decodes each value that it stores, so that
// a test finds all that do not survive. See cache.Codec.
func WithCodec(c cache.Codec) Option { return func(f *Fake) { f.codec = c } }

// WithSharedLoadWait is cache.WithSharedLoadWait, by the machine's clock. Default 1m.
func WithSharedLoadWait(d time.Duration) Option { return func(f *Fake) { f.flights.MaxWait = d } }

// WithSchema returns the same cache as an application sees it that has this cache.WithSchema. So a
// test can let two versions of an application use it. It panics if cache.New would fail.
func (f *Fake) WithSchema(name string, named ...cache.Operation) *Fake {
	rule := schema.Rule{Schema: name}
	for _, o := range named {
		rule.Operations = append(rule.Operations, operations.Operation(o))
	}
	rules := append(slices.Clone(f.schemas), rule)
	if err := rules.Check(); err != nil {
		panic(err)
	}
	return &Fake{state: f.state, schemas: rules}
}
