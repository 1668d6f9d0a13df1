// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"context"
	"time"

	"github.com/cachewright/cachewright/cache"
)

// clientHolder holds as an application does.
type clientHolder struct{ *member }

func (c clientHolder) number() int { return c.member.number }

func (c clientHolder) hold(ctx context.Context, s scope, ttl time.Duration) (holding, error) {
	h, err := c.client.Hold(ctx, ttl, coveredBy(s))
	if err != nil {
		return nil, err
	}
	return clientHolding{h}, nil
}

func coveredBy(s scope) cache.Covered {
	if s.id == "" {
		return cache.Scope{Module: module, Operation: s.operation, User: s.user}
	}
	return cache.Key{Module: module, Operation: s.operation, User: s.user, Params: s.id}
}

type clientHolding struct{ hold cache.Hold }

func (c clientHolding) renew(ctx context.Context, ttl time.Duration) error {
	return c.hold.Renew(ctx, ttl)
}

func (c clientHolding) release(ctx context.Context) error { return c.hold.Release(ctx) }

func (clientHolding) abandon() {}

func (clientHolding) freeze(d time.Duration) { time.Sleep(d) }
