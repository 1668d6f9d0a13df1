// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package calls

import (
	"context"
	"time"

	"github.com/cachewright/cachewright/registry"
)

// Hold implements SessionStore.
func (s TimeoutStore) Hold(
	ctx context.Context, slot registry.Slot, id registry.HoldID, ttl time.Duration,
	targets ...registry.HoldTarget,
) (held registry.Held, err error) {
	err = s.call(ctx, func(ctx context.Context) (err error) {
		held, err = s.Store.Hold(ctx, slot, id, ttl, targets...)
		return err
	})
	return held, err
}

// Release implements SessionStore.
func (s TimeoutStore) Release(
	ctx context.Context, slot registry.Slot, id registry.HoldID, targets ...registry.HoldTarget,
) (lifted int64, err error) {
	err = s.call(ctx, func(ctx context.Context) (err error) {
		lifted, err = s.Store.Release(ctx, slot, id, targets...)
		return err
	})
	return lifted, err
}
