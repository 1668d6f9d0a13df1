// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/cachewright/cachewright/cache"
	"github.com/cachewright/cachewright/registry"
)

// maxHold is the longest time of a hold in most runs.
const maxHold = 400 * time.Millisecond

// A holder holds what a writer is about to change.
type holder interface {
	// hold holds a scope. It fails if the hold did not begin.
	hold(ctx context.Context, s scope, ttl time.Duration) (holding, error)
	// number is that of the client in the history, or nobody.
	number() int
}

// A holding is a hold, for the one who holds.
type holding interface {
	renew(ctx context.Context, ttl time.Duration) error
	release(ctx context.Context) error
	// abandon ends the holder without a release.
	abandon()
	// freeze stops the holder for a while.
	freeze(d time.Duration)
}

// randomHold returns a scope that covers a key, mostly a small one.
func randomHold(key cache.Key) scope {
	switch dice := rand.IntN(100); {
	case dice == 0:
		return scope{}
	case dice < 5:
		return scope{operation: key.Operation}
	case dice < 15:
		return scope{user: key.User}
	case dice < 25:
		return scope{operation: key.Operation, user: key.User}
	default:
		return scope{operation: key.Operation, user: key.User, id: key.Params.(string)}
	}
}

// write changes a row under a hold, and ends it in one of several ways.
func (r *heldRun) write(ctx context.Context, by holder, scopeOf func(cache.Key) scope) {
	key := randomKey()
	longest := maxHold + r.longer
	s, ttl := scopeOf(key), longest/2+rand.N(longest/2)
	h, began := &hold{by: by.number(), losses: r.ledger.losses.Load()}, time.Now()
	holding, err := by.hold(ctx, s, ttl)
	if err != nil && ctx.Err() != nil {
		return
	}
	if err != nil {
		r.failed.Add(1)
		return
	}
	h.since = r.history.tick()
	h.deadline.Store(began.Add(ttl).UnixNano())
	r.ledger.begin(s, h)
	time.Sleep(rand.N(ttl / 4))
	fate := rand.IntN(10)
	if fate == 0 {
		r.renew(ctx, holding, h, ttl)
	}
	r.commit(key, h)
	time.Sleep(rand.N(ttl / 8))
	switch fate {
	case 1:
		holding.abandon()
		r.expire(h)
		return
	case 2:
		holding.freeze(time.Until(began.Add(ttl)) + rand.N(100*time.Millisecond))
		r.expire(h)
	}
	h.beginRelease(&r.ledger, r.history.tick())
	if holding.release(ctx) == nil {
		h.release(r.history.tick())
	}
}

func (r *heldRun) renew(ctx context.Context, holding holding, h *hold, ttl time.Duration) {
	began := time.Now()
	if holding.renew(ctx, ttl) == nil {
		h.deadline.Store(began.Add(ttl).UnixNano())
	}
}

// commit changes a row, if there is still time.
func (r *heldRun) commit(key cache.Key, h *hold) {
	if !h.lasts(time.Now().UnixNano()) {
		return
	}
	r.ledger.commit(key, h, &r.history)
	r.commits.Add(1)
	if !h.lasts(time.Now().UnixNano()) {
		h.void()
	}
}

// expire waits until the time of a hold is over.
func (r *heldRun) expire(h *hold) {
	time.Sleep(time.Until(time.Unix(0, h.deadline.Load())))
	h.expire(&r.ledger)
}

// foreignHolder holds as the operator does, or a client in another language.
type foreignHolder struct{ registry *registry.Registry }

func (foreignHolder) number() int { return nobody }

func (f foreignHolder) hold(ctx context.Context, s scope, ttl time.Duration) (holding, error) {
	h := foreignHolding{f.registry, registry.NewHoldID(), targetOf(s)}
	if err := h.renew(ctx, ttl); err != nil {
		_ = h.release(context.WithoutCancel(ctx))
		return nil, err
	}
	return h, nil
}

func targetOf(s scope) registry.HoldTarget {
	if s.id == "" {
		return registry.HoldScope(registry.Scope{Operation: s.operation, User: s.user})
	}
	id, err := cache.ID(s.id)
	if err != nil {
		panic(err)
	}
	return registry.HoldEntry(registry.Key{Operation: s.operation, User: s.user, ID: id})
}

type foreignHolding struct {
	registry *registry.Registry
	id       registry.HoldID
	target   registry.HoldTarget
}

func (f foreignHolding) renew(ctx context.Context, ttl time.Duration) error {
	_, err := f.registry.Hold(ctx, slot, f.id, ttl, f.target)
	return err
}

func (f foreignHolding) release(ctx context.Context) error {
	_, err := f.registry.Release(ctx, slot, f.id, f.target)
	return err
}

func (foreignHolding) abandon() {}

func (foreignHolding) freeze(d time.Duration) { time.Sleep(d) }
