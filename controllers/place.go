// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
)

// storeID names a store: the CacheStore of that name, or, empty, the Redis of the operator's
// environment.
type storeID = types.NamespacedName

// defaultStore is the Redis of the operator's environment.
var defaultStore storeID

// inLog names a store in the log.
func inLog(id storeID) string {
	if id == defaultStore {
		return "the operator's own"
	}
	return id.String()
}

// storeIDOf returns which store a resource of a namespace refers to.
func storeIDOf(namespace string, ref *v1.StoreReference) storeID {
	if ref == nil {
		return defaultStore
	}
	return storeID{Namespace: namespace, Name: ref.Name}
}

// storeField selects policies and purges by store, in the cache (where it is an index) and at the
// API server (where it is a selectable field). Its value is empty for the default store.
const storeField = "spec.storeRef.name"

// inStore selects the resources of a namespace that refer to a store.
func inStore(namespace string, id storeID) []client.ListOption {
	return []client.ListOption{client.InNamespace(namespace), client.MatchingFields{storeField: id.Name}}
}

// ofStore selects all resources that refer to a store, in whatever namespace they may.
func ofStore(id storeID) []client.ListOption {
	return inStore(id.Namespace, id)
}

// storeName is what an index of storeField holds for a reference.
func storeName(ref *v1.StoreReference) string {
	return storeIDOf("", ref).Name
}

// place names a store in messages. It holds no secret.
type place struct {
	id      storeID
	address string
}

func placeOf(store *v1.CacheStore) place {
	addresses := make([]string, len(store.Spec.Addresses))
	for i, address := range store.Spec.Addresses {
		addresses[i] = string(address)
	}
	return place{id: client.ObjectKeyFromObject(store), address: clip(strings.Join(addresses, ","), maxPlace)}
}

// maxPlace bounds the addresses in a message, in bytes.
const maxPlace = 300

// String begins a sentence.
func (p place) String() string {
	if p.id == defaultStore {
		return "Redis at " + p.address
	}
	return fmt.Sprintf("CacheStore %s (Redis at %s)", p.id.Name, p.address)
}

// declaredIn names where it is set how the store is reached.
func (p place) declaredIn() string {
	if p.id == defaultStore {
		return "the operator's REDIS_HOST, REDIS_PORT and REDIS_TLS (or REDIS_URL)"
	}
	return "spec.addresses and spec.tls of CacheStore " + p.id.Name
}

// credentialsIn names where the credentials for the store are set.
func (p place) credentialsIn() string {
	if p.id == defaultStore {
		return "the operator's REDIS_USERNAME and REDIS_PASSWORD (or REDIS_URL)"
	}
	return "the Secret in spec.credentialsSecretRef of CacheStore " + p.id.Name
}
