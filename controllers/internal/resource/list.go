// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/registry"
)

// IgnoreOwnWrites is for lists that are read for what people wrote, not for what the operator
// wrote.
const IgnoreOwnWrites = client.DisableReadYourWritesConsistency

// ReadOnly is for lists that may be long and are not changed: the cache need not copy them.
const ReadOnly = client.UnsafeDisableDeepCopy

// Referrers are the resources that refer to one store. Lists of them are the cache's own, and must
// not be changed.
type Referrers struct {
	// Reader reads from the cache.
	Reader client.Reader
	Store  StoreID
}

// Policies lists the policies of the store.
func (r Referrers) Policies(ctx context.Context) ([]v1.CachePolicy, error) {
	list := &v1.CachePolicyList{}
	if err := r.Reader.List(ctx, list, append(OfStore(r.Store), ReadOnly)...); err != nil {
		return nil, fmt.Errorf("listing policies: %w", err)
	}
	return list.Items, nil
}

// Invalidations lists the invalidations of the store.
func (r Referrers) Invalidations(ctx context.Context) ([]v1.CacheInvalidation, error) {
	list := &v1.CacheInvalidationList{}
	if err := r.Reader.List(ctx, list, append(OfStore(r.Store), ReadOnly)...); err != nil {
		return nil, fmt.Errorf("listing invalidations: %w", err)
	}
	return list.Items, nil
}

// PoliciesFor lists the policies for one module of a namespace in a store.
func PoliciesFor(
	ctx context.Context, reader client.Reader, slot registry.Slot, id StoreID,
) ([]v1.CachePolicy, error) {
	list := &v1.CachePolicyList{}
	err := reader.List(ctx, list, client.InNamespace(slot.Namespace),
		client.MatchingFields{moduleField: slot.Module, storeField: id.Name}, IgnoreOwnWrites, ReadOnly)
	if err != nil {
		return nil, fmt.Errorf("listing the policies for module %s: %w", slot, err)
	}
	return list.Items, nil
}

// PoliciesIn lists the policies of a namespace that refer to a store.
func PoliciesIn(
	ctx context.Context, reader client.Reader, namespace string, id StoreID,
) ([]v1.CachePolicy, error) {
	list := &v1.CachePolicyList{}
	options := append(inStore(namespace, id), IgnoreOwnWrites, ReadOnly)
	if err := reader.List(ctx, list, options...); err != nil {
		return nil, fmt.Errorf("listing the policies of namespace %s: %w", namespace, err)
	}
	return list.Items, nil
}
