// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/cache/internal/audit"
	"github.com/cachewright/cachewright/cache/internal/background"
	"github.com/cachewright/cachewright/cache/internal/catalog"
	"github.com/cachewright/cachewright/cache/internal/checks"
	"github.com/cachewright/cachewright/cache/internal/codec"
	"github.com/cachewright/cachewright/cache/internal/entries"
	"github.com/cachewright/cachewright/cache/internal/failure"
	"github.com/cachewright/cachewright/cache/internal/fence"
	"github.com/cachewright/cachewright/cache/internal/gateway"
	"github.com/cachewright/cachewright/cache/internal/holds"
	"github.com/cachewright/cachewright/cache/internal/invalidate"
	"github.com/cachewright/cachewright/cache/internal/loads"
	"github.com/cachewright/cachewright/cache/internal/near"
	"github.com/cachewright/cachewright/cache/internal/outbox"
	"github.com/cachewright/cachewright/cache/internal/policies"
	"github.com/cachewright/cachewright/cache/internal/refresh"
	"github.com/cachewright/cachewright/cache/internal/report"
	"github.com/cachewright/cachewright/cache/internal/statistics"
	"github.com/cachewright/cachewright/cache/internal/unclaimed"
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
	policies    *policies.Policies
	statistics  *statistics.Statistics
	unclaimed   *unclaimed.Names
	invalidator *invalidate.Invalidator
	holder      *holds.Holder
	auditor     *audit.Auditor
	entries     *entries.Entries

	observer Observer // nil: none
	unwatch  func()   // ends the observer's access to the figures
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
	if err := checks.Client(client); err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	o, err := newOptions(namespace, opts)
	if err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	store, err := o.open(client)
	if err != nil {
		return nil, fmt.Errorf("cache: WithAutoPipelining: %w", err)
	}
	failures := failure.New(o.logger, o.hook())
	guard := fence.New(client, store, o.fenceWait, func(err error) { failures.Report("", "", err) })
	openNear := func(config near.Config) (*near.Cache, error) {
		config.Client = client
		config.Generation, config.ReadsReplicas = guard.Generation, guard.ReadsReplicas
		return near.New(config)
	}
	return newClient(gateway.Fenced(store, guard), o, failures, openNear)
}

// newClient returns a Client over a store. openNear opens the near cache, if the options want one.
func newClient(
	store gateway.Store, o options, failures *failure.Reports,
	openNear func(near.Config) (*near.Cache, error),
) (*Client, error) {
	c := &Client{
		background: background.New(failures.Panicked), observer: o.observer, unwatch: func() {},
	}
	known := &catalog.Modules{}
	c.gateway = c.newGateway(store, o, known, failures)
	known.Gateway = c.gateway
	c.policies = policies.New(c.gateway, failures)
	c.statistics = &statistics.Statistics{Gateway: c.gateway, Modules: known, Failures: failures}
	c.reports = report.New(c.statistics.Send, o.reportInterval)
	c.statistics.Reports = c.reports
	failures.CountWith(func(module, operation string) {
		c.reports.Add(module, operation, registry.Counters{Errors: 1})
	})
	c.unclaimed = newUnclaimed(c.gateway, o, known, failures)
	c.reports.Then(c.unclaimed.Flush)
	c.invalidator = invalidate.New(invalidate.Config{
		Gateway: c.gateway, Modules: known, Invalidated: c.unclaimed.Invalidated,
		Started: observedInvalidations(o.observer), Timeout: o.timeout,
	})
	c.outbox = outbox.New(c.invalidator.Deliver, known.All, c.background)
	c.invalidator.QueueTo(c.outbox)
	c.holder = c.newHolder(o, known)
	if err := c.openNear(o, failures, openNear); err != nil {
		err = fmt.Errorf("cache: WithNearCache: %w", err)
		return nil, errors.Join(err, c.Close(context.Background()))
	}
	c.auditor = c.newAuditor(o, failures)
	c.entries = c.newEntries(o, failures)
	if o.observer != nil {
		c.unwatch = o.observer.Watch(o.namespace, c.figures)
	}
	return c, nil
}

func (c *Client) newGateway(
	store gateway.Store, o options, known *catalog.Modules, failures *failure.Reports,
) *gateway.Gateway {
	return gateway.New(gateway.Config{
		Store:               store,
		Namespace:           o.namespace,
		Timeout:             o.timeout,
		InvalidationTimeout: o.invalidationTimeout,
		Background:          c.background,
		Hooks: gateway.Hooks{
			Failed: failures.Add,
			// Breakers open after the outbox has been made: calls come later.
			Recovered: func() { c.outbox.Hurry() },
			Filled:    observedFills(o.observer),
			Leased:    known.Add,
			Bypassed:  func(module, operation string) { c.unclaimed.Read(module, operation) },
			Changed: func(slot registry.Slot, operation, user string) {
				c.near.Changed(slot, operation, user)
			},
			Deleted: func(key registry.Key) { c.near.Deleted(key) },
		},
	})
}

func (c *Client) openNear(
	o options, failures *failure.Reports, open func(near.Config) (*near.Cache, error),
) (err error) {
	if o.nearCache == nil {
		return nil
	}
	c.near, err = open(near.Config{
		Bounds:     *o.nearCache,
		Policy:     c.policies.Read,
		Hits:       c.reports.Hits,
		Failed:     func(err error) { failures.Report("", "", err) },
		Background: c.background,
	})
	return err
}

func (c *Client) newHolder(o options, known *catalog.Modules) *holds.Holder {
	return holds.New(holds.Config{
		Gateway: c.gateway, Outbox: c.outbox, Modules: known, Background: c.background,
		InvalidateUser: func(ctx context.Context, user string) error {
			return c.invalidator.User(ctx, user, nil)
		},
		Timeout: o.invalidationTimeout,
	})
}

func (c *Client) newAuditor(o options, failures *failure.Reports) *audit.Auditor {
	return audit.New(audit.Config{
		Rules:   o.audits,
		Gateway: c.gateway, Outbox: c.outbox, Near: c.near, Background: c.background,
		Failures: failures, Codec: o.codec, Audited: observedAudits(o.observer),
		LoadTimeout: o.refreshTimeout,
	})
}

func (c *Client) newEntries(o options, failures *failure.Reports) *entries.Entries {
	early := refresh.NewHeadStarts(o.earlyRefresh)
	underWay := loads.New(loads.Config{
		Gateway: c.gateway, Outbox: c.outbox, Background: c.background, Failures: failures,
		Codec: o.codec, Encoder: codec.NewEncoder(o.codec, triedValues), Took: early.Took,
		Timeout: o.timeout, Wait: o.loadWait, SharedWait: o.sharedLoadWait,
	})
	return entries.New(entries.Config{
		Gateway: c.gateway, Outbox: c.outbox, Near: c.near, Reports: c.reports, Failures: failures,
		Missed: c.unclaimed.Read,
		Codec:  o.codec, Schemas: o.schemas, Loads: underWay, Early: early,
		Refresher: refresh.New(refresh.Config{
			Gateway: c.gateway, Background: c.background, Failures: failures,
			Loads: underWay, Early: early,
			Timeout: o.timeout, RefreshTimeout: o.refreshTimeout,
		}),
		Auditor: c.auditor, Timeout: o.timeout, LoadWait: o.loadWait,
	})
}

// figures returns what the observer may ask for.
func (c *Client) figures() Figures {
	kept, bytes := c.near.Size()
	return Figures{
		NearEntries:         kept,
		NearBytes:           bytes,
		QueuedInvalidations: c.outbox.Len(),
		HoldsLost:           c.holder.Lost(),
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
	c.unclaimed.Close(ctx)
	c.near.Close()
	return err
}
