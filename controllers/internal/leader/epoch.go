// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package leader

import (
	"context"
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
)

// Epoch is the time since this operator became the leader. A live read before each reconcile
// would cost the API server more than the write of status. It is needed only for invalidations that
// a former leader may have worked on. A cached version from this epoch already shows what that did,
// and the cache shows the operator's own writes.
type Epoch struct {
	reader client.Reader

	mu    sync.Mutex
	began string // the resource version that was current when it was first asked for; empty: not yet
}

// NewEpoch returns an epoch that begins when it is first asked about, which reconcilers do
// once this operator leads.
func NewEpoch(reader client.Reader) *Epoch { return &Epoch{reader: reader} }

// IsFresh reports whether the cached version of an invalidation is of this epoch.
func (e *Epoch) IsFresh(ctx context.Context, cached *v1.CacheInvalidation) (bool, error) {
	if e == nil {
		return false, nil
	}
	began, err := e.beginning(ctx, cached.Namespace)
	if err != nil {
		return false, err
	}
	order, err := resourceversion.CompareResourceVersion(cached.ResourceVersion, began)
	return err == nil && order > 0, nil // versions that cannot be compared prove nothing
}

// beginning asks for one namespace, as the operator may not be allowed to list others. Versions are
// those of all namespaces.
func (e *Epoch) beginning(ctx context.Context, namespace string) (string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.began == "" {
		list := &v1.CacheInvalidationList{}
		if err := e.reader.List(ctx, list, client.InNamespace(namespace), client.Limit(1)); err != nil {
			return "", fmt.Errorf("asking for the current version of CacheInvalidations: %w", err)
		}
		e.began = list.ResourceVersion
	}
	return e.began, nil
}
