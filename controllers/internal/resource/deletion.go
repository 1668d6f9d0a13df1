// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"context"
	"fmt"
	"time"

	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
)

// AbandonAfter is how many times its timeout a deletion waits for a store that can be used. A
// server that answers may still let nothing come to an end.
const AbandonAfter = 10

// Deletion says how long deleted resources wait for a store.
type Deletion struct {
	// Timeout after the deletion, where the store cannot be used.
	Timeout time.Duration
	Clock   clock.PassiveClock
}

// Remaining returns how long a deleted resource still waits for a store that cannot be used. It is
// not positive once that time is over.
func (d Deletion) Remaining(obj client.Object) time.Duration {
	return d.Timeout - d.Clock.Since(obj.GetDeletionTimestamp().Time)
}

// IsOverdue reports whether a deleted resource has waited long enough for a store that cannot be
// used.
func (d Deletion) IsOverdue(obj client.Object) bool { return d.Remaining(obj) <= 0 }

// IsAbandoned reports whether a deleted resource has waited long enough for any store.
func (d Deletion) IsAbandoned(obj client.Object) bool {
	return d.Remaining(obj) <= -(AbandonAfter-1)*d.Timeout
}

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
