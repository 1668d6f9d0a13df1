// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"

	"github.com/cachewright/cachewright/cache/internal/background"
	"github.com/cachewright/cachewright/cache/internal/near"
	"github.com/cachewright/cachewright/cache/internal/redact"
	"github.com/cachewright/cachewright/registry"
)

const (
	// auditsAtOnce bounds the audits of a process, and with them what they ask of the source. Hits beyond
	// are not audited.
	auditsAtOnce = 4
	// auditedOperations bounds the operations whose results are counted.
	auditedOperations = 1000
)

// auditor draws the hits that are audited, and counts what came of them. A nil auditor draws none.
type auditor struct {
	rules   []Audit
	largest float64 // of the shares
	room    chan struct{}

	mu     sync.Mutex
	counts map[Operation]*AuditStats
}

func newAuditor(rules []Audit) *auditor {
	if len(rules) == 0 {
		return nil
	}
	a := &auditor{
		rules:  rules,
		room:   make(chan struct{}, auditsAtOnce),
		counts: make(map[Operation]*AuditStats),
	}
	for _, rule := range rules {
		a.largest = max(a.largest, rule.Share)
	}
	return a
}

// draw returns the rule by which a hit is to be audited, or nil. Most hits cost one random number.
func (a *auditor) draw(key Key) *Audit {
	if a == nil {
		return nil
	}
	drawn := rand.Float64()
	if drawn >= a.largest {
		return nil
	}
	for i, rule := range a.rules {
		if rule.covers(Operation{key.Module, key.Operation}) {
			if drawn < rule.Share {
				return &a.rules[i]
			}
			return nil
		}
	}
	return nil
}

func (a *auditor) count(operation Operation, result AuditResult) {
	a.mu.Lock()
	defer a.mu.Unlock()
	stats, known := a.counts[operation]
	if !known {
		if len(a.counts) >= auditedOperations {
			return
		}
		stats = &AuditStats{Operation: operation}
		a.counts[operation] = stats
	}
	switch result {
	case AuditConsistent:
		stats.Consistent++
	case AuditInconsistent:
		stats.Inconsistent++
	case AuditInconclusive:
		stats.Inconclusive++
	}
}

// Audits returns what the audits of this process found so far, sorted by operation.
func (c *Client) Audits() []AuditStats {
	if c.auditor == nil {
		return nil
	}
	c.auditor.mu.Lock()
	defer c.auditor.mu.Unlock()
	all := make([]AuditStats, 0, len(c.auditor.counts))
	for _, stats := range c.auditor.counts {
		all = append(all, *stats)
	}
	slices.SortFunc(all, func(a, b AuditStats) int {
		return cmp.Or(cmp.Compare(a.Module, b.Module), cmp.Compare(a.Name, b.Name))
	})
	return all
}

// served is the entry that a caller was given.
type served interface {
	// live says whether callers would still be given it.
	live(ctx context.Context) bool
	// negative says that the source had nothing.
	negative() bool
	// decoded returns the value, which is not to be changed.
	decoded(as reflect.Type) (any, error)
}

// auditHit audits a fresh hit by a read of Redis, if it is drawn.
func (c *Client) auditHit(ctx context.Context, key Key, entry registry.Key, hit registry.Lookup, out any, load loader) {
	if hit.Stale {
		return
	}
	if rule := c.auditor.draw(key); rule != nil {
		c.startAudit(ctx, rule, key, &servedByRedis{client: c, key: entry, hit: hit}, out, load)
	}
}

// auditNear audits a hit in the process' own memory, if it is drawn.
func (c *Client) auditNear(ctx context.Context, key Key, nearby near.Key, out any, load loader) {
	rule := c.auditor.draw(key)
	if rule == nil {
		return
	}
	if entry, found := c.near.Peek(nearby); found {
		c.startAudit(ctx, rule, key, &servedNear{client: c, key: nearby, entry: entry}, out, load)
	}
}

// startAudit audits in the background, if there is room.
func (c *Client) startAudit(ctx context.Context, rule *Audit, key Key, entry served, out any, load loader) {
	select {
	case c.auditor.room <- struct{}{}:
	default:
		return
	}
	as := reflect.TypeOf(out).Elem()
	started := c.background.Start(ctx, func(ctx context.Context) {
		defer func() { <-c.auditor.room }()
		operation := Operation{key.Module, key.Operation}
		result := c.tryAudit(operation, func() AuditResult { return c.audit(ctx, rule, entry, as, load) })
		c.auditor.count(operation, result)
		if c.observer != nil {
			c.observer.Audited(ctx, key.Module, key.Operation, result)
		}
		if result == AuditInconsistent && rule.Inconsistent != nil {
			rule.Inconsistent(operation)
		}
	})
	if !started {
		<-c.auditor.room
	}
}

// tryAudit tells of a panic in the application's functions: there is no caller to panic in.
func (c *Client) tryAudit(operation Operation, audit func() AuditResult) (result AuditResult) {
	defer func() {
		if value := recover(); value != nil {
			result = AuditInconclusive
			c.failed(operation.Module, operation.Name, redact.Panic("the loader, or Equal, panicked in an audit", value))
		}
	}()
	return audit()
}

// audit finds an entry inconsistent if the source had something else twice, a grace apart, and the entry was live
// before, between and after: then no invalidation followed the change that the first load saw. What the source
// has now is not enough, for its invalidation may be on its way; nor is one load, which may come from a
// replica that lags.
func (c *Client) audit(ctx context.Context, rule *Audit, entry served, as reflect.Type, load loader) AuditResult {
	if !entry.live(ctx) {
		return AuditInconclusive
	}
	same, err := c.sameAsSource(ctx, rule, entry, as, load)
	switch {
	case err != nil:
		return AuditInconclusive
	case same:
		return AuditConsistent
	case !entry.live(ctx):
		return AuditInconclusive
	}
	background.Sleep(ctx, rule.Grace)
	if ctx.Err() != nil { // the client was closed in the grace
		return AuditInconclusive
	}
	same, err = c.sameAsSource(ctx, rule, entry, as, load)
	if err != nil || same || !entry.live(ctx) || ctx.Err() != nil {
		return AuditInconclusive
	}
	return AuditInconsistent
}

func (c *Client) sameAsSource(ctx context.Context, rule *Audit, entry served, as reflect.Type, load loader) (bool, error) {
	loaded, missing, err := c.loadToCompare(ctx, load)
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
		value, err := c.decodedAs(loaded, as)
		return err == nil && rule.Equal(cached, value), err
	}
	return c.equal(cached, loaded, as)
}

// loadToCompare returns what the source has, encoded, or that it has nothing.
func (c *Client) loadToCompare(ctx context.Context, load loader) (payload []byte, missing bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.refreshTimeout)
	defer cancel()
	value, err := load(ctx)
	if errors.Is(err, ErrNotFound) {
		return nil, true, nil
	}
	if err != nil {
		return nil, false, err
	}
	payload, err = c.codec.Marshal(value)
	return payload, false, err
}

// equal compares values as well as bytes: an encoding may be one of several for the same value, and a value may
// hold what is not part of it.
func (c *Client) equal(cached any, loaded []byte, as reflect.Type) (bool, error) {
	value, err := c.decodedAs(loaded, as)
	if err != nil || reflect.DeepEqual(cached, value) {
		return err == nil, err
	}
	again, err := c.codec.Marshal(cached)
	return err == nil && bytes.Equal(again, loaded), err
}

func (c *Client) decodedAs(payload []byte, as reflect.Type) (any, error) {
	out := reflect.New(as)
	err := c.codec.Unmarshal(payload, out.Interface())
	return out.Elem().Interface(), err
}

type servedByRedis struct {
	client  *Client
	key     registry.Key
	hit     registry.Lookup
	version registry.Version
}

func (s *servedByRedis) live(ctx context.Context) bool {
	if s.client.outbox.Covers(s.key) {
		return false
	}
	found, version, err := s.client.inspect(ctx, s.key)
	if s.version == "" {
		s.version = version
	}
	return err == nil && found.Hit && !found.Stale && version == s.version &&
		found.Negative == s.hit.Negative && bytes.Equal(found.Payload, s.hit.Payload)
}

func (s *servedByRedis) negative() bool { return s.hit.Negative }

func (s *servedByRedis) decoded(as reflect.Type) (any, error) {
	return s.client.decodedAs(s.hit.Payload, as)
}

type servedNear struct {
	client *Client
	key    near.Key
	entry  *near.Entry
}

func (s *servedNear) live(context.Context) bool {
	return s.client.near.Serves(s.key, s.entry) && !s.client.outbox.Waiting()
}

func (s *servedNear) negative() bool { return s.entry.Negative() }

func (s *servedNear) decoded(reflect.Type) (any, error) { return s.entry.Value(), nil }
