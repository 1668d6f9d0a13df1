// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"time"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

const (
	// workers of a controller whose resources do not take turns.
	workers = 2
	// Bounds of the time between two tries after the API server failed.
	minRetry = 50 * time.Millisecond
	maxRetry = 5 * time.Second // an API server that is back is noticed within that
)

// Options are those of every controller.
func Options() controller.Options {
	return controller.Options{
		MaxConcurrentReconciles: workers,
		RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](
			minRetry, maxRetry),
	}
}
