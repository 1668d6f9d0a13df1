// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package dbtest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cachewright/cachewright/cache"
)

// protocol is what a writer does to the cache around its COMMIT.
type protocol struct {
	Name   string
	Holds  bool // before COMMIT until the outcome is known
	Renews bool
	Early  bool // invalidates before COMMIT, in the transaction
	After  bool // invalidates after COMMIT
	// Unfenced: loads that began before an invalidation are stored after it.
	Unfenced bool
	Kills    bool // some writers die between COMMIT and what follows
	Slow     bool // some COMMITs take longer than a hold lasts
}

// ours is the protocol of InTx.
var ours = protocol{Name: "hold, COMMIT, release", Holds: true, Renews: true}

// others are protocols that the check must find wanting. Some are those of other libraries, by their
// documentation and code. The rest are ours without one of its parts.
var others = []protocol{
	{Name: "deletes in the transaction (go-zero in TransactCtx, prisma-extension-redis)", Early: true, Unfenced: true},
	{Name: "deletes after COMMIT (django-cacheops)", After: true, Unfenced: true},
	{Name: "deletes after COMMIT, writers die (django-cacheops)", After: true, Unfenced: true, Kills: true},
	{Name: "deletes after COMMIT, loads are fenced (IdentityCache)", After: true},
	{Name: "deletes after COMMIT, loads are fenced, writers die (IdentityCache)", After: true, Kills: true},
	{Name: "ours, invalidating in the transaction", Early: true},
	{Name: "ours, loads are not fenced", Holds: true, Renews: true, Unfenced: true},
	{Name: "ours, the hold is shorter than COMMIT", Holds: true, Slow: true},
}

// holder is a cache whose holds follow a protocol. It calls functions before COMMIT and after it.
type holder struct {
	*cache.Client

	protocol      protocol
	before, after func()
}

func (h *holder) Hold(ctx context.Context, ttl time.Duration, on ...cache.Covered) (cache.Hold, error) {
	held := &holding{holder: h, on: on}
	var err error
	switch {
	case h.protocol.Holds:
		held.Hold, err = h.Client.Hold(ctx, ttl, on...)
	case h.protocol.Early:
		err = h.invalidate(ctx, on)
	}
	h.before()
	return held, err
}

// invalidate does what a hold and its release would do together.
func (h *holder) invalidate(ctx context.Context, on []cache.Covered) (err error) {
	for _, covered := range on {
		switch c := covered.(type) {
		case cache.Key:
			err = errors.Join(err, h.Delete(ctx, c))
		case cache.Scope:
			err = errors.Join(err, h.invalidateScope(ctx, c))
		}
	}
	return err
}

func (h *holder) invalidateScope(ctx context.Context, s cache.Scope) error {
	switch {
	case s.User != "" && s.Operation == "":
		return h.InvalidateUser(ctx, s.User, s.Module)
	case s.User != "":
		return fmt.Errorf("no protocol knows %+v", s)
	case s.Operation != "":
		return h.InvalidateOperation(ctx, s.Module, s.Operation)
	default:
		return h.InvalidateModule(ctx, s.Module)
	}
}

// holding is one hold. Where the protocol has none, Hold is nil.
type holding struct {
	cache.Hold

	holder *holder
	on     []cache.Covered
}

func (h *holding) Renew(ctx context.Context, ttl time.Duration) error {
	if h.Hold == nil || !h.holder.protocol.Renews {
		return nil
	}
	return h.Hold.Renew(ctx, ttl)
}

func (h *holding) Release(ctx context.Context) error {
	h.holder.after()
	switch {
	case h.Hold != nil:
		return h.Hold.Release(ctx)
	case h.holder.protocol.After:
		return h.holder.invalidate(ctx, h.on)
	default:
		return nil
	}
}

func (h *holding) Err() error {
	if h.Hold == nil {
		return nil
	}
	return h.Hold.Err()
}
