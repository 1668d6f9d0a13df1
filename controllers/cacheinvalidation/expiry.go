// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cacheinvalidation

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/resource"
	"github.com/cachewright/cachewright/controllers/internal/status"
)

// expire deletes a finished invalidation whose TTL is over.
func (r *Reconciler) expire(
	ctx context.Context, invalidation *v1.CacheInvalidation,
) (reconcile.Result, error) {
	now := r.Clock.Now()
	if at, ok := resource.Expiry(invalidation); !ok || now.Before(at) {
		return untilExpiry(invalidation, now), nil
	}
	err := resource.DeleteAsSeen(ctx, r.Client, invalidation)
	if apierrors.IsConflict(err) {
		return reconcile.Result{RequeueAfter: status.MinWait}, nil
	}
	return reconcile.Result{}, err
}

func untilExpiry(invalidation *v1.CacheInvalidation, now time.Time) reconcile.Result {
	at, ok := resource.Expiry(invalidation)
	if !ok {
		return reconcile.Result{}
	}
	return status.InBackground(max(at.Sub(now), status.Immediately))
}
