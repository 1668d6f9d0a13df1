// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/cachewright/cachewright/cache/internal/background"
	"github.com/cachewright/cachewright/cache/internal/fence"
	"github.com/cachewright/cachewright/cache/internal/flight"
	"github.com/cachewright/cachewright/cache/internal/near"
	"github.com/cachewright/cachewright/cache/internal/outbox"
	"github.com/cachewright/cachewright/cache/internal/redact"
	"github.com/cachewright/cachewright/cache/internal/report"
	"github.com/cachewright/cachewright/registry"
)

// store is what a Client needs of the registry.
type store interface {
	Read(ctx context.Context, key registry.Key) (registry.Lookup, error)
	ReadLocked(ctx context.Context, key registry.Key) (lookup registry.Lookup, locked bool, err error)
	Inspect(ctx context.Context, key registry.Key) (registry.Lookup, registry.Version, error)
	Lease(ctx context.Context, key registry.Key) (registry.Lookup, error)
	LeaseLocked(ctx context.Context, key registry.Key, lock time.Duration) (registry.Lookup, error)
	Unlock(ctx context.Context, key registry.Key) error
	Set(ctx context.Context, key registry.Key, payload []byte, token registry.Token) (registry.Filled, error)
	SetNegative(ctx context.Context, key registry.Key, payload []byte, token registry.Token) (registry.Filled, error)
	Delete(ctx context.Context, key registry.Key) (bool, error)
	Invalidate(ctx context.Context, slot registry.Slot, scope registry.Scope, mode registry.Mode, requestID string) (registry.Invalidated, error)
	Reclaim(ctx context.Context, slot registry.Slot, limit int) (registry.Reclaimed, error)
	Modules(ctx context.Context, namespace string) ([]string, error)
	Policy(ctx context.Context, slot registry.Slot) (registry.Policy, bool, error)
	Report(ctx context.Context, slot registry.Slot, operation string, counters registry.Counters) error
	Stats(ctx context.Context, slot registry.Slot) (registry.Stats, error)
}

var _ Cache = (*Client)(nil)

// Client is the Cache over Redis, for one namespace. Make one for the life of the process. It is safe
// for concurrent use.
type Client struct {
	options

	store      store
	namespace  string
	flights    flight.Group[flightKey, loaded]
	refreshes  refreshes
	loadTimes  loadTimes
	outbox     *outbox.Outbox
	reclaims   reclaims
	near       *near.Cache
	background *background.Runner
	breakers   breakers
	modules    moduleSet
	policies   policyMemo
	reports    *report.Reporter
	auditor    *auditor
	log        func(Failure)
	unwatch    func()
}

var namespaceName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,63}$`)

// New returns a Client for the entries of one namespace: that of the CachePolicies. It does not
// connect. Call Close when the process ends; the client given stays open.
//
// The options of the client given must have ContextTimeoutEnabled set, as registry.ClientFromEnv
// does: without it a Redis that hangs would make callers wait for go-redis' own timeouts and retries,
// seconds rather than milliseconds. Have MaintNotificationsConfig switched off in them, too, as it does: go-redis 9.23
// has a data race between its maintenance notifications and connections that are taken out of its pool.
func New(client redis.UniversalClient, namespace string, opts ...Option) (*Client, error) {
	if !obeysDeadlines(client) {
		return nil, errors.New("cache: set ContextTimeoutEnabled in the options of the Redis client, so that a Redis that hangs cannot hold up the application")
	}
	var unfenced *registry.Registry
	open := func(o options) (_ store, err error) {
		unfenced, err = o.open(client)
		return unfenced, err
	}
	c, err := newClient(open, namespace, opts...)
	if err != nil {
		return nil, err
	}
	guard := fence.New(client, unfenced, c.fenceWait, func(err error) { c.tell("", "", err) })
	c.store = &fencedStore{store: unfenced, guard: guard}
	if c.near, err = c.openNear(client, guard); err != nil {
		return nil, errors.Join(fmt.Errorf("cache: %w", err), c.Close(context.Background()))
	}
	c.unwatch = c.watch()
	return c, nil
}

func newClient(open func(options) (store, error), namespace string, opts ...Option) (*Client, error) {
	if !namespaceName.MatchString(namespace) {
		return nil, fmt.Errorf("cache: the namespace %.70q must consist of 1 to 63 letters, digits, '.', '_' and '-'", namespace)
	}
	options, err := newOptions(opts)
	if err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	store, err := open(options)
	if err != nil {
		return nil, fmt.Errorf("cache: WithAutoPipelining: %w", err)
	}
	c := &Client{
		options:   options,
		store:     store,
		namespace: namespace,

		auditor: newAuditor(options.audits),
		log:     logFailures(options.logger),
		unwatch: func() {},
	}
	c.background = background.New(c.tellPanic)
	c.outbox = outbox.New(c.deliver, c.allModulesInTime, c.background)
	c.flights.OnOrphanPanic = func(key flightKey, value *flight.Panic) {
		defer func() {
			if value := recover(); value != nil {
				c.tellPanic(value)
			}
		}()
		c.failed(key.Module, key.Operation, redact.Panic("a loader panicked after its caller had given up", value))
	}
	c.flights.Patience = options.sharedLoadWait
	c.reports = report.New(c.sendReport, options.reportInterval)
	return c, nil
}

// obeysDeadlines says whether calls end when their context does. Clients of unknown types are taken
// at their word.
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

// Close ends what goes on in the background, with the contexts of loads of stale entries, tries once more
// to deliver the invalidations that are queued, and reports the last counts. The client goes on to work, but
// counts, refreshes and retries no more. It returns an error if ctx ended, or Redis failed, before all
// was done; it says which modules have entries that should have been invalidated.
func (c *Client) Close(ctx context.Context) error {
	c.unwatch()
	err := errors.Join(c.background.Close(ctx), c.outbox.Close(ctx), c.reports.Close(ctx))
	c.near.Close()
	return err
}

func (c *Client) slot(module string) registry.Slot {
	return registry.Slot{Namespace: c.namespace, Module: module}
}

// entry translates a key into the registry's.
func (c *Client) entry(key Key) (registry.Key, error) {
	id, err := ID(key.Params)
	if err != nil {
		return registry.Key{}, err
	}
	return registry.Key{Slot: c.slot(key.Module), Operation: key.Operation, ID: id, User: key.User}, nil
}
