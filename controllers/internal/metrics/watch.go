// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"context"

	"k8s.io/apimachinery/pkg/api/meta"
	toolscache "k8s.io/client-go/tools/cache"
	ctrlcache "sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/resource"
)

// Watch makes informers keep what the metrics count of resources.
func (m *Metrics) Watch(informers ctrlcache.Cache) error {
	if err := m.watchNamespaces(informers); err != nil {
		return err
	}
	return m.watchBacklogs(informers)
}

// watchNamespaces begins the counters of a namespace with its first policy in the operator's own
// Redis. It deletes them when its last policy and invalidation are gone.
func (m *Metrics) watchNamespaces(informers ctrlcache.Cache) error {
	deleted := func(obj any) {
		key, err := toolscache.DeletionHandlingObjectToName(obj)
		if err == nil && isDeserted(context.Background(), informers, key.Namespace) {
			m.forgetNamespace(key.Namespace)
		}
	}
	added := func(obj any) {
		if policy, ok := obj.(*v1.CachePolicy); ok && resource.StoreOf(policy) == resource.DefaultStore {
			m.beginInvalidations(policy.Namespace, resource.DefaultStore.Name)
		}
	}
	for _, kind := range []client.Object{&v1.CachePolicy{}, &v1.CacheInvalidation{}} {
		handlers := toolscache.ResourceEventHandlerFuncs{AddFunc: added, DeleteFunc: deleted}
		if err := resource.Watch(informers, kind, handlers); err != nil {
			return err
		}
	}
	return nil
}

// isDeserted reports whether a namespace has neither policies nor invalidations.
func isDeserted(ctx context.Context, reader client.Reader, namespace string) bool {
	for _, kind := range []client.ObjectList{&v1.CachePolicyList{}, &v1.CacheInvalidationList{}} {
		err := reader.List(ctx, kind, client.InNamespace(namespace), client.Limit(1), resource.ReadOnly)
		if err != nil || meta.LenList(kind) > 0 {
			return false
		}
	}
	return true
}

// watchBacklogs keeps the backlogs current.
func (m *Metrics) watchBacklogs(informers ctrlcache.Cache) error {
	for _, watched := range []struct {
		kind client.Object
		by   *backlog
	}{
		{&v1.CachePolicy{}, m.notReady},
		{&v1.CacheInvalidation{}, m.pending},
		{&v1.CacheInvalidation{}, m.holding},
	} {
		err := resource.Watch(informers, watched.kind, toolscache.ResourceEventHandlerFuncs{
			AddFunc: watched.by.see, UpdateFunc: func(_, obj any) { watched.by.see(obj) },
			DeleteFunc: watched.by.forget,
		})
		if err != nil {
			return err
		}
	}
	return nil
}
