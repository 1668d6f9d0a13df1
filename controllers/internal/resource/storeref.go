// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
)

// StoreID names a store: the CacheStore of that name or, if empty, the Redis of the operator's
// environment.
type StoreID = types.NamespacedName

// DefaultStore is the Redis of the operator's environment.
var DefaultStore StoreID

// StoreIDOf returns which store a resource of a namespace refers to.
func StoreIDOf(namespace string, ref *v1.StoreReference) StoreID {
	if ref == nil {
		return DefaultStore
	}
	return StoreID{Namespace: namespace, Name: ref.Name}
}

// StoreOf returns which store a policy refers to.
func StoreOf(policy *v1.CachePolicy) StoreID {
	return StoreIDOf(policy.Namespace, policy.Spec.StoreRef)
}

// storeField selects policies and invalidations by store. It is an index in the cache, and a
// selectable field at the API server. It is empty for the default store.
const storeField = "spec.storeRef.name"

// moduleField selects policies by module, in the cache (where it is an index) and at the API
// server (where it is a selectable field).
const moduleField = "spec.module"

// stateField selects invalidations by state, in the cache (where it is an index) and at the API
// server (where it is a selectable field).
const stateField = "status.state"

// inStore selects the resources of a namespace that refer to a store.
func inStore(namespace string, id StoreID) []client.ListOption {
	return []client.ListOption{
		client.InNamespace(namespace), client.MatchingFields{storeField: id.Name},
	}
}

// OfStore selects all resources that refer to a store, in whatever namespace they may.
func OfStore(id StoreID) []client.ListOption {
	return inStore(id.Namespace, id)
}

// StoreName is what an index of storeField holds for a reference.
func StoreName(ref *v1.StoreReference) string {
	return StoreIDOf("", ref).Name
}
