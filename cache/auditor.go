// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"time"

	"github.com/cachewright/cachewright/cache/internal/background"
	"github.com/cachewright/cachewright/cache/internal/gateway"
	"github.com/cachewright/cachewright/cache/internal/near"
	"github.com/cachewright/cachewright/cache/internal/outbox"
	"github.com/cachewright/cachewright/cache/internal/redact"
	"github.com/cachewright/cachewright/registry"
)

// auditor compares a sample of the hits with the source, in the background.
type auditor struct {
	sampler    *sampler
	gateway    *gateway.Gateway
	outbox     *outbox.Outbox
	near       *near.Cache
	background *background.Runner
	failures   *failures
	codec      Codec
	observer   Observer // nil: none

	loadTimeout time.Duration
}

// served is an entry that a caller got.
type served interface {
	// live reports whether callers would still get it.
	live(ctx context.Context) bool
	// negative reports whether the source had nothing.
	negative() bool
	// decoded returns the value, which must not be changed.
	decoded(as reflect.Type) (any, error)
}

// auditHit audits a fresh hit in Redis, if it is drawn.
func (a *auditor) auditHit(
	ctx context.Context, key Key, entry registry.Key, hit registry.Lookup, out any, load loadFunc,
) {
	if hit.Stale {
		return
	}
	if rule := a.sampler.draw(key); rule != nil {
		a.start(ctx, rule, key, &servedByRedis{auditor: a, key: entry, hit: hit}, out, load)
	}
}

// auditNear audits a hit in the near cache, if it is drawn.
func (a *auditor) auditNear(
	ctx context.Context, key Key, nearKey near.Key, out any, load loadFunc,
) {
	rule := a.sampler.draw(key)
	if rule == nil {
		return
	}
	if entry, found := a.near.Peek(nearKey); found {
		a.start(ctx, rule, key, &servedNear{auditor: a, key: nearKey, entry: entry}, out, load)
	}
}

// start audits in the background, unless too many audits run.
func (a *auditor) start(
	ctx context.Context, rule *Audit, key Key, entry served, out any, load loadFunc,
) {
	if !a.sampler.begin() {
		return
	}
	as := reflect.TypeOf(out).Elem()
	started := a.background.Start(ctx, func(ctx context.Context) {
		defer a.sampler.end()
		operation := Operation{key.Module, key.Operation}
		result := a.contained(operation, func() AuditResult {
			return a.audit(ctx, rule, entry, as, load)
		})
		a.sampler.count(operation, result)
		if a.observer != nil {
			a.observer.Audited(ctx, key.Module, key.Operation, result)
		}
		if result == AuditInconsistent && rule.Inconsistent != nil {
			rule.Inconsistent(operation)
		}
	})
	if !started {
		a.sampler.end()
	}
}

// contained reports a panic in functions of the application: there is no caller to panic in.
func (a *auditor) contained(operation Operation, audit func() AuditResult) (result AuditResult) {
	defer func() {
		if value := recover(); value != nil {
			result = AuditInconclusive
			err := redact.Panic("the loader, or Equal, panicked in an audit", value)
			a.failures.add(operation.Module, operation.Name, err)
		}
	}()
	return audit()
}

// audit finds an entry inconsistent if the source differed from it twice, a grace apart, while the
// entry was live all the time. Then no invalidation followed the change that the first load saw.
// One load is not enough: its invalidation may be on its way, and it may come from a replica that
// lags.
func (a *auditor) audit(
	ctx context.Context, rule *Audit, entry served, as reflect.Type, load loadFunc,
) AuditResult {
	if !entry.live(ctx) {
		return AuditInconclusive
	}
	same, err := a.sameAsSource(ctx, rule, entry, as, load)
	switch {
	case err != nil:
		return AuditInconclusive
	case same:
		return AuditConsistent
	case !entry.live(ctx):
		return AuditInconclusive
	}
	background.Sleep(ctx, rule.Grace)
	if ctx.Err() != nil { // the client was closed meanwhile
		return AuditInconclusive
	}
	same, err = a.sameAsSource(ctx, rule, entry, as, load)
	if err != nil || same || !entry.live(ctx) || ctx.Err() != nil {
		return AuditInconclusive
	}
	return AuditInconsistent
}

func (a *auditor) sameAsSource(
	ctx context.Context, rule *Audit, entry served, as reflect.Type, load loadFunc,
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
		value, err := decodeAs(a.codec, loaded, as)
		return err == nil && rule.Equal(cached, value), err
	}
	return a.equal(cached, loaded, as)
}

// load returns what the source has, encoded, or that it has nothing.
func (a *auditor) load(
	ctx context.Context, load loadFunc,
) (payload []byte, missing bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, a.loadTimeout)
	defer cancel()
	value, err := load(ctx)
	if errors.Is(err, ErrNotFound) {
		return nil, true, nil
	}
	if err != nil {
		return nil, false, err
	}
	payload, err = a.codec.Marshal(value)
	return payload, false, err
}

// equal compares values as well as bytes. A value may have several encodings, and it may hold what
// its encoding leaves out.
func (a *auditor) equal(cached any, loaded []byte, as reflect.Type) (bool, error) {
	value, err := decodeAs(a.codec, loaded, as)
	if err != nil || reflect.DeepEqual(cached, value) {
		return err == nil, err
	}
	again, err := a.codec.Marshal(cached)
	return err == nil && bytes.Equal(again, loaded), err
}

type servedByRedis struct {
	auditor *auditor
	key     registry.Key
	hit     registry.Lookup
	version registry.Version
}

func (s *servedByRedis) live(ctx context.Context) bool {
	if s.auditor.outbox.Covers(s.key) {
		return false
	}
	found, version, err := s.auditor.gateway.Inspect(ctx, s.key)
	if s.version == "" {
		s.version = version
	}
	return err == nil && found.Hit && !found.Stale && version == s.version &&
		found.Negative == s.hit.Negative && bytes.Equal(found.Payload, s.hit.Payload)
}

func (s *servedByRedis) negative() bool { return s.hit.Negative }

func (s *servedByRedis) decoded(as reflect.Type) (any, error) {
	return decodeAs(s.auditor.codec, s.hit.Payload, as)
}

type servedNear struct {
	auditor *auditor
	key     near.Key
	entry   *near.Entry
}

func (s *servedNear) live(context.Context) bool {
	return s.auditor.near.Serves(s.key, s.entry) && !s.auditor.outbox.Waiting()
}

func (s *servedNear) negative() bool { return s.entry.Negative() }

func (s *servedNear) decoded(reflect.Type) (any, error) { return s.entry.Value(), nil }
