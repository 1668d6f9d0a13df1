// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cachepolicy

import (
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/cachewright/cachewright/controllers/internal/controllertest"
	"github.com/cachewright/cachewright/controllers/internal/resource"
)

func TestARequestIsOfTheStoreThatItsResourceNames(t *testing.T) {
	policy := controllertest.UsersPolicyIn("main")
	policy.Namespace = "shop"
	of := storeOfPolicy(controllertest.FakeCache(t, policy))
	request := reconcile.Request{NamespacedName: client.ObjectKeyFromObject(policy)}
	if got, want := of(t.Context(), request), (resource.StoreID{Namespace: "shop", Name: "main"}); got != want {
		t.Errorf("the policy: %s", got)
	}
	request.Name = "gone"
	if got := of(t.Context(), request); got != resource.DefaultStore {
		t.Errorf("what is gone: %s", got)
	}
}
