// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"context"
	"fmt"

	toolscache "k8s.io/client-go/tools/cache"
	ctrlcache "sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Watch makes informers call handlers for each change of a kind. It waits for nothing: the manager
// that runs the informers has not started yet.
func Watch(
	informers ctrlcache.Cache, kind client.Object, handlers toolscache.ResourceEventHandlerFuncs,
) error {
	informer, err := informers.GetInformer(context.Background(), kind,
		ctrlcache.BlockUntilSynced(false))
	if err == nil {
		_, err = informer.AddEventHandler(handlers)
	}
	if err != nil {
		return fmt.Errorf("watching %T: %w", kind, err)
	}
	return nil
}
