// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/registry"
)

// EventSource is how the operator's events are signed.
const EventSource = "cachewright"

const (
	policyWorkers       = 4
	invalidationWorkers = 8
	// Bounds of the time between two tries after Kubernetes failed us.
	minRetry = 50 * time.Millisecond
	maxRetry = 30 * time.Second
)

// Options of Setup. All fields but ReclaimSlice are required.
type Options struct {
	// Store is the Redis that policies and purges work on.
	Store Store
	// StoreAddress names the store in messages, for example host:port. It must hold no secret.
	StoreAddress string
	// StoreCheckInterval is the time between two checks of the store, and so the time in which a
	// lost policy is put in force again.
	StoreCheckInterval time.Duration
	// StatsInterval is the least time between two snapshots of figures in a policy's status.
	StatsInterval time.Duration
	// ReclaimSlice is the time between two reports of the progress of a large purge. Default 1s.
	ReclaimSlice time.Duration
	// Registerer gets the operator's metrics.
	Registerer prometheus.Registerer
}

// Setup adds the reconcilers, the store's monitor and a readiness check named redis to a manager.
// The manager's client must read its own writes (client.CacheOptions.EnableReadYourWritesConsistency):
// a reconcile that reads a status older than the one it wrote would take it for what is shown.
func Setup(mgr manager.Manager, o Options) error {
	metrics := NewMetrics()
	if err := o.Registerer.Register(metrics); err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	if o.ReclaimSlice == 0 {
		o.ReclaimSlice = defaultReclaimSlice
	}
	monitor := newMonitor()
	monitor.Store, monitor.Address, monitor.Interval = o.Store, o.StoreAddress, o.StoreCheckInterval
	monitor.Reader, monitor.Elected, monitor.Log = mgr.GetCache(), mgr.Elected(), mgr.GetLogger().WithName("store")
	monitor.Metrics, monitor.Clock = metrics, clock.RealClock{}
	if err := mgr.Add(monitor); err != nil {
		return fmt.Errorf("adding the store's monitor: %w", err)
	}
	if err := mgr.AddReadyzCheck("redis", monitor.Ready); err != nil {
		return fmt.Errorf("adding the readiness check: %w", err)
	}
	if err := setupPolicies(mgr, o, monitor); err != nil {
		return fmt.Errorf("setting up the CachePolicy controller: %w", err)
	}
	if err := setupInvalidations(mgr, o, monitor); err != nil {
		return fmt.Errorf("setting up the CacheInvalidation controller: %w", err)
	}
	return nil
}

func setupPolicies(mgr manager.Manager, o Options, monitor *Monitor) error {
	// The manager's context is not there yet; indexing does not wait for anything.
	err := mgr.GetFieldIndexer().IndexField(context.Background(), &v1.CachePolicy{}, moduleField, func(o client.Object) []string {
		return []string{o.(*v1.CachePolicy).Spec.Module}
	})
	if err != nil {
		return fmt.Errorf("indexing %s: %w", moduleField, err)
	}
	reconciler := &CachePolicyReconciler{
		Client:          mgr.GetClient(),
		Reader:          mgr.GetAPIReader(),
		Store:           o.Store,
		Health:          monitor,
		Events:          mgr.GetEventRecorder(EventSource),
		Metrics:         monitor.Metrics,
		Clock:           clock.RealClock{},
		StoreAddress:    o.StoreAddress,
		StatsInterval:   o.StatsInterval,
		WithdrawTimeout: defaultWithdrawTimeout,
	}
	return builder.ControllerManagedBy(mgr).
		For(&v1.CachePolicy{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1.CachePolicy{}, handler.EnqueueRequestsFromMapFunc(rivals(mgr.GetCache())),
			builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WatchesRawSource(monitor.policies.source()).
		WithOptions(controllerOptions(policyWorkers)).
		Complete(reconciler)
}

func setupInvalidations(mgr manager.Manager, o Options, monitor *Monitor) error {
	reconciler := &CacheInvalidationReconciler{
		Client:       mgr.GetClient(),
		Reader:       mgr.GetAPIReader(),
		Store:        o.Store,
		Health:       monitor,
		Events:       mgr.GetEventRecorder(EventSource),
		Metrics:      monitor.Metrics,
		Clock:        clock.RealClock{},
		StoreAddress: o.StoreAddress,
		ReclaimSlice: o.ReclaimSlice,
	}
	return builder.ControllerManagedBy(mgr).
		For(&v1.CacheInvalidation{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WatchesRawSource(monitor.invalidations.source()).
		WithOptions(controllerOptions(invalidationWorkers)).
		Complete(reconciler)
}

func controllerOptions(workers int) controller.Options {
	return controller.Options{
		MaxConcurrentReconciles: workers,
		RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](minRetry, maxRetry),
	}
}

// rivals maps a policy to the others for its module: when it comes or goes, they may lose or win.
func rivals(reader client.Reader) handler.MapFunc {
	return func(ctx context.Context, obj client.Object) []reconcile.Request {
		policy := obj.(*v1.CachePolicy)
		policies, err := policiesFor(ctx, reader, registry.Slot{Namespace: policy.Namespace, Module: policy.Spec.Module})
		if err != nil {
			// The cache fails only when it is being stopped.
			return nil
		}
		var requests []reconcile.Request
		for _, rival := range policies {
			if rival.Name != policy.Name {
				requests = append(requests, reconcile.Request{
					NamespacedName: types.NamespacedName{Namespace: rival.Namespace, Name: rival.Name},
				})
			}
		}
		return requests
	}
}
