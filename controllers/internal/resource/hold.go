// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/cachewright/cachewright/api/v1"
	"github.com/cachewright/cachewright/registry"
)

// Holds reports whether an invalidation has to hold: it says so, and changes something.
func Holds(invalidation *v1.CacheInvalidation) bool {
	return invalidation.Spec.HoldFor != nil && !invalidation.Spec.DryRun
}

// HoldID returns the id of an invalidation's hold. It is made of the UID, so that the next leader
// goes on with the hold of this one.
func HoldID(invalidation *v1.CacheInvalidation) registry.HoldID {
	var id registry.HoldID
	digits := strings.ReplaceAll(string(invalidation.UID), "-", "")
	if n, err := hex.Decode(id[:], []byte(digits)); err != nil || n != len(id) {
		// The API server makes UUIDs. Another one's UIDs are unique, too.
		sum := sha256.Sum256([]byte(invalidation.UID))
		copy(id[:], sum[:])
	}
	return id
}

// HoldRemaining returns how long an invalidation still holds; not positive: it does not.
func HoldRemaining(invalidation *v1.CacheInvalidation, now time.Time) time.Duration {
	if !Holds(invalidation) || invalidation.Status.HoldEndTime == nil {
		return 0
	}
	return invalidation.Status.HoldEndTime.Sub(now)
}

// HoldingIn lists the invalidations of a namespace that hold in a store.
func HoldingIn(
	ctx context.Context, reader client.Reader, namespace string, id StoreID,
) ([]v1.CacheInvalidation, error) {
	list := &v1.CacheInvalidationList{}
	err := reader.List(ctx, list, client.InNamespace(namespace),
		client.MatchingFields{storeField: id.Name, stateField: string(v1.StateHolding)}, ReadOnly)
	if err != nil {
		return nil, fmt.Errorf("listing the invalidations of namespace %s that hold: %w", namespace, err)
	}
	return list.Items, nil
}
