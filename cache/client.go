// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/cache/internal/background"
	"github.com/cachewright/cachewright/cache/internal/fence"
	"github.com/cachewright/cachewright/cache/internal/gateway"
	"github.com/cachewright/cachewright/cache/internal/near"
	"github.com/cachewright/cachewright/cache/internal/outbox"
	"github.com/cachewright/cachewright/cache/internal/report"
	"github.com/cachewright/cachewright/registry"
)

var _ Cache = (*Client)(nil)

// Client is the Cache over Redis, for one namespace. Make one for the life of the process. It is
// safe for concurrent use.
type Client struct {
	background  *background.Runner
	gateway     *gateway.Gateway
	near        *near.Cache // nil: none
	outbox      *outbox.Outbox
	reports     *report.Reporter
	policies    *policies
	statistics  *statistics
	invalidator *invalidator
	loader      *loader

	unwatch func() // ends the observer's access to the figures
}

// New returns a Client for the entries of one namespace: that of the CachePolicies. It does not
// connect. Call Close when the process ends. The given client stays open.
//
// The options of the given client must have ContextTimeoutEnabled set, as registry.ClientFromEnv
// does. Without it, a Redis that hangs makes callers wait for go-redis' own timeouts and retries:
// seconds rather than milliseconds. Switch MaintNotificationsConfig off in them, too, as
// ClientFromEnv does: go-redis 9.23 has a data race between its maintenance notifications and
// connections that leave its pool.
func New(client redis.UniversalClient, namespace string, opts ...Option) (*Client, error) {
	if !obeysDeadlines(client) {
		return nil, errors.New("cache: set ContextTimeoutEnabled in the options of the Redis " +
			"client, so that a Redis that hangs cannot hold up the application")
	}
	o, err := newOptions(namespace, opts)
	if err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	store, err := o.open(client)
	if err != nil {
		return nil, fmt.Errorf("cache: WithAutoPipelining: %w", err)
	}
	failures := newFailures(o.logger, o.failureHook)
	guard := fence.New(client, store, o.fenceWait, func(err error) { failures.report("", "", err) })
	openNear := func(config near.Config) (*near.Cache, error) {
		config.Client = client
		config.Generation, config.ReadsReplicas = guard.Generation, guard.ReadsReplicas
		return near.New(config)
	}
	return newClient(gateway.Fenced(store, guard), o, failures, openNear)
}

// newClient returns a Client over a store. openNear opens the near cache, if the options want one.
func newClient(
	store gateway.Store, o options, failures *failures,
	openNear func(near.Config) (*near.Cache, error),
) (*Client, error) {
	c := &Client{background: background.New(failures.panicked), unwatch: func() {}}
	known := &modules{}
	c.gateway = gateway.New(gateway.Config{
		Store:               store,
		Namespace:           o.namespace,
		Timeout:             o.timeout,
		InvalidationTimeout: o.invalidationTimeout,
		Background:          c.background,
		Hooks: gateway.Hooks{
			Failed: failures.add,
			Filled: observedFills(o.observer),
			Leased: known.add,
			Changed: func(slot registry.Slot, operation, user string) {
				c.near.Changed(slot, operation, user)
			},
		},
	})
	known.gateway = c.gateway
	c.policies = &policies{gateway: c.gateway, failures: failures}
	c.statistics = &statistics{gateway: c.gateway, modules: known, failures: failures}
	c.reports = report.New(c.statistics.send, o.reportInterval)
	failures.reports, c.statistics.reports = c.reports, c.reports
	c.invalidator = &invalidator{
		gateway: c.gateway, modules: known, failures: failures,
		observer: o.observer, timeout: o.timeout,
	}
	c.outbox = outbox.New(c.invalidator.deliver, known.all, c.background)
	c.invalidator.outbox = c.outbox
	if err := c.openNear(o, failures, openNear); err != nil {
		err = fmt.Errorf("cache: WithNearCache: %w", err)
		return nil, errors.Join(err, c.Close(context.Background()))
	}
	c.loader = c.newLoader(o, failures)
	if o.observer != nil {
		c.unwatch = o.observer.Watch(o.namespace, c.figures)
	}
	return c, nil
}

func (c *Client) openNear(
	o options, failures *failures, open func(near.Config) (*near.Cache, error),
) (err error) {
	if o.nearCache == nil {
		return nil
	}
	c.near, err = open(near.Config{
		Bounds:     near.Bounds(*o.nearCache),
		Policy:     c.policies.read,
		Hits:       c.reports.Hits,
		Failed:     func(err error) { failures.report("", "", err) },
		Background: c.background,
	})
	return err
}

func (c *Client) newLoader(o options, failures *failures) *loader {
	early := &headStarts{beta: o.earlyRefresh}
	loads := &loads{
		gateway: c.gateway, outbox: c.outbox, background: c.background, failures: failures,
		codec: o.codec, early: early,
		waiter: waiter{gateway: c.gateway, loadWait: o.loadWait, timeout: o.timeout},
	}
	loads.flights.MaxWait = o.sharedLoadWait
	loads.flights.OnOrphanPanic = loads.orphanPanicked
	return &loader{
		gateway: c.gateway, outbox: c.outbox, near: c.near, reports: c.reports, failures: failures,
		observer: o.observer, codec: o.codec, timeout: o.timeout, loadWait: o.loadWait,
		loads: loads,
		refresher: &refresher{
			gateway: c.gateway, background: c.background, failures: failures,
			loads: loads, early: early,
			timeout: o.timeout, refreshTimeout: o.refreshTimeout,
		},
		auditor: &auditor{
			sampler: newSampler(o.audits), gateway: c.gateway, outbox: c.outbox, near: c.near,
			background: c.background,
			failures:   failures, codec: o.codec, observer: o.observer, loadTimeout: o.refreshTimeout,
		},
	}
}

// obeysDeadlines reports whether calls end when their context does. It trusts clients of other
// types.
func obeysDeadlines(client redis.UniversalClient) bool {
	switch client := client.(type) {
	case *redis.Client:
		return client.Options().ContextTimeoutEnabled
	case *redis.ClusterClient:
		return client.Options().ContextTimeoutEnabled
	default:
		return true
	}
}

// figures returns what the observer may ask for.
func (c *Client) figures() Figures {
	entries, bytes := c.near.Size()
	return Figures{
		NearEntries:         entries,
		NearBytes:           bytes,
		QueuedInvalidations: c.outbox.Len(),
		Breakers:            breakerFigures(c.gateway.Breakers()),
	}
}

// Close ends the work in the background, including the contexts of loads of stale entries. It tries
// once more to deliver the invalidations that are queued, and reports the last counts. The client
// still works after that, but counts, refreshes and retries no more. Close returns an error if ctx
// ended, or Redis failed, before all was done. It says which modules have entries that should have
// been invalidated.
func (c *Client) Close(ctx context.Context) error {
	c.unwatch()
	err := errors.Join(c.background.Close(ctx), c.outbox.Close(ctx), c.reports.Close(ctx))
	c.near.Close()
	return err
}

// Fetch implements Cache. It returns an error of its own only if dest is not a non-nil pointer, or
// the value of load cannot be assigned to it.
func (c *Client) Fetch(
	ctx context.Context, key Key, out any, load func(context.Context) (any, error),
) error {
	return c.loader.fetch(ctx, key, out, load)
}

// Get implements Cache.
func (c *Client) Get(ctx context.Context, key Key, out any) (bool, error) {
	return c.loader.get(ctx, key, out)
}

// Set implements Cache, in three calls to Redis.
func (c *Client) Set(ctx context.Context, key Key, value any) error {
	return c.loader.set(ctx, key, value)
}

// Delete implements Cache.
func (c *Client) Delete(ctx context.Context, key Key) error {
	return c.invalidator.entry(ctx, key)
}

// InvalidateModule implements Cache.
func (c *Client) InvalidateModule(ctx context.Context, module string) error {
	return c.invalidator.invalidate(ctx, module, registry.Scope{}, registry.ModeHard)
}

// InvalidateOperation implements Cache.
func (c *Client) InvalidateOperation(ctx context.Context, module, operation string) error {
	return c.invalidator.operation(ctx, module, operation)
}

// InvalidateUser implements Cache. The error joins those of all modules that failed.
func (c *Client) InvalidateUser(ctx context.Context, user string, modules ...string) error {
	return c.invalidator.user(ctx, user, modules)
}

// InvalidateSoftly implements Cache.
func (c *Client) InvalidateSoftly(ctx context.Context, scope Scope) error {
	return c.invalidator.softly(ctx, scope)
}

// TTL implements Cache. It may be a second behind the policy. Jitter is not subtracted.
func (c *Client) TTL(ctx context.Context, module, operation string) (time.Duration, error) {
	return c.policies.ttl(ctx, module, operation)
}

// Stats implements Cache. It reports this process' counts first.
func (c *Client) Stats(ctx context.Context, modules ...string) ([]ModuleStats, error) {
	return c.statistics.of(ctx, modules)
}

// Audits returns what the audits of this process have found so far, sorted by operation.
func (c *Client) Audits() []AuditStats {
	return c.loader.auditor.sampler.stats()
}
