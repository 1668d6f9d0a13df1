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
	"github.com/cachewright/cachewright/cache/internal/gateway"
	"github.com/cachewright/cachewright/cache/internal/redact"
	"github.com/cachewright/cachewright/registry"
)

const (
	// maxRefreshes bounds the refreshes in a process. Further entries are served stale until a
	// later reader finds room.
	maxRefreshes = 32
	// maxKnownRefreshes bounds the refreshes that run and those that back off.
	maxKnownRefreshes = 1024
	// refreshBackoff is the pause for an entry after a refresh that failed, or that another process
	// does. Without it, every reader would ask the source or Redis.
	refreshBackoff = time.Second
	// earlyPrefix makes, from the ID of an entry, the ID whose load lock decides who refreshes it
	// early. The entry itself exists, so Redis would give no lease for it. No ID begins with this
	// prefix: they are letters, digits, '-' and '_'.
	earlyPrefix = "\x00"
)

var errRefresh = errors.New("an entry could not be refreshed; it is served as long as it is there")

// refresher replaces entries in the background that are stale or close to their end.
type refresher struct {
	gateway    *gateway.Gateway
	background *background.Runner
	failures   *failures
	loads      *loads
	early      *headStarts

	timeout        time.Duration // for a call to Redis
	refreshTimeout time.Duration // for a load

	refreshes refreshes
}

// claim asks whether this process must refresh an entry. If so, it returns a token to fill the
// entry. Otherwise it returns why not.
type claim func(context.Context) (registry.Token, refreshOutcome)

type refreshOutcome int

const (
	refreshDone     refreshOutcome = iota // This process had the claim.
	refreshNeedless                       // The entry is fresh, or gone and another's to load.
	refreshNotOurs                        // Another process has the claim, or Redis did not answer.
	refreshFailed                         // This process has the claim.
)

// refreshStale refreshes a stale entry in the background and returns true. It returns false if a
// refresh is under way, was tried a moment ago, or too many others are. Without a token it asks
// Redis whether this process must do it.
func (r *refresher) refreshStale(
	ctx context.Context, key registry.Key, token registry.Token, load loadFunc,
) bool {
	return r.start(ctx, key, key, load, func(ctx context.Context) (registry.Token, refreshOutcome) {
		if token != "" {
			return token, refreshDone
		}
		return r.claimStale(ctx, key)
	})
}

// refreshEarly refreshes a fresh entry in the background if it is close to its end.
func (r *refresher) refreshEarly(
	ctx context.Context, key registry.Key, hit registry.Lookup, load loadFunc,
) {
	if r.early.beta == 0 || hit.Negative || hit.Remaining > r.early.headStart(key.Module,
		key.Operation) {
		return
	}
	lock := key
	lock.ID = earlyPrefix + key.ID
	r.start(ctx, key, lock, load, func(ctx context.Context) (registry.Token, refreshOutcome) {
		lookup, err := r.gateway.Lease(ctx, r.timeout, lock, r.refreshTimeout)
		if err != nil || lookup.Wait > 0 || !lookup.Cacheable {
			return "", refreshNotOurs
		}
		return lookup.Token, refreshDone
	})
}

func (r *refresher) claimStale(
	ctx context.Context, key registry.Key,
) (registry.Token, refreshOutcome) {
	lookup, err := r.gateway.Lease(ctx, r.timeout, key, r.refreshTimeout)
	switch {
	case err != nil || lookup.Hit && lookup.Stale && lookup.Token == "":
		return "", refreshNotOurs
	case lookup.Token == "" || !lookup.Cacheable || lookup.Wait > 0:
		return "", refreshNeedless
	default:
		return lookup.Token, refreshDone
	}
}

// start refreshes an entry in the background if this process gets the claim. The claim holds the
// load lock of a key: that of the entry, which its fill releases, or another one.
func (r *refresher) start(
	ctx context.Context, key, lock registry.Key, load loadFunc, claim claim,
) bool {
	if !r.refreshes.begin(key) {
		return false
	}
	started := r.background.Start(ctx, func(ctx context.Context) {
		defer r.refreshes.forget(key)
		switch r.try(ctx, key, load, claim) {
		case refreshNeedless:
		case refreshDone:
			if lock != key {
				r.gateway.Unlock(context.WithoutCancel(ctx), lock)
			}
		case refreshNotOurs:
			background.Sleep(ctx, refreshBackoff)
		case refreshFailed:
			background.Sleep(ctx, refreshBackoff)
			r.gateway.Unlock(context.WithoutCancel(ctx), lock)
		}
	})
	if !started {
		r.refreshes.end()
		r.refreshes.forget(key)
	}
	return started
}

func (r *refresher) try(
	ctx context.Context, key registry.Key, load loadFunc, claim claim,
) refreshOutcome {
	defer r.refreshes.end()
	token, outcome := claim(ctx)
	if token == "" {
		return outcome
	}
	if err := r.load(ctx, flightKey{key, headsOf(token)}, token, load); err != nil {
		if ctx.Err() == nil {
			r.failures.add(key.Module, key.Operation, refreshFailure(err))
		}
		return refreshFailed
	}
	return refreshDone
}

// load loads and stores an entry within the time for a refresh. A panic of the loader becomes an
// error, because there is no caller to panic in.
func (r *refresher) load(
	ctx context.Context, key flightKey, token registry.Token, load loadFunc,
) (err error) {
	ctx, cancel := context.WithTimeout(ctx, r.refreshTimeout)
	defer cancel()
	defer func() {
		if value := recover(); value != nil {
			err = redact.Panic("the loader panicked", value)
		}
	}()
	result, started, err := r.loads.flights.Do(ctx, key, func(ctx context.Context) (loaded, error) {
		return r.loads.loadAndFill(ctx, key.Key, ticket{token: token, left: r.timeout}, load)
	})
	switch {
	case errors.Is(err, flight.ErrNothingToShare), errors.Is(err, flight.ErrOverdue),
		errors.Is(err, flight.ErrStuck):
		return nil // a caller loads it, and that load reports its failure
	case !errors.Is(err, ErrNotFound):
		return err
	case started && !result.storedNegative:
		// The source does not have it any more, and the policy has no negativeTTL.
		return r.gateway.Remove(ctx, r.timeout, key.Key)
	default:
		return nil
	}
}

// refreshFailure names the place of a panic. It quotes nothing of the loader's own errors.
func refreshFailure(cause error) error {
	message := errRefresh.Error()
	if errors.Is(cause, redact.ErrPanic) {
		message += ": " + cause.Error()
	}
	return redact.New(message, errRefresh, cause)
}

// refreshes is the set of entries that this process refreshes, or just tried to.
type refreshes struct {
	mu      sync.Mutex
	known   map[registry.Key]struct{}
	running int
}

// begin reports whether the caller must refresh an entry. If so, it calls end and then forget.
func (r *refreshes) begin(key registry.Key) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.known[key]; known || r.running >= maxRefreshes ||
		len(r.known) >= maxKnownRefreshes {
		return false
	}
	if r.known == nil {
		r.known = make(map[registry.Key]struct{})
	}
	r.known[key] = struct{}{}
	r.running++
	return true
}

// end makes room for another entry. This one does not begin again before it is forgotten.
func (r *refreshes) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running--
}

func (r *refreshes) forget(key registry.Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.known, key)
}
