// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	toolscache "k8s.io/client-go/tools/cache"
	ctrlcache "sigs.k8s.io/controller-runtime/pkg/cache"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/resource"
)

// Watch makes informers note invalidations that are recorded or deleted.
func (j *Journal) Watch(informers ctrlcache.Cache) error {
	return resource.Watch(informers, &v1.CacheInvalidation{}, toolscache.ResourceEventHandlerFuncs{
		UpdateFunc: func(_, obj any) {
			if invalidation, ok := obj.(*v1.CacheInvalidation); ok {
				j.Done(invalidation)
			}
		},
		DeleteFunc: func(obj any) {
			if unknown, missed := obj.(toolscache.DeletedFinalStateUnknown); missed {
				obj = unknown.Obj
			}
			if invalidation, ok := obj.(*v1.CacheInvalidation); ok {
				j.Deleted(invalidation)
			}
		},
	})
}
