// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
)

// AbandonAfter is how many times its timeout a deletion waits for a store that can be used. A
// server that answers may still let nothing come to an end.
const AbandonAfter = 10

// DeleteAsSeen deletes the version that was read and no other: labels of a GitOps tool may have
// come since.
func DeleteAsSeen(ctx context.Context, c client.Client, invalidation *v1.CacheInvalidation) error {
	err := c.Delete(ctx, invalidation,
		client.Preconditions{UID: &invalidation.UID, ResourceVersion: &invalidation.ResourceVersion})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting CacheInvalidation %s: %w", client.ObjectKeyFromObject(invalidation),
			err)
	}
	return nil
}
