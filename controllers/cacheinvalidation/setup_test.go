// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cacheinvalidation

import (
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/controllertest"
	"github.com/cachewright/cachewright/controllers/internal/resource"
)

func TestARequestIsOfTheStoreThatItsInvalidationNames(t *testing.T) {
	invalidation := controllertest.Invalidation()
	invalidation.Namespace, invalidation.Name, invalidation.Spec.StoreRef = "shop", "purge", &v1.StoreReference{Name: "main"}
	of := storeOfInvalidation(controllertest.FakeCache(t, invalidation))
	request := reconcile.Request{NamespacedName: client.ObjectKeyFromObject(invalidation)}
	if got, want := of(t.Context(), request), (resource.StoreID{Namespace: "shop", Name: "main"}); got != want {
		t.Errorf("the invalidation: %s", got)
	}
	request.Name = "gone"
	if got := of(t.Context(), request); got != resource.DefaultStore {
		t.Errorf("what is gone: %s", got)
	}
}
