// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package stores

import (
	"context"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cachewright/cachewright/controllers/internal/queue"
	"github.com/cachewright/cachewright/controllers/internal/resource"
)

// waker wakes resources of one store.
type waker struct {
	queue.Set

	Referrers resource.Referrers
	Log       logr.Logger
}

// wakeStore wakes the CacheStore itself.
func (w waker) wakeStore(ctx context.Context) {
	if id := w.Referrers.Store; id != resource.DefaultStore {
		w.Stores.Enqueue(ctx, id)
	}
}

// wakeAll wakes every policy of the store, and every invalidation that is not finished.
func (w waker) wakeAll(ctx context.Context) {
	policies, err := w.Referrers.Policies(ctx)
	if err != nil {
		w.Log.Error(err, "Cannot wake the policies of the store, they retry")
	}
	for i := range policies {
		w.Policies.Enqueue(ctx, client.ObjectKeyFromObject(&policies[i]))
	}
	invalidations, err := w.Referrers.Invalidations(ctx)
	if err != nil {
		w.Log.Error(err, "Cannot wake the invalidations of the store, they retry")
	}
	for i := range invalidations {
		if !resource.IsFinished(&invalidations[i]) {
			w.Invalidations.Enqueue(ctx, client.ObjectKeyFromObject(&invalidations[i]))
		}
	}
}
