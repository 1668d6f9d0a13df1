// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	toolscache "k8s.io/client-go/tools/cache"
)

const (
	// redialInterval is the time between two tries to reach an API server that refuses connections.
	redialInterval = time.Second
	// redialJitter lengthens it by a random share, so that operators do not come back all at once.
	redialJitter = 1.0
)

// newInformer returns an informer that notices within two seconds that the API server is back.
//
// Informers of client-go wait up to twice as long after each failure. A change after a short outage
// would not be seen for as long as the outage took, or longer.
func newInformer(
	objects toolscache.ListerWatcher, example runtime.Object, resync time.Duration,
	indexers toolscache.Indexers,
) toolscache.SharedIndexInformer {
	source := toolscache.ToListerWatcherWithContext(objects)
	return toolscache.NewSharedIndexInformer(&toolscache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return redial(ctx, func() (runtime.Object, error) { return source.ListWithContext(ctx, o) })
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return redial(ctx, func() (watch.Interface, error) { return source.WatchWithContext(ctx, o) })
		},
	}, example, resync, indexers)
}

// redial asks again while the API server refuses connections, until the context ends.
func redial[T any](ctx context.Context, ask func() (T, error)) (T, error) {
	for {
		answer, err := ask()
		if !utilnet.IsConnectionRefused(err) {
			return answer, err
		}
		select {
		case <-ctx.Done():
			return answer, err
		case <-time.After(wait.Jitter(redialInterval, redialJitter)):
		}
	}
}
