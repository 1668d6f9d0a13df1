// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package audit compares a sample of the hits with the source.
package audit

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"time"

	"github.com/cachewright/cachewright/cache/internal/background"
	"github.com/cachewright/cachewright/cache/internal/codec"
	"github.com/cachewright/cachewright/cache/internal/failure"
	"github.com/cachewright/cachewright/cache/internal/gateway"
	"github.com/cachewright/cachewright/cache/internal/near"
	"github.com/cachewright/cachewright/cache/internal/operations"
	"github.com/cachewright/cachewright/cache/internal/outbox"
	"github.com/cachewright/cachewright/cache/internal/redact"
	"github.com/cachewright/cachewright/cache/internal/source"
	"github.com/cachewright/cachewright/registry"
)

// Result is what an audit found.
type Result string

// The results of package cache.
const (
	Consistent   Result = "consistent"
	Inconsistent Result = "inconsistent"
	Inconclusive Result = "inconclusive"
)

// Stats count the results of the audits of an operation.
type Stats struct {
	operations.Operation

	Consistent   int64
	Inconsistent int64
	Inconclusive int64
}

// Config says what an Auditor audits, and whom it informs.
type Config struct {
	Rules      Rules
	Gateway    *gateway.Gateway
	Outbox     *outbox.Outbox
	Near       *near.Cache // nil: none
	Background *background.Runner
	Failures   *failure.Reports
	Codec      codec.Codec
	// Audited, unless it is nil, is called with each result.
	Audited func(ctx context.Context, operation operations.Operation, result Result)
	// LoadTimeout bounds a load.
	LoadTimeout time.Duration
}

// Auditor audits hits in the background.
type Auditor struct {
	config  Config
	sampler *sampler
}

// New returns an Auditor.
func New(config Config) *Auditor {
	return &Auditor{config: config, sampler: newSampler(config.Rules)}
}

// Stats returns the counts, sorted by operation.
func (a *Auditor) Stats() []Stats { return a.sampler.stats() }

// served is an entry that a caller got.
type served interface {
	// live reports whether callers would still get it.
	live(ctx context.Context) bool
	// negative reports whether the source had nothing.
	negative() bool
	// decoded returns the value, which must not be changed.
	decoded(as reflect.Type) (any, error)
}

// Draws reports whether any hit may be drawn.
func (a *Auditor) Draws() bool { return a.sampler != nil }

// Hit audits a fresh hit in Redis, if it is drawn.
func (a *Auditor) Hit(
	ctx context.Context, key registry.Key, hit registry.Lookup, out any, load source.Load,
) {
	if hit.Stale {
		return
	}
	operation := operations.Operation{Module: key.Module, Name: key.Operation}
	if rule := a.sampler.draw(operation); rule != nil {
		entry := &servedByRedis{auditor: a, key: key, hit: hit}
		a.start(ctx, operation, rule, entry, reflect.TypeOf(out).Elem(), load)
	}
}

// NearHit audits a hit in the near cache, if it is drawn.
func (a *Auditor) NearHit(
	ctx context.Context, operation operations.Operation, key near.Key, out any, load source.Load,
) {
	rule := a.sampler.draw(operation)
	if rule == nil {
		return
	}
	if entry, found := a.config.Near.Peek(key); found {
		served := &servedNear{auditor: a, key: key, entry: entry}
		a.start(ctx, operation, rule, served, reflect.TypeOf(out).Elem(), load)
	}
}

// start audits in the background, unless too many audits run.
func (a *Auditor) start(
	ctx context.Context, operation operations.Operation, rule *Rule, entry served, as reflect.Type,
	load source.Load,
) {
	if !a.sampler.begin() {
		return
	}
	started := a.config.Background.Start(ctx, func(ctx context.Context) {
		defer a.sampler.end()
		result := a.contained(operation, func() Result {
			return a.audit(ctx, rule, entry, as, load)
		})
		a.sampler.count(operation, result)
		if a.config.Audited != nil {
			a.config.Audited(ctx, operation, result)
		}
		if result == Inconsistent && rule.Inconsistent != nil {
			rule.Inconsistent(operation)
		}
	})
	if !started {
		a.sampler.end()
	}
}

// contained reports a panic in functions of the application: there is no caller to panic in.
func (a *Auditor) contained(operation operations.Operation, audit func() Result) (result Result) {
	defer func() {
		if value := recover(); value != nil {
			result = Inconclusive
			err := redact.Panic("the loader, or Equal, panicked in an audit", value)
			a.config.Failures.Add(operation.Module, operation.Name, err)
		}
	}()
	return audit()
}

// audit finds an entry inconsistent if the source differed from it twice, a grace apart, while the
// entry was live all the time. Then no invalidation followed the change that the first load saw.
// One load is not enough: its invalidation may be on its way, and it may come from a replica that
// lags.
func (a *Auditor) audit(
	ctx context.Context, rule *Rule, entry served, as reflect.Type, load source.Load,
) Result {
	if !entry.live(ctx) {
		return Inconclusive
	}
	same, err := a.sameAsSource(ctx, rule, entry, as, load)
	switch {
	case err != nil:
		return Inconclusive
	case same:
		return Consistent
	case !entry.live(ctx):
		return Inconclusive
	}
	background.Sleep(ctx, rule.Grace)
	if ctx.Err() != nil { // the client was closed meanwhile
		return Inconclusive
	}
	same, err = a.sameAsSource(ctx, rule, entry, as, load)
	if err != nil || same || !entry.live(ctx) || ctx.Err() != nil {
		return Inconclusive
	}
	return Inconsistent
}

func (a *Auditor) sameAsSource(
	ctx context.Context, rule *Rule, entry served, as reflect.Type, load source.Load,
) (bool, error) {
	loaded, missing, err := a.load(ctx, load)
	if err != nil {
		return false, err
	}
	if missing || entry.negative() {
		return missing && entry.negative(), nil
	}
	cached, err := entry.decoded(as)
	if err != nil {
		return false, err
	}
	if rule.Equal != nil {
		value, err := codec.DecodeAs(a.config.Codec, loaded, as)
		return err == nil && rule.Equal(cached, value), err
	}
	return a.equal(cached, loaded, as)
}

// load returns what the source has, encoded, or that it has nothing.
func (a *Auditor) load(
	ctx context.Context, load source.Load,
) (payload []byte, missing bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, a.config.LoadTimeout)
	defer cancel()
	value, err := load(ctx)
	if errors.Is(err, source.ErrNotFound) {
		return nil, true, nil
	}
	if err != nil {
		return nil, false, err
	}
	payload, err = a.config.Codec.Marshal(value)
	return payload, false, err
}

// equal compares values as well as bytes. A value may have several encodings, and it may hold what
// its encoding leaves out.
func (a *Auditor) equal(cached any, loaded []byte, as reflect.Type) (bool, error) {
	value, err := codec.DecodeAs(a.config.Codec, loaded, as)
	if err != nil || reflect.DeepEqual(cached, value) {
		return err == nil, err
	}
	again, err := a.config.Codec.Marshal(cached)
	return err == nil && bytes.Equal(again, loaded), err
}

type servedByRedis struct {
	auditor *Auditor
	key     registry.Key
	hit     registry.Lookup
	version registry.Version
}

func (s *servedByRedis) live(ctx context.Context) bool {
	if s.auditor.config.Outbox.Covers(s.key) {
		return false
	}
	found, version, err := s.auditor.config.Gateway.Inspect(ctx, s.key)
	if s.version == "" {
		s.version = version
	}
	return err == nil && found.Hit && !found.Stale && version == s.version &&
		found.Negative == s.hit.Negative && bytes.Equal(found.Payload, s.hit.Payload)
}

func (s *servedByRedis) negative() bool { return s.hit.Negative }

func (s *servedByRedis) decoded(as reflect.Type) (any, error) {
	return codec.DecodeAs(s.auditor.config.Codec, s.hit.Payload, as)
}

type servedNear struct {
	auditor *Auditor
	key     near.Key
	entry   *near.Entry
}

func (s *servedNear) live(context.Context) bool {
	return s.auditor.config.Near.Serves(s.key, s.entry) && !s.auditor.config.Outbox.Waiting()
}

func (s *servedNear) negative() bool { return s.entry.Negative() }

func (s *servedNear) decoded(reflect.Type) (any, error) { return s.entry.Value(), nil }
