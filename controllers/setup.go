// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/cacheinvalidation"
	"github.com/cachewright/cachewright/controllers/cacheinvalidation/history"
	"github.com/cachewright/cachewright/controllers/cachepolicy"
	"github.com/cachewright/cachewright/controllers/cachestore"
	"github.com/cachewright/cachewright/controllers/internal/events"
	"github.com/cachewright/cachewright/controllers/internal/metrics"
	"github.com/cachewright/cachewright/controllers/internal/queue"
	"github.com/cachewright/cachewright/controllers/internal/resource"
	"github.com/cachewright/cachewright/controllers/internal/stats"
	"github.com/cachewright/cachewright/controllers/recovery"
	"github.com/cachewright/cachewright/controllers/stores"
	"github.com/cachewright/cachewright/controllers/stores/calls"
	"github.com/cachewright/cachewright/registry"
)

// EventSource names the operator in events.
const EventSource = "cachewright"

// Options of Setup. All are required, except those that say what their zero value means.
type Options struct {
	// Cluster names the cluster that the operator works for, beside each policy in Redis: 1 to 63
	// letters, digits, '.', '_', '-'. Of two clusters that share a Redis, each leaves the policies of
	// the other alone. Empty: the operator claims no policy, and respects no owner.
	Cluster string
	// Store is the Redis for resources that name none; nil: they have to name one.
	Store calls.Store
	// StoreAddress names that store in messages, for example host:port. It must hold no secret.
	StoreAddress string
	// OnDataLoss says what to do when that store went back to an older state. Default InvalidateAll.
	OnDataLoss v1.DataLossPolicy
	// StoreCheckInterval is the time between two probes of a store. A lost policy is put in force
	// again within it.
	StoreCheckInterval time.Duration
	// StatsInterval is the minimum time between two changes of the statistics in a status.
	StatsInterval time.Duration
	// InvalidationHistoryLimit is how many finished CacheInvalidations a namespace keeps, without
	// those that Argo CD or Flux manages. The oldest are deleted first. 0: all are kept.
	InvalidationHistoryLimit int
	// DialCheck is asked before each connection to a server of a CacheStore; nil: any address will do.
	// Store is the operator's own, and not checked.
	DialCheck registry.DialCheck
	// Registerer gets the operator's metrics.
	Registerer prometheus.Registerer

	// What follows has defaults that only tests change.

	// secretInterval is the time after which the Secrets of a CacheStore are read again without an
	// error.
	secretInterval time.Duration
	// reclaimSlice is the time between two reports of the progress of a large invalidation.
	reclaimSlice time.Duration
	// withdrawTimeout is how long a deleted policy waits for a store that cannot be used. So long a
	// deleted CacheStore waits for invalidations, too.
	withdrawTimeout time.Duration
	// replayMargin before the last heartbeat of a store that went back to an older state is replayed,
	// too: clocks differ.
	replayMargin time.Duration
}

const (
	defaultSecretInterval = time.Minute
	// defaultWithdrawTimeout outlasts a failover, and is short enough not to hold up the deletion of a
	// namespace.
	defaultWithdrawTimeout = time.Minute
)

// Setup adds the reconcilers and the monitors of stores to a manager. Where the operator has a
// store of its own, it adds a readiness check named redis. The manager's client must read its own
// writes (client.CacheOptions.EnableReadYourWritesConsistency). Otherwise a reconcile could take an
// older status than it wrote for the present one.
func Setup(mgr manager.Manager, o Options) error {
	snapshot := stats.NewSnapshot()
	series := metrics.New(snapshot)
	if err := o.Registerer.Register(series); err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	o.reclaimSlice = cmp.Or(o.reclaimSlice, calls.DefaultReclaimSlice)
	o.withdrawTimeout = cmp.Or(o.withdrawTimeout, defaultWithdrawTimeout)
	if err := resource.IndexFields(mgr.GetFieldIndexer()); err != nil {
		return err
	}
	journal := recovery.NewJournal()
	if err := journal.Watch(mgr.GetCache()); err != nil {
		return err
	}
	if err := series.Watch(mgr.GetCache()); err != nil {
		return err
	}
	recorder := events.NewRecorder(mgr.GetEventRecorder(EventSource), mgr.GetScheme(),
		mgr.GetLogger().WithName("events"))
	if err := mgr.Add(recorder); err != nil {
		return fmt.Errorf("adding the recorder of events: %w", err)
	}
	queues := queue.NewSet()
	lost := recovery.NewLostMarks(queues.Invalidations)
	monitors := stores.NewManager(stores.Deps{
		Reader: mgr.GetCache(), Live: mgr.GetAPIReader(), Elected: mgr.Elected(),
		Metrics: series, Snapshot: snapshot, Journal: journal, LostMarks: lost, Queues: queues,
		Events: recorder, Clock: clock.RealClock{}, Log: mgr.GetLogger().WithName("store"),
		Interval: o.StoreCheckInterval, StatsInterval: o.StatsInterval,
		RenewInterval: cmp.Or(o.secretInterval, defaultSecretInterval),
		ReplayMargin:  cmp.Or(o.replayMargin, recovery.DefaultReplayMargin),
		Cluster:       o.Cluster, DialCheck: o.DialCheck,
	})
	if err := mgr.Add(monitors); err != nil {
		return fmt.Errorf("adding the monitors of stores: %w", err)
	}
	if o.Store != nil {
		monitor := monitors.Give(resource.DefaultStore, o.Store, o.StoreAddress, o.OnDataLoss)
		if err := mgr.AddReadyzCheck("redis", monitor.Ready); err != nil {
			return fmt.Errorf("adding the readiness check: %w", err)
		}
	}
	return setupReconcilers(mgr, o, parts{monitors, queues, recorder, snapshot, series, journal, lost})
}

// parts are what the reconcilers share.
type parts struct {
	monitors *stores.Manager
	queues   queue.Set
	events   *events.Recorder
	snapshot *stats.Snapshot
	series   *metrics.Metrics
	journal  *recovery.Journal
	lost     *recovery.LostMarks
}

func setupReconcilers(mgr manager.Manager, o Options, p parts) error {
	store := &cachestore.Reconciler{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Stores: p.monitors, Events: p.events,
		Clock:         clock.RealClock{},
		StatsInterval: o.StatsInterval, WithdrawTimeout: o.withdrawTimeout,
	}
	if err := store.SetupWithManager(mgr, p.queues.Stores); err != nil {
		return fmt.Errorf("setting up the CacheStore controller: %w", err)
	}
	policy := &cachepolicy.Reconciler{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Stores: p.monitors, Events: p.events,
		Snapshot: p.snapshot, LostMarks: p.lost,
		Clock: clock.RealClock{}, StatsInterval: o.StatsInterval, WithdrawTimeout: o.withdrawTimeout,
		Cluster: o.Cluster,
	}
	if err := policy.SetupWithManager(mgr, p.queues.Policies, p.monitors.IsSlow); err != nil {
		return fmt.Errorf("setting up the CachePolicy controller: %w", err)
	}
	invalidation := &cacheinvalidation.Reconciler{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Stores: p.monitors, Events: p.events,
		Metrics: p.series,
		Journal: p.journal, LostMarks: p.lost, Clock: clock.RealClock{}, ReclaimSlice: o.reclaimSlice,
	}
	if err := invalidation.SetupWithManager(mgr, p.queues.Invalidations,
		p.monitors.IsSlow); err != nil {
		return fmt.Errorf("setting up the CacheInvalidation controller: %w", err)
	}
	bound := &history.Reconciler{
		Client: mgr.GetClient(), Metrics: p.series, Limit: o.InvalidationHistoryLimit,
	}
	if err := bound.SetupWithManager(mgr); err != nil {
		return fmt.Errorf("setting up the history of CacheInvalidations: %w", err)
	}
	return nil
}
