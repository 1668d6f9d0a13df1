// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package refresh replaces entries in the background that are stale or close to their end.
package refresh

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/cachewright/cachewright/cache/internal/background"
	"github.com/cachewright/cachewright/cache/internal/failure"
	"github.com/cachewright/cachewright/cache/internal/gateway"
	"github.com/cachewright/cachewright/cache/internal/loads"
	"github.com/cachewright/cachewright/cache/internal/redact"
	"github.com/cachewright/cachewright/cache/internal/source"
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

// Config says how a Refresher works. All fields are needed.
type Config struct {
	Gateway    *gateway.Gateway
	Background *background.Runner
	Failures   *failure.Reports
	Loads      *loads.Loads
	Early      *HeadStarts

	Timeout        time.Duration // for a call to Redis
	RefreshTimeout time.Duration // for a load
}

// Refresher refreshes entries, at most one at a time across all processes.
type Refresher struct {
	config    Config
	refreshes refreshes
}

// New returns a Refresher.
func New(config Config) *Refresher { return &Refresher{config: config} }

// claim asks whether this process must refresh an entry. If so, it returns a token to fill the
// entry. Otherwise it returns why not.
type claim func(context.Context) (registry.Token, outcome)

type outcome int

const (
	done     outcome = iota // This process had the claim.
	needless                // The entry is fresh, or gone and another's to load.
	notOurs                 // Another process has the claim, or Redis did not answer.
	failed                  // This process has the claim.
)

// Stale refreshes a stale entry in the background and returns true. It returns false if a
// refresh is under way, was tried a moment ago, or too many others are. Without a token it asks
// Redis whether this process must do it.
func (r *Refresher) Stale(
	ctx context.Context, key registry.Key, token registry.Token, load source.Load,
) bool {
	return r.start(ctx, key, key, load, func(ctx context.Context) (registry.Token, outcome) {
		if token != "" {
			return token, done
		}
		return r.claimStale(ctx, key)
	})
}

// Early refreshes a fresh entry in the background if it is close to its end.
func (r *Refresher) Early(
	ctx context.Context, key registry.Key, hit registry.Lookup, load source.Load,
) {
	early := r.config.Early
	if early.beta == 0 || hit.Negative || hit.Remaining > early.Of(key.Module, key.Operation) {
		return
	}
	lock := key
	lock.ID = earlyPrefix + key.ID
	r.start(ctx, key, lock, load, func(ctx context.Context) (registry.Token, outcome) {
		lookup, err := r.config.Gateway.Lease(ctx, r.config.Timeout, lock, r.config.RefreshTimeout)
		if err != nil || lookup.Wait > 0 || !lookup.Cacheable {
			return "", notOurs
		}
		return lookup.Token, done
	})
}

func (r *Refresher) claimStale(
	ctx context.Context, key registry.Key,
) (registry.Token, outcome) {
	lookup, err := r.config.Gateway.Lease(ctx, r.config.Timeout, key, r.config.RefreshTimeout)
	switch {
	case err != nil || lookup.Hit && lookup.Stale && lookup.Token == "":
		return "", notOurs
	case lookup.Token == "" || !lookup.Cacheable || lookup.Wait > 0:
		return "", needless
	default:
		return lookup.Token, done
	}
}

// start refreshes an entry in the background if this process gets the claim. The claim holds the
// load lock of a key: that of the entry, which its fill releases, or another one.
func (r *Refresher) start(
	ctx context.Context, key, lock registry.Key, load source.Load, claim claim,
) bool {
	if !r.refreshes.begin(key) {
		return false
	}
	started := r.config.Background.Start(ctx, func(ctx context.Context) {
		defer r.refreshes.forget(key)
		switch r.try(ctx, key, load, claim) {
		case needless:
		case done:
			if lock != key {
				r.config.Gateway.Unlock(context.WithoutCancel(ctx), lock)
			}
		case notOurs:
			background.Sleep(ctx, refreshBackoff)
		case failed:
			background.Sleep(ctx, refreshBackoff)
			r.config.Gateway.Unlock(context.WithoutCancel(ctx), lock)
		}
	})
	if !started {
		r.refreshes.end()
		r.refreshes.forget(key)
	}
	return started
}

func (r *Refresher) try(
	ctx context.Context, key registry.Key, load source.Load, claim claim,
) outcome {
	defer r.refreshes.end()
	token, why := claim(ctx)
	if token == "" {
		return why
	}
	if err := r.load(ctx, key, token, load); err != nil {
		if ctx.Err() == nil {
			r.config.Failures.Add(key.Module, key.Operation, refreshFailure(err))
		}
		return failed
	}
	return done
}

// load loads and stores an entry within the time for a refresh. A panic of the loader becomes an
// error, because there is no caller to panic in. It removes what the source does not have any more.
func (r *Refresher) load(
	ctx context.Context, key registry.Key, token registry.Token, load source.Load,
) (err error) {
	ctx, cancel := context.WithTimeout(ctx, r.config.RefreshTimeout)
	defer cancel()
	defer func() {
		if value := recover(); value != nil {
			err = redact.Panic("the loader panicked", value)
		}
	}()
	gone, err := r.config.Loads.Refresh(ctx, key, token, r.config.Timeout, load)
	if gone {
		return r.config.Gateway.Remove(ctx, r.config.Timeout, key)
	}
	return err
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
