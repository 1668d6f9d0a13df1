// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package holds

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cachewright/cachewright/cache/internal/outbox"
	"github.com/cachewright/cachewright/registry"
)

var (
	// ErrLost is cache.ErrHoldLost.
	ErrLost = errors.New("a hold did not last")

	errOver = errors.New("cache: the hold is over, so it cannot be renewed; make another one")

	errNoTime = fmt.Errorf("%w: other calls took all the time", registry.ErrUnreachable)

	errClosed = errors.New("the Client is closed, so nobody tries again: " +
		"invalidate what the hold covered; it ends with its ttl")
)

// Hold is one hold of an application.
type Hold struct {
	holder *Holder
	parts  []*part
	// everywhere are users that could not be held, since the list of modules is unknown.
	everywhere []string

	// turn is taken for each call. Renewals and the release must never run at the same time.
	turn     chan struct{}
	released bool // guarded by turn

	mu  sync.Mutex
	err error // why it does not hold, or did not all the time
}

func newHold(holder *Holder) *Hold { return &Hold{holder: holder, turn: make(chan struct{}, 1)} }

// Err returns why the hold does not hold, or did not hold all the time.
func (h *Hold) Err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err
}

// Renew lets the hold last for so long from now on.
func (h *Hold) Renew(ctx context.Context, ttl time.Duration) error {
	if err := checkTTL(ttl); err != nil {
		return fmt.Errorf("cache: the hold is not renewed: %w", err)
	}
	if err := h.take(ctx); err != nil {
		return fmt.Errorf("cache: the hold is not renewed: %w", err)
	}
	defer h.give()
	if h.released || h.Err() != nil && !errors.Is(h.Err(), ErrLost) {
		return errOver
	}
	began := time.Now()
	failed := each(h.parts, func(p *part) error { return h.renew(ctx, p, ttl, began) })
	if err := summary(failed); err != nil {
		return fmt.Errorf("cache: the hold is not renewed: %w: "+
			"renew it again before it ends, or release it after the change", err)
	}
	return nil
}

func (h *Hold) renew(
	ctx context.Context, p *part, ttl time.Duration, began time.Time,
) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if time.Since(began) >= h.holder.config.Timeout {
		return errNoTime
	}
	stood, err := h.holder.config.Gateway.Renew(ctx, p.hold, ttl)
	p.called(err, ttl, h.holder.config.Timeout)
	if err == nil && stood < int64(len(p.hold.Things)) {
		h.lose(p, "a renewal missed marks of it")
	}
	return err
}

// Release ends the hold. What could not be released is queued.
func (h *Hold) Release(ctx context.Context) error {
	if err := h.take(ctx); err != nil {
		return h.releaseInBackground(err)
	}
	defer h.give()
	return h.release(ctx)
}

// releaseInBackground releases the hold after a renewal that still runs.
func (h *Hold) releaseInBackground(reason error) error {
	ctx := context.Background()
	started := h.holder.config.Background.Start(ctx, func(ctx context.Context) {
		h.turn <- struct{}{} // a renewal is bounded in time
		defer h.give()
		_ = h.release(ctx) // it reports its failures itself
	})
	if !started {
		return fmt.Errorf("cache: the hold is not released: %w: %w", errClosed, reason)
	}
	return fmt.Errorf("cache: the release of a hold waits for its renewal: %w: %w",
		outbox.ErrQueued, reason)
}

// release requires the turn.
func (h *Hold) release(ctx context.Context) error {
	if h.released {
		return nil
	}
	h.released = true
	began := time.Now()
	failed := each(h.parts, func(p *part) error { return h.releasePart(ctx, p, began) })
	for _, user := range h.everywhere {
		failed = append(failed, h.holder.config.InvalidateUser(ctx, user))
	}
	if err := summary(failed); err != nil {
		return fmt.Errorf("cache: the hold is not released: %w", err)
	}
	return nil
}

// releasePart queues the release if an earlier one of the same hold took all the time.
func (h *Hold) releasePart(ctx context.Context, p *part, began time.Time) error {
	config := h.holder.config
	if config.Outbox.CoalesceRelease(p.hold.Module, p.scopes(), p.queued()) {
		h.holder.releaseOnceMore(p)
		return fmt.Errorf("%w: %w: an invalidation that covers it waits already",
			outbox.ErrQueued, registry.ErrUnreachable)
	}
	lifted, err := int64(0), errNoTime
	if time.Since(began) < config.Timeout {
		lifted, err = config.Gateway.Release(ctx, p.hold)
	}
	switch {
	case err == nil:
		h.holder.releaseOnceMore(p)
		if lifted < int64(len(p.hold.Things)) {
			h.lose(p, "its release missed marks of it")
		}
		return nil
	case errors.Is(err, registry.ErrRejected):
		return err
	case config.Background.Closed():
		return fmt.Errorf("%w: %w", errClosed, err)
	default:
		h.holder.releaseLater(p)
		return fmt.Errorf("%w: %w", outbox.ErrQueued, err)
	}
}

// lose records that the hold did not cover all the time what it should. It counts once.
func (h *Hold) lose(p *part, how string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil {
		return
	}
	h.err = fmt.Errorf("cache: %w: in the module %s %s: it ended before that, Redis lost them, or "+
		"more than 64 holds cover the same; readers may have seen what was before the change",
		ErrLost, p.hold.Module, how)
	h.holder.lost.Add(1)
}

// take waits for the turn.
func (h *Hold) take(ctx context.Context) error {
	select {
	case h.turn <- struct{}{}:
		return nil
	default:
	}
	select {
	case h.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// give ends the turn.
func (h *Hold) give() { <-h.turn }
