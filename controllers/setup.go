// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	ctrlcache "sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
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
	storeWorkers = 2
	// Bounds of the time between two tries after Kubernetes failed us.
	minRetry = 50 * time.Millisecond
	maxRetry = 5 * time.Second // an API server that is back is noticed within that
)

// Options of Setup. Those without a default are required, but for Store and StoreAddress.
type Options struct {
	// Cluster names the cluster that the operator works for, beside each policy in Redis: 1 to 63 letters, digits, '.', '_', '-'.
	// Of two clusters that share a Redis, each leaves the other's policies alone. Empty: it claims no policy, and asks for no owner.
	Cluster string
	// Store is the Redis for resources that name none; nil: they have to name one.
	Store Store
	// StoreAddress names that store in messages, for example host:port. It must hold no secret.
	StoreAddress string
	// OnDataLoss says what is done when that store went back to an older state. Default InvalidateAll.
	OnDataLoss v1.DataLossPolicy
	// StoreCheckInterval is the time between two checks of a store, and so the time in which a
	// lost policy is put in force again.
	StoreCheckInterval time.Duration
	// SecretInterval is the time after which the Secrets of a CacheStore are read again, though nothing
	// is wrong with it. Default a minute.
	SecretInterval time.Duration
	// StatsInterval is the least time between two snapshots of figures in the status of a policy or store.
	StatsInterval time.Duration
	// ReclaimSlice is the time between two reports of the progress of a large purge. Default 1s.
	ReclaimSlice time.Duration
	// WithdrawTimeout is how long a deleted policy waits for a store that cannot be used, and a deleted CacheStore for purges
	// that wait for such a store. Default a minute.
	WithdrawTimeout time.Duration
	// InvalidationHistoryLimit is how many finished CacheInvalidations a namespace keeps, beside those that Argo CD or Flux
	// manages; the oldest go first. 0: all.
	InvalidationHistoryLimit int
	// ReplayMargin before the last sign of life of a store that went back to an older state is replayed, too: clocks differ.
	// Default a minute.
	ReplayMargin time.Duration
	// DialCheck is asked before each connection to a server that a CacheStore leads to; nil: any address will do. The Store
	// above is the operator's own, and not checked.
	DialCheck registry.DialCheck
	// Registerer gets the operator's metrics.
	Registerer prometheus.Registerer
}

const defaultSecretInterval = time.Minute

// Setup adds the reconcilers, the monitors of stores and, where there is a store of the operator's own,
// a readiness check named redis to a manager.
// The manager's client must read its own writes (client.CacheOptions.EnableReadYourWritesConsistency):
// a reconcile that reads a status older than the one it wrote would take it for what is shown.
func Setup(mgr manager.Manager, o Options) error {
	metrics := NewMetrics()
	if err := o.Registerer.Register(metrics); err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	o.ReclaimSlice = cmp.Or(o.ReclaimSlice, defaultReclaimSlice)
	o.WithdrawTimeout = cmp.Or(o.WithdrawTimeout, defaultWithdrawTimeout)
	if err := indexFields(mgr.GetFieldIndexer()); err != nil {
		return err
	}
	purges := newJournal()
	if err := tellJournal(mgr.GetCache(), purges); err != nil {
		return err
	}
	if err := tellMetrics(mgr.GetCache(), metrics); err != nil {
		return err
	}
	if err := tellBacklogs(mgr.GetCache(), metrics); err != nil {
		return err
	}
	recorder := newPacedRecorder(mgr.GetEventRecorder(EventSource), mgr.GetScheme(), mgr.GetLogger().WithName("events"))
	if err := mgr.Add(recorder); err != nil {
		return fmt.Errorf("adding the recorder of events: %w", err)
	}
	stores := newStores(surroundings{
		Reader: mgr.GetCache(), Metrics: metrics, Clock: clock.RealClock{}, Log: mgr.GetLogger().WithName("store"),
		Interval: o.StoreCheckInterval, StatsInterval: o.StatsInterval, RenewInterval: cmp.Or(o.SecretInterval, defaultSecretInterval), Elected: mgr.Elected(),
		ReplayMargin: cmp.Or(o.ReplayMargin, defaultReplayMargin), Events: recorder, Journal: purges, Cluster: o.Cluster, DialCheck: o.DialCheck,
		policies: make(wakeups), invalidations: make(wakeups), stores: make(wakeups),
	}, mgr.GetAPIReader())
	if err := mgr.Add(stores); err != nil {
		return fmt.Errorf("adding the monitors of stores: %w", err)
	}
	if o.Store != nil {
		monitor := stores.give(defaultStore, o.Store, o.StoreAddress, o.OnDataLoss)
		if err := mgr.AddReadyzCheck("redis", monitor.Ready); err != nil {
			return fmt.Errorf("adding the readiness check: %w", err)
		}
	}
	if err := setupStores(mgr, o, stores); err != nil {
		return fmt.Errorf("setting up the CacheStore controller: %w", err)
	}
	if err := setupPolicies(mgr, o, stores); err != nil {
		return fmt.Errorf("setting up the CachePolicy controller: %w", err)
	}
	if err := setupInvalidations(mgr, o, stores); err != nil {
		return fmt.Errorf("setting up the CacheInvalidation controller: %w", err)
	}
	if err := setupHistory(mgr, o, metrics); err != nil {
		return fmt.Errorf("setting up the history of CacheInvalidations: %w", err)
	}
	return nil
}

// tellJournal tells the journal of purges that are recorded, and of those that are deleted.
func tellJournal(informers ctrlcache.Cache, purges *journal) error {
	// The manager's context is not there yet, and nothing is waited for.
	informer, err := informers.GetInformer(context.Background(), &v1.CacheInvalidation{}, ctrlcache.BlockUntilSynced(false))
	if err != nil {
		return fmt.Errorf("watching CacheInvalidations: %w", err)
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		UpdateFunc: func(_, obj any) {
			if invalidation, ok := obj.(*v1.CacheInvalidation); ok {
				purges.record(invalidation)
			}
		},
		DeleteFunc: func(obj any) {
			if unknown, missed := obj.(toolscache.DeletedFinalStateUnknown); missed {
				obj = unknown.Obj
			}
			if invalidation, ok := obj.(*v1.CacheInvalidation); ok {
				purges.forget(invalidation)
			}
		},
	})
	if err != nil {
		return fmt.Errorf("watching CacheInvalidations: %w", err)
	}
	return nil
}

// tellMetrics tells the metrics of namespaces that have policies in the operator's own Redis, also those that a start finds
// in place, and of namespaces in which there is nothing any more for them to tell of.
func tellMetrics(informers ctrlcache.Cache, metrics *Metrics) error {
	// The manager's context is not there yet, and nothing is waited for.
	ctx := context.Background()
	deleted := func(obj any) {
		key, err := toolscache.DeletionHandlingObjectToName(obj)
		if err == nil && isDeserted(ctx, informers, key.Namespace) {
			metrics.forgetNamespace(key.Namespace)
		}
	}
	added := func(obj any) {
		if policy, ok := obj.(*v1.CachePolicy); ok && storeOf(policy) == defaultStore {
			metrics.beginPurges(policy.Namespace, defaultStore.Name)
		}
	}
	for _, kind := range []client.Object{&v1.CachePolicy{}, &v1.CacheInvalidation{}} {
		informer, err := informers.GetInformer(ctx, kind, ctrlcache.BlockUntilSynced(false))
		if err == nil {
			_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{AddFunc: added, DeleteFunc: deleted})
		}
		if err != nil {
			return fmt.Errorf("watching what metrics tell of: %w", err)
		}
	}
	return nil
}

// isDeserted says whether a namespace has neither policies nor purges.
func isDeserted(ctx context.Context, reader client.Reader, namespace string) bool {
	for _, kind := range []client.ObjectList{&v1.CachePolicyList{}, &v1.CacheInvalidationList{}} {
		err := reader.List(ctx, kind, client.InNamespace(namespace), client.Limit(1), readOnly)
		if err != nil || meta.LenList(kind) > 0 {
			return false
		}
	}
	return true
}

// indexFields makes the cache answer by field as the API server does.
func indexFields(indexer client.FieldIndexer) error {
	for _, index := range []struct {
		kind  client.Object
		field string
		value func(client.Object) string
	}{
		{&v1.CachePolicy{}, moduleField, func(o client.Object) string { return o.(*v1.CachePolicy).Spec.Module }},
		{&v1.CachePolicy{}, storeField, func(o client.Object) string { return storeName(o.(*v1.CachePolicy).Spec.StoreRef) }},
		{&v1.CacheInvalidation{}, storeField, func(o client.Object) string { return storeName(o.(*v1.CacheInvalidation).Spec.StoreRef) }},
	} {
		values := func(o client.Object) []string { return []string{index.value(o)} }
		// The manager's context is not there yet; indexing does not wait for anything.
		if err := indexer.IndexField(context.Background(), index.kind, index.field, values); err != nil {
			return fmt.Errorf("indexing %s: %w", index.field, err)
		}
	}
	if err := indexer.IndexField(context.Background(), &v1.CacheInvalidation{}, historyField, historyOf); err != nil {
		return fmt.Errorf("indexing finished purges: %w", err)
	}
	return nil
}

func setupStores(mgr manager.Manager, o Options, stores *Stores) error {
	reconciler := &CacheStoreReconciler{
		Client:          mgr.GetClient(),
		Reader:          mgr.GetAPIReader(),
		Stores:          stores,
		Events:          stores.Events,
		Clock:           clock.RealClock{},
		StatsInterval:   o.StatsInterval,
		WithdrawTimeout: o.WithdrawTimeout,
	}
	return builder.ControllerManagedBy(mgr).
		For(&v1.CacheStore{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1.CachePolicy{}, handler.EnqueueRequestsFromMapFunc(heldStore(mgr.GetCache())), builder.WithPredicates(leaving())).
		Watches(&v1.CacheInvalidation{}, handler.EnqueueRequestsFromMapFunc(heldStore(mgr.GetCache())), builder.WithPredicates(leaving())).
		WatchesRawSource(stores.stores.source()).
		WithOptions(controllerOptions()).
		Complete(reconciler)
}

// leaving lets through what ends a reference to a store: the resource goes, or a purge is finished.
func leaving() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc:  func(event.CreateEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			invalidation, ok := e.ObjectNew.(*v1.CacheInvalidation)
			return ok && finished(invalidation)
		},
	}
}

// heldStore maps a resource to its store, if that is to be deleted and may only wait for it.
func heldStore(reader client.Reader) handler.MapFunc {
	return func(ctx context.Context, obj client.Object) []reconcile.Request {
		var id storeID
		switch o := obj.(type) {
		case *v1.CachePolicy:
			id = storeOf(o)
		case *v1.CacheInvalidation:
			id = storeIDOf(o.Namespace, o.Spec.StoreRef)
		}
		store := &v1.CacheStore{}
		if id == defaultStore || reader.Get(ctx, id, store) != nil || store.DeletionTimestamp.IsZero() {
			return nil
		}
		return []reconcile.Request{{NamespacedName: id}}
	}
}

func setupPolicies(mgr manager.Manager, o Options, stores *Stores) error {
	reconciler := &CachePolicyReconciler{
		Client:          mgr.GetClient(),
		Reader:          mgr.GetAPIReader(),
		Stores:          stores,
		Events:          stores.Events,
		Metrics:         stores.Metrics,
		Clock:           clock.RealClock{},
		StatsInterval:   o.StatsInterval,
		WithdrawTimeout: o.WithdrawTimeout,
		Cluster:         o.Cluster,
	}
	return builder.ControllerManagedBy(mgr).
		For(&v1.CachePolicy{}, builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, takesOver()))).
		Watches(&v1.CachePolicy{}, handler.EnqueueRequestsFromMapFunc(rivals(mgr.GetCache())),
			builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WatchesRawSource(stores.policies.source()).
		WithOptions(inTurns(controllerOptions(), stores, storeOfPolicy(mgr.GetCache()))).
		Complete(reconciler)
}

// takesOver lets through what a person says about another owner of the module.
func takesOver() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc:  func(event.CreateEvent) bool { return false },
		DeleteFunc:  func(event.DeleteEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			return e.ObjectOld.GetAnnotations()[v1.TakeOverFromAnnotation] != e.ObjectNew.GetAnnotations()[v1.TakeOverFromAnnotation]
		},
	}
}

func setupInvalidations(mgr manager.Manager, o Options, stores *Stores) error {
	reconciler := &CacheInvalidationReconciler{
		Client:       mgr.GetClient(),
		Reader:       mgr.GetAPIReader(),
		Stores:       stores,
		Events:       stores.Events,
		Metrics:      stores.Metrics,
		Journal:      stores.Journal,
		Clock:        clock.RealClock{},
		ReclaimSlice: o.ReclaimSlice,
		tenure:       newTenure(mgr.GetAPIReader()),
		underWay:     newUnderWay(),
	}
	return builder.ControllerManagedBy(mgr).
		For(&v1.CacheInvalidation{}, builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, changesHands()))).
		WatchesRawSource(stores.invalidations.source()).
		WithOptions(inTurns(controllerOptions(), stores, storeOfPurge(mgr.GetCache()))).
		Complete(reconciler)
}

// changesHands lets through what begins or ends the management of a purge by a GitOps tool: its TTL is obeyed only without one.
func changesHands() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc:  func(event.CreateEvent) bool { return false },
		DeleteFunc:  func(event.DeleteEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, wasPurge := e.ObjectOld.(*v1.CacheInvalidation)
			after, isPurge := e.ObjectNew.(*v1.CacheInvalidation)
			return wasPurge && isPurge && gitOpsTool(before) != gitOpsTool(after)
		},
	}
}

func controllerOptions() controller.Options {
	return controller.Options{
		MaxConcurrentReconciles: storeWorkers,
		RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](minRetry, maxRetry),
	}
}

// rivals maps a policy to the others for its module: when it comes or goes, they may lose or win.
func rivals(reader client.Reader) handler.MapFunc {
	return func(ctx context.Context, obj client.Object) []reconcile.Request {
		policy := obj.(*v1.CachePolicy)
		policies, err := policiesFor(ctx, reader, slotOf(policy), storeOf(policy))
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
