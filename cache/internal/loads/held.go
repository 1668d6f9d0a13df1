// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package loads

import (
	"context"
	"reflect"

	"github.com/cachewright/cachewright/cache/internal/dest"
	"github.com/cachewright/cachewright/cache/internal/source"
	"github.com/cachewright/cachewright/registry"
)

// Held gets a value that a hold forbids to store. The source may change at any moment, and no heads
// say when. So callers share only a load that began after they came. Redis says that an entry is
// held only if the policy would cache it, so it is the same for all callers. The error is
// flight.ErrOverdue as for Shared.
func (s *Loads) Held(ctx context.Context, key registry.Key, out any, load source.Load) error {
	result, started, err := s.held.Do(ctx, key, func(ctx context.Context) (loaded, error) {
		value, err := s.load(ctx, key, s.config.Timed(key, load))
		if err != nil {
			return loaded{}, err
		}
		payload, err := s.Encode(key, value, reflect.TypeOf(out).Elem())
		return loaded{value: value, payload: payload, shared: err == nil}, nil
	})
	if err == nil && started {
		return dest.Set(out, result.value)
	}
	return s.land(ctx, key, result, err, out, load)
}
