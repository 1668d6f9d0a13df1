// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package holds forbids for a while to fill what an application names. It releases what a failed
// hold has reached, also when Redis did not answer.
package holds

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cachewright/cachewright/cache/internal/background"
	"github.com/cachewright/cachewright/cache/internal/catalog"
	"github.com/cachewright/cachewright/cache/internal/gateway"
	"github.com/cachewright/cachewright/cache/internal/outbox"
	"github.com/cachewright/cachewright/registry"
)

// Config says how a Holder reaches Redis. All fields are needed.
type Config struct {
	Gateway    *gateway.Gateway
	Outbox     *outbox.Outbox
	Modules    *catalog.Modules
	Background *background.Runner
	// InvalidateUser invalidates a user in every module, now or later.
	InvalidateUser func(ctx context.Context, user string) error
	// Timeout bounds each call. A call without an answer may be carried out for as long again.
	Timeout time.Duration
}

// Holder makes holds.
type Holder struct {
	config Config
	lost   atomic.Int64
}

// New returns a Holder whose releases the outbox delivers if they fail.
func New(config Config) *Holder {
	h := &Holder{config: config}
	config.Outbox.ReleaseWith(h.deliver)
	return h
}

// Lost is the number of holds that did not last until they were released.
func (h *Holder) Lost() int64 { return h.lost.Load() }

// Hold carries a request out. With an error the Hold holds nothing, but its Release invalidates
// what was to be held.
func (h *Holder) Hold(ctx context.Context, request Request) (*Hold, error) {
	hold := newHold(h)
	if err := hold.begin(ctx, request); err != nil {
		hold.giveBack(ctx)
		return hold.fail(err)
	}
	return hold, nil
}

// Nothing returns a Hold that covers nothing, because of err.
func Nothing(err error) (*Hold, error) { return newHold(nil).fail(err) }

// fail makes a hold that was just made a failed one.
func (h *Hold) fail(err error) (*Hold, error) {
	h.err = fmt.Errorf("cache: nothing is held: %w: "+
		"make the change all the same, and call Release after it, which invalidates", err)
	return h, h.err
}

// begin holds all of a request, or returns an error.
func (h *Hold) begin(ctx context.Context, request Request) error {
	err := request.check()
	if err == nil {
		err = ctx.Err()
	}
	h.everywhere = request.users
	if err == nil && len(request.users) > 0 {
		err = h.findUsers(ctx, &request)
	}
	h.parts = request.parts(registry.NewHoldID())
	if err != nil {
		return err
	}
	var failing atomic.Bool
	return summary(each(h.parts, func(p *part) error {
		if failing.Load() {
			return nil // there is no use in holding the rest
		}
		err := h.holder.config.Gateway.Hold(ctx, p.hold, request.TTL)
		p.called(err, request.TTL, h.holder.config.Timeout)
		if err != nil {
			failing.Store(true)
		}
		return err
	}))
}

// findUsers adds the users that the request names in every module.
func (h *Hold) findUsers(ctx context.Context, request *Request) error {
	modules, err := h.holder.config.Modules.All(ctx)
	if err != nil {
		return err
	}
	for _, module := range modules {
		for _, user := range request.users {
			request.AddScope(module, registry.Scope{User: user})
		}
	}
	h.everywhere = nil
	return nil
}

// giveBack has the outbox release what a hold has reached that failed. So nobody waits for a Redis
// that may not answer. A closed outbox delivers nothing.
func (h *Hold) giveBack(ctx context.Context) {
	each(h.parts, func(p *part) error {
		switch {
		case !p.reached:
		case h.holder.config.Background.Closed():
			_, err := h.holder.config.Gateway.Release(context.WithoutCancel(ctx), p.hold)
			return err
		default:
			h.holder.releaseLater(p)
		}
		return nil
	})
}

// releaseLater queues a release, and once more for when no earlier call can arrive any more.
func (h *Holder) releaseLater(p *part) {
	h.config.Outbox.EnqueueRelease(p.hold.Module, p.scopes(), p.queued())
	h.releaseOnceMore(p)
}

// releaseOnceMore queues another release for when no call without an answer can arrive any more:
// such a call may put marks after the first release.
func (h *Holder) releaseOnceMore(p *part) {
	wait := time.Until(p.mayArrive)
	if p.mayArrive.IsZero() || wait <= 0 {
		return
	}
	hold, scopes, queued := p.hold, p.scopes(), p.queued()
	h.config.Background.Start(context.Background(), func(ctx context.Context) {
		background.Sleep(ctx, wait)
		h.config.Outbox.EnqueueRelease(hold.Module, scopes, queued)
	})
}

// deliver is how the outbox releases holds.
func (h *Holder) deliver(
	ctx context.Context, module string, id registry.HoldID, of []outbox.Scope,
) error {
	hold := gateway.Hold{Module: module, ID: id}
	for _, scope := range of {
		hold.Things = append(hold.Things, gateway.Thing(scope))
	}
	_, err := h.config.Gateway.Release(ctx, hold)
	return err
}
