// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package refresh replaces entries in the background that are stale or close to their end.
package refresh

import (
	"context"
	"errors"
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

// Entry is one that callers still get.
type Entry struct {
	Key registry.Key
	// Token, unless it is empty, is that of the lease by which this process is to refresh a stale
	// entry.
	Token registry.Token
	// At is where the loader knows it.
	At int
}

// attempt is a refresh of an entry.
type attempt struct {
	loads.Refresh

	// lock names the load lock that decides which process does it: that of the entry, which its fill
	// releases, or another one.
	lock      registry.Key
	outcome   outcome
	forgotten bool // guarded by refreshes.mu
}

func (a *attempt) isEarly() bool { return a.lock != a.Key }

type outcome int

const (
	claimed  outcome = iota // This process must refresh the entry.
	done                    // It did.
	needless                // The entry is fresh, or gone and another's to load.
	notOurs                 // Another process has the lock, or Redis did not answer.
	failed                  // This process has the lock.
)

// Stale refreshes stale entries in the background, with one load, and says for which of them it
// does. It does not for one whose refresh is under way or was tried a moment ago, nor if too many
// others are. Without a token it asks Redis whether this process must do it.
func (r *Refresher) Stale(ctx context.Context, entries []Entry, load source.Many) []bool {
	attempts := make([]*attempt, len(entries))
	for i, e := range entries {
		attempts[i] = &attempt{lock: e.Key}
		attempts[i].Refresh = loads.Refresh{Key: e.Key, Token: e.Token, At: e.At}
	}
	return r.start(ctx, attempts, load)
}

// IsEarly draws whether a fresh entry is close enough to its end to be refreshed.
func (r *Refresher) IsEarly(key registry.Key, hit registry.Lookup) bool {
	early := r.config.Early
	return early.beta != 0 && !hit.Negative && hit.Remaining <= early.Of(key.Module, key.Operation)
}

// Early refreshes fresh entries in the background, with one load.
func (r *Refresher) Early(ctx context.Context, entries []Entry, load source.Many) {
	attempts := make([]*attempt, len(entries))
	for i, e := range entries {
		attempts[i] = &attempt{lock: e.Key}
		attempts[i].Refresh = loads.Refresh{Key: e.Key, At: e.At}
		attempts[i].lock.ID = earlyPrefix + e.Key.ID
	}
	r.start(ctx, attempts, load)
}

// start refreshes entries in the background if this process gets their locks.
func (r *Refresher) start(
	ctx context.Context, attempts []*attempt, load source.Many,
) (started []bool) {
	started = make([]bool, len(attempts))
	begun := r.refreshes.begin(attempts, started)
	if len(begun) == 0 {
		return started
	}
	runs := r.config.Background.Start(ctx, func(ctx context.Context) {
		defer r.refreshes.forget(begun) // those that are not forgotten yet
		r.try(ctx, begun, load)
		r.conclude(ctx, begun)
	})
	if !runs {
		r.refreshes.end()
		r.refreshes.forget(begun)
		clear(started)
	}
	return started
}

// conclude forgets entries whose refresh is over, and the others after a pause.
func (r *Refresher) conclude(ctx context.Context, attempts []*attempt) {
	var over, paused []*attempt
	var releases, failures []registry.Key
	for _, a := range attempts {
		switch a.outcome {
		case needless:
			over = append(over, a)
		case done:
			over = append(over, a)
			if a.isEarly() {
				releases = append(releases, a.lock)
			}
		case failed:
			paused, failures = append(paused, a), append(failures, a.lock)
		default:
			paused = append(paused, a)
		}
	}
	r.config.Gateway.Unlock(context.WithoutCancel(ctx), releases...)
	r.refreshes.forget(over)
	if len(paused) > 0 {
		background.Sleep(ctx, refreshBackoff)
		r.config.Gateway.Unlock(context.WithoutCancel(ctx), failures...)
	}
}

func (r *Refresher) try(ctx context.Context, attempts []*attempt, load source.Many) {
	defer r.refreshes.end()
	r.claim(ctx, attempts)
	var ours []*attempt
	for _, a := range attempts {
		if a.outcome == claimed {
			ours = append(ours, a)
		}
	}
	if len(ours) == 0 {
		return
	}
	r.load(ctx, ours, load)
	r.report(ctx, ours)
}

// claim asks Redis for the load locks of entries for which there is no token yet.
func (r *Refresher) claim(ctx context.Context, attempts []*attempt) {
	var asked []*attempt
	var locks []registry.Key
	for _, a := range attempts {
		if a.Token == "" {
			asked, locks = append(asked, a), append(locks, a.lock)
		}
	}
	for i, leased := range r.config.Gateway.LeaseMany(
		ctx, r.config.Timeout, locks, r.config.RefreshTimeout) {
		asked[i].outcome = asked[i].outcomeOf(leased)
		asked[i].Token = leased.Token
	}
}

// outcomeOf says what the answer to a claim means.
func (a *attempt) outcomeOf(leased registry.Leased) outcome {
	switch {
	case leased.Err != nil:
		return notOurs
	case a.isEarly() && (leased.Wait > 0 || !leased.Cacheable || leased.Token == ""):
		return notOurs
	case leased.Hit && leased.Stale && leased.Token == "":
		return notOurs
	case leased.Token == "", !leased.Cacheable, leased.Wait > 0:
		return needless
	default:
		return claimed
	}
}

// load loads and stores entries within the time for a refresh. A panic of the loader becomes an
// error, because there is no caller to panic in. It removes what the source does not have any more.
func (r *Refresher) load(ctx context.Context, attempts []*attempt, load source.Many) {
	ctx, cancel := context.WithTimeout(ctx, r.config.RefreshTimeout)
	defer cancel()
	defer func() {
		if value := recover(); value != nil {
			err := redact.Panic("the loader panicked", value)
			for _, a := range attempts {
				a.Err = err
			}
		}
	}()
	entries := make([]*loads.Refresh, len(attempts))
	for i, a := range attempts {
		entries[i] = &a.Refresh
	}
	r.config.Loads.Refresh(ctx, entries, r.config.Timeout, load)
	r.remove(ctx, attempts)
}

func (r *Refresher) remove(ctx context.Context, attempts []*attempt) {
	var gone []*attempt
	var keys []registry.Key
	for _, a := range attempts {
		if a.Gone {
			gone, keys = append(gone, a), append(keys, a.Key)
		}
	}
	for i, err := range r.config.Gateway.RemoveMany(ctx, r.config.Timeout, keys) {
		gone[i].Err = err
	}
}

// report says how the attempts ended, and reports one failure for each operation.
func (r *Refresher) report(ctx context.Context, attempts []*attempt) {
	type operation struct{ module, name string }
	reported := map[operation]bool{}
	for _, a := range attempts {
		if a.outcome = done; a.Err == nil {
			continue
		}
		a.outcome = failed
		of := operation{a.Key.Module, a.Key.Operation}
		if ctx.Err() == nil && !reported[of] {
			reported[of] = true
			r.config.Failures.Add(of.module, of.name, refreshFailure(a.Err))
		}
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
