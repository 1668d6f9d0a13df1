// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/cachewright/cachewright/cache/internal/background"
	"github.com/cachewright/cachewright/cache/internal/flight"
	"github.com/cachewright/cachewright/cache/internal/redact"
	"github.com/cachewright/cachewright/registry"
)

const (
	// refreshesAtOnce bounds the loads of stale entries in a process. The entries of more are served
	// stale until one of the next readers finds room.
	refreshesAtOnce = 32
	// refreshesKnown bounds those that run and those that rest.
	refreshesKnown = 1024
	// refreshRest is how long an entry is left alone after a refresh that failed, or that is another
	// process' to do: neither the source nor Redis is to be asked by each reader.
	refreshRest = time.Second
)

var errRefresh = errors.New("an entry could not be refreshed; it is served as long as it is there")

// refreshes is the stale entries that this process loads anew, or has just tried to.
type refreshes struct {
	mu      sync.Mutex
	known   map[registry.Key]struct{}
	running int
}

// begin says whether the caller is to refresh the entry. If so, it calls rest and then forget.
func (r *refreshes) begin(key registry.Key) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.known[key]; known || r.running >= refreshesAtOnce || len(r.known) >= refreshesKnown {
		return false
	}
	if r.known == nil {
		r.known = make(map[registry.Key]struct{})
	}
	r.known[key] = struct{}{}
	r.running++
	return true
}

// rest makes room for another entry; this one does not begin again before it is forgotten.
func (r *refreshes) rest() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running--
}

func (r *refreshes) forget(key registry.Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.known, key)
}

// turn says whether this process is to load an entry anew: then it has a token to fill it with.
type turn func(context.Context) (registry.Token, refreshOutcome)

// refresh loads a stale entry anew in the background and says so, unless that is under way, was tried a
// moment ago, or too many others are. Without a token it asks Redis whose turn it is.
func (c *Client) refresh(ctx context.Context, key registry.Key, token registry.Token, load loader) bool {
	return c.refreshInTurn(ctx, key, key, load, func(ctx context.Context) (registry.Token, refreshOutcome) {
		if token != "" {
			return token, refreshDone
		}
		return c.turnOfStale(ctx, key)
	})
}

// refreshInTurn loads an entry anew if it is this process' turn, which is locked under a key: the entry's own, which its
// fill unlocks, or another.
func (c *Client) refreshInTurn(ctx context.Context, key, lock registry.Key, load loader, turn turn) bool {
	if !c.refreshes.begin(key) {
		return false
	}
	started := c.background.Start(ctx, func(ctx context.Context) {
		defer c.refreshes.forget(key)
		switch c.tryRefresh(ctx, key, load, turn) {
		case refreshNeedless:
		case refreshDone:
			if lock != key {
				c.unlock(context.WithoutCancel(ctx), lock)
			}
		case refreshNotOurs:
			background.Sleep(ctx, refreshRest)
		case refreshFailed:
			background.Sleep(ctx, refreshRest)
			c.unlock(context.WithoutCancel(ctx), lock)
		}
	})
	if !started {
		c.refreshes.rest()
		c.refreshes.forget(key)
	}
	return started
}

type refreshOutcome int

const (
	refreshDone     refreshOutcome = iota // with the turn in hand
	refreshNeedless                       // it is fresh, or gone and not ours to load
	refreshNotOurs                        // another process has the turn, or Redis cannot say whose it is
	refreshFailed                         // with the turn in hand
)

func (c *Client) tryRefresh(ctx context.Context, key registry.Key, load loader, turn turn) refreshOutcome {
	defer c.refreshes.rest()
	token, outcome := turn(ctx)
	if token == "" {
		return outcome
	}
	if err := c.loadStale(ctx, flightKey{key, headsOf(token)}, token, load); err != nil {
		if ctx.Err() == nil {
			c.failed(key.Module, key.Operation, refreshFailure(err))
		}
		return refreshFailed
	}
	return refreshDone
}

// refreshFailure tells of a panic where it came from, and nothing of the loader's own errors.
func refreshFailure(cause error) error {
	message := errRefresh.Error()
	if errors.Is(cause, redact.ErrPanic) {
		message += ": " + cause.Error()
	}
	return redact.New(message, errRefresh, cause)
}

func (c *Client) turnOfStale(ctx context.Context, key registry.Key) (registry.Token, refreshOutcome) {
	lookup, err := c.lease(ctx, c.timeout, key, c.refreshTimeout)
	switch {
	case err != nil || lookup.Hit && lookup.Stale && lookup.Token == "":
		return "", refreshNotOurs
	case lookup.Token == "" || !lookup.Cacheable || lookup.Wait > 0:
		return "", refreshNeedless
	default:
		return lookup.Token, refreshDone
	}
}

// loadStale loads and fills within the time for a refresh. A panic of the loader becomes an error: there
// is no caller to panic in.
func (c *Client) loadStale(ctx context.Context, key flightKey, token registry.Token, load loader) (err error) {
	ctx, cancel := context.WithTimeout(ctx, c.refreshTimeout)
	defer cancel()
	defer func() {
		if value := recover(); value != nil {
			err = redact.Panic("the loader panicked", value)
		}
	}()
	result, started, err := c.flights.Do(ctx, key, func(ctx context.Context) (loaded, error) {
		return c.loadAndFill(ctx, key.Key, ticket{token: token, left: c.timeout}, load)
	})
	switch {
	case errors.Is(err, flight.ErrNothingToShare), errors.Is(err, flight.ErrOverdue), errors.Is(err, flight.ErrStuck):
		return nil // who loads it for a caller tells of it
	case !errors.Is(err, ErrNotFound):
		return err
	case started && !result.storedNegative:
		// The source has it no more, and no policy says how long to remember that.
		return c.remove(ctx, c.timeout, key.Key)
	default:
		return nil
	}
}
