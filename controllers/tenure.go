// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
)

// tenure tells apart what only this operator can have worked on from what a predecessor may have. A live read before
// each purge costs the API server more than the purge's own write of status; a purge whose cached version came
// after the tenure began already shows whatever a predecessor did to it, and the cache shows our own writes.
type tenure struct {
	reader client.Reader

	mu    sync.Mutex
	began string // the resource version that was current when it was first asked for; empty: not yet
}

// newTenure returns a tenure that begins when it is first asked about, which reconcilers do once they are elected.
func newTenure(reader client.Reader) *tenure { return &tenure{reader: reader} }

// covers says whether a purge as the cache has it is a version of this tenure.
func (t *tenure) covers(ctx context.Context, cached *v1.CacheInvalidation) (bool, error) {
	if t == nil {
		return false, nil
	}
	began, err := t.beginning(ctx, cached.Namespace)
	if err != nil {
		return false, err
	}
	order, err := resourceversion.CompareResourceVersion(cached.ResourceVersion, began)
	return err == nil && order > 0, nil // versions that cannot be compared prove nothing
}

// beginning asks by way of one namespace, as there may be no right to list others; versions are of all.
func (t *tenure) beginning(ctx context.Context, namespace string) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.began == "" {
		list := &v1.CacheInvalidationList{}
		if err := t.reader.List(ctx, list, client.InNamespace(namespace), client.Limit(1)); err != nil {
			return "", fmt.Errorf("asking for the current version of CacheInvalidations: %w", err)
		}
		t.began = list.ResourceVersion
	}
	return t.began, nil
}
