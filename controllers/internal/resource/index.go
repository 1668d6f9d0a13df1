// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
)

// IndexFields makes the cache answer by field as the API server does.
func IndexFields(indexer client.FieldIndexer) error {
	for _, index := range []struct {
		kind  client.Object
		field string
		value func(client.Object) string
	}{
		{&v1.CachePolicy{}, moduleField, func(o client.Object) string {
			return o.(*v1.CachePolicy).Spec.Module
		}},
		{&v1.CachePolicy{}, storeField, func(o client.Object) string {
			return StoreName(o.(*v1.CachePolicy).Spec.StoreRef)
		}},
		{&v1.CacheInvalidation{}, stateField, func(o client.Object) string {
			return string(o.(*v1.CacheInvalidation).Status.State)
		}},
		{&v1.CacheInvalidation{}, storeField, func(o client.Object) string {
			return StoreName(o.(*v1.CacheInvalidation).Spec.StoreRef)
		}},
	} {
		values := func(o client.Object) []string { return []string{index.value(o)} }
		// The manager's context is not there yet; indexing does not wait for anything.
		if err := indexer.IndexField(context.Background(), index.kind, index.field, values); err != nil {
			return fmt.Errorf("indexing %s: %w", index.field, err)
		}
	}
	if err := indexer.IndexField(context.Background(), &v1.CacheInvalidation{}, HistoryField,
		historyOf); err != nil {
		return fmt.Errorf("indexing finished invalidations: %w", err)
	}
	return nil
}

// HistoryField selects finished invalidations in the cache: those that the operator may delete, and
// those that a GitOps tool would create again.
const (
	HistoryField   = "history"
	HistoryOwn     = "own"
	HistoryManaged = "managed"
)

// historyOf is the index of finished invalidations.
func historyOf(obj client.Object) []string {
	invalidation := obj.(*v1.CacheInvalidation)
	switch {
	case !IsFinished(invalidation):
		return nil
	case GitOpsTool(invalidation) != "":
		return []string{HistoryManaged}
	default:
		return []string{HistoryOwn}
	}
}
