// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"time"

	"github.com/cachewright/cachewright/cache/internal/limit"
)

// LimitTTL bounds how long the entry that is being loaded is kept, for example to the max-age of a
// response. A load function calls it with the context that it was given. Without it the policy
// decides. It only shortens: beyond the TTL of the policy it has no effect. An entry with a bound
// has no stale time after it, and near caches obey it, too. Of several bounds the lowest counts.
// Below a millisecond, the value is returned and not stored.
//
// It also bounds the entry that is stored after ErrNotFound. A load within the load has bounds of
// its own. With a context that is not that of a load, LimitTTL does nothing. A function library
// from before version 5, which may not be replaced, knows no bounds. Then a value with a bound is
// not stored, and the failure is reported.
func LimitTTL(ctx context.Context, ttl time.Duration) { limit.Lower(ctx, ttl) }
