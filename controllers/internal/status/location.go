// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package status

import (
	"fmt"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/controllers/internal/resource"
)

// Location names a store in messages. It holds no secret.
type Location struct {
	ID      resource.StoreID
	Address string
}

// LocationOf returns what names a CacheStore in messages.
func LocationOf(store *v1.CacheStore) Location {
	addresses := make([]string, len(store.Spec.Addresses))
	for i, address := range store.Spec.Addresses {
		addresses[i] = string(address)
	}
	return Location{
		ID: client.ObjectKeyFromObject(store), Address: Clip(strings.Join(addresses, ","), maxLocation),
	}
}

// maxLocation bounds the addresses in a message, in bytes.
const maxLocation = 300

// String begins a sentence.
func (l Location) String() string {
	if l.ID == resource.DefaultStore {
		return "Redis at " + l.Address
	}
	return fmt.Sprintf("CacheStore %s (Redis at %s)", l.ID.Name, l.Address)
}

// declaredIn names where it is set how the store is reached.
func (l Location) declaredIn() string {
	if l.ID == resource.DefaultStore {
		return "the operator's REDIS_HOST, REDIS_PORT and REDIS_TLS (or REDIS_URL)"
	}
	return "spec.addresses and spec.tls of CacheStore " + l.ID.Name
}

// credentialsIn names where the credentials for the store are set.
func (l Location) credentialsIn() string {
	if l.ID == resource.DefaultStore {
		return "the operator's REDIS_USERNAME and REDIS_PASSWORD (or REDIS_URL)"
	}
	return "the Secret in spec.credentialsSecretRef of CacheStore " + l.ID.Name
}
