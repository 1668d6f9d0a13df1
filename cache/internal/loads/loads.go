// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

// Package loads gets values from the source and stores them.
package loads

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/cachewright/cachewright/cache/internal/background"
	"github.com/cachewright/cachewright/cache/internal/codec"
	"github.com/cachewright/cachewright/cache/internal/dest"
	"github.com/cachewright/cachewright/cache/internal/failure"
	"github.com/cachewright/cachewright/cache/internal/flight"
	"github.com/cachewright/cachewright/cache/internal/gateway"
	"github.com/cachewright/cachewright/cache/internal/limit"
	"github.com/cachewright/cachewright/cache/internal/outbox"
	"github.com/cachewright/cachewright/cache/internal/redact"
	"github.com/cachewright/cachewright/cache/internal/source"
	"github.com/cachewright/cachewright/registry"
)

// Errors that callers get in place of a value.
var (
	// ErrCycle is cache.ErrCycle.
	ErrCycle = errors.New("the loader fetches its own entry")
	// ErrStuck is cache.ErrLoadStuck.
	ErrStuck = errors.New("loads by other callers do not end")
	// ErrRefused is cache.ErrRefused.
	ErrRefused = errors.New("refused by the policy")
)

// Config says how Loads work. All fields are needed.
type Config struct {
	Gateway    *gateway.Gateway
	Outbox     *outbox.Outbox
	Background *background.Runner
	Failures   *failure.Reports
	Codec      codec.Codec
	Encoder    *codec.Encoder // of the Codec
	// Timed returns a loader that records how long it takes.
	Timed func(registry.Key, source.Load) source.Load
	// Timeout bounds a lease.
	Timeout time.Duration
	// Wait is how long a caller waits for another process. 0: not at all.
	Wait time.Duration
	// SharedWait is how long a caller waits for the load of another in this process.
	SharedWait time.Duration
}

// Loads are the loads of this process. Callers of the same entry share one.
type Loads struct {
	config    Config
	waiter    waiter
	flights   flight.Group[flightKey, loaded]
	handovers handovers
	held      *flight.Trailing[registry.Key, loaded]
}

// New returns Loads without any under way.
func New(config Config) *Loads {
	s := &Loads{
		config: config,
		waiter: waiter{gateway: config.Gateway, loadWait: config.Wait, timeout: config.Timeout},
	}
	s.flights.MaxWait = config.SharedWait
	s.flights.OnOrphanPanic = func(of flightKey, value *flight.Panic) {
		s.orphanPanicked(of.Key, value)
	}
	s.held = flight.NewTrailing[registry.Key, loaded](config.SharedWait, s.orphanPanicked)
	return s
}

// flightKey names a shared load. It holds the heads of the lease as well as the entry. A caller
// that comes after an invalidation finds other heads, and so never joins a load that began before
// it.
type flightKey struct {
	registry.Key

	heads string
}

// headsOf returns the part of a token that is the same for all tokens between two invalidations.
// The first character of a token only says whether it came with the load lock.
func headsOf(token registry.Token) string {
	if token == "" {
		return ""
	}
	return string(token[1:])
}

// Miss is an entry that was leased to be loaded.
type Miss struct {
	Key       registry.Key
	Lookup    registry.Lookup
	Remaining time.Duration // how much longer the caller may wait for Redis
}

// ticket is the right to fill an entry.
type ticket struct {
	token registry.Token
	// locked says that it includes the load lock.
	locked bool
	// locks are where other callers leave later load locks. nil: nowhere.
	locks *handover
	// remaining is how long the fill may take.
	remaining time.Duration
	// limit is what the loader said of how long to keep it. nil: nothing.
	limit *limit.TTL
	// as is what readers decode into. nil: not known.
	as reflect.Type
}

// loaded is the result of a shared load. The caller whose load it was gets the value itself, any
// other caller decodes a copy of the payload.
type loaded struct {
	value   any
	payload []byte
	// shared says that other callers may have the payload.
	shared bool
	// foreign says that another process loaded it, so there is a payload alone.
	foreign bool
	// storedNegative says, beside source.ErrNotFound, that the cache stored it.
	storedNegative bool
}

// Shared joins the load of other callers, or begins one that they may join. The error is
// flight.ErrOverdue if the load of another caller takes too long to wait for.
func (s *Loads) Shared(ctx context.Context, m Miss, out any, load source.Load) error {
	key, leased, remaining := m.Key, m.Lookup, m.Remaining // m itself would move to the heap
	longest := s.waiter.limit(ctx, leased.Wait)
	flown := flightKey{key, headsOf(leased.Token)}
	locks := s.handovers.enter(flown)
	defer s.leave(ctx, flown, locks)
	if s.waiter.isLocked(leased) {
		locks.offer(leased)
	}
	result, started, err := s.flights.Do(ctx, flown, func(ctx context.Context) (loaded, error) {
		lookup := s.waiter.wait(ctx, key, leased, longest, locks)
		if lookup.Hit {
			found := loaded{payload: lookup.Payload, shared: true, foreign: true}
			if lookup.Negative {
				return found, source.ErrNotFound
			}
			return found, nil
		}
		t := ticket{
			token: lookup.Token, locked: s.waiter.isLocked(lookup), locks: locks, remaining: remaining,
			as: reflect.TypeOf(out).Elem(),
		}
		return s.loadAndFill(ctx, key, t, load)
	})
	if err == nil && started && !result.foreign {
		return dest.Set(out, result.value)
	}
	return s.land(ctx, key, result, err, out, load)
}

// land gives a caller the result of a load that was not its own, or lets it load for itself.
func (s *Loads) land(
	ctx context.Context, key registry.Key, result loaded, err error, out any, load source.Load,
) error {
	switch {
	case errors.Is(err, flight.ErrNothingToShare), errors.Is(err, flight.ErrCycle):
		return s.Alone(ctx, key, out, load)
	case errors.Is(err, flight.ErrStuck):
		return s.Stuck(key)
	case err != nil:
		return err
	case result.shared && s.decode(key, result.payload, out):
		return nil
	default:
		return s.Alone(ctx, key, out, load)
	}
}

// leave ends what enter began, and releases a lock that came too late for the load.
func (s *Loads) leave(ctx context.Context, key flightKey, locks *handover) {
	if s.handovers.leave(key, locks) {
		s.unlock(ctx, key.Key)
	}
}

// unlock releases a load lock in the background.
func (s *Loads) unlock(ctx context.Context, key registry.Key) {
	s.config.Background.Start(ctx, func(ctx context.Context) { s.config.Gateway.Unlock(ctx, key) })
}

func (s *Loads) decode(key registry.Key, payload []byte, out any) bool {
	err := codec.Decode(s.config.Codec, payload, out)
	if err != nil {
		s.config.Failures.Add(key.Module, key.Operation, err)
	}
	return err == nil
}

// Alone does what the application would do without a cache. Callers without a token end here: they
// cannot know whether a load under way began before an invalidation. Nor can they know whether an
// operation that is not cached may be done once for two callers.
func (s *Loads) Alone(ctx context.Context, key registry.Key, out any, load source.Load) error {
	value, err := s.load(ctx, key, load)
	if err != nil {
		return err
	}
	return dest.Set(out, value)
}

// Unnamed loads a value whose params cannot name an entry.
func Unnamed(ctx context.Context, out any, load source.Load) error {
	ctx, _ = limit.With(ctx) // what is loaded is not what an outer loader loads
	value, err := load(ctx)
	if err != nil {
		return err
	}
	return dest.Set(out, value)
}

// loadAndFill loads and stores a value. It releases the load lock, if the ticket has it, however
// the load ends. Redis releases the lock itself in a fill that it stores or fences.
func (s *Loads) loadAndFill(
	ctx context.Context, key registry.Key, t ticket, load source.Load,
) (result loaded, err error) {
	released := false
	defer func() {
		_, another := t.locks.take()
		if !released && (t.locked || another) {
			s.unlock(ctx, key)
		}
	}()
	value, ttl, err := s.loadLimited(ctx, key, s.config.Timed(key, load))
	t.limit = ttl
	if errors.Is(err, source.ErrNotFound) {
		stored := passed(s.fillNegative(ctx, key, t))
		released = t.locked && stored
		return loaded{storedNegative: stored}, err
	}
	if err != nil {
		return loaded{}, err
	}
	payload, outcome := s.fill(ctx, key, t, value)
	released = t.locked && passed(outcome)
	// A value without a user is shared only if the policy accepted it. Otherwise it may have been
	// refused because each user has entries of their own, and callers must not get each other's.
	shared := passed(outcome) || key.User != "" && payload != nil
	return loaded{value: value, payload: payload, shared: shared}, nil
}

// load is loadLimited for what is not stored.
func (s *Loads) load(ctx context.Context, key registry.Key, load source.Load) (any, error) {
	value, _, err := s.loadLimited(ctx, key, load)
	return value, err
}

// loadLimited calls the loader, unless that loads its own entry within itself over and over. The
// loader may say for how long to keep the value.
func (s *Loads) loadLimited(
	ctx context.Context, key registry.Key, load source.Load,
) (any, *limit.TTL, error) {
	ctx, ok := flight.Nested(ctx, nestedKey{s, key})
	if !ok {
		err := fmt.Errorf("%w: an entry of %s, operation %s: give one of them another operation or "+
			"other params, or read the source in the loader", ErrCycle, key.Slot, key.Operation)
		s.config.Failures.Add(key.Module, key.Operation, err)
		return nil, nil, err
	}
	ctx, ttl := limit.With(ctx)
	value, err := load(ctx)
	return value, ttl, err
}

// nestedKey names what is loaded, across all Clients.
type nestedKey struct {
	by  *Loads
	key registry.Key
}

// Refresh loads and stores an entry with a token, unless a caller loads it already. Such a load
// reports its own failure. gone says that the source has nothing, and nothing of that was stored.
func (s *Loads) Refresh(
	ctx context.Context, key registry.Key, token registry.Token, remaining time.Duration,
	load source.Load,
) (gone bool, err error) {
	flown := flightKey{key, headsOf(token)}
	result, started, err := s.flights.Do(ctx, flown, func(ctx context.Context) (loaded, error) {
		return s.loadAndFill(ctx, key, ticket{token: token, remaining: remaining}, load)
	})
	switch {
	case errors.Is(err, flight.ErrNothingToShare), errors.Is(err, flight.ErrOverdue),
		errors.Is(err, flight.ErrStuck):
		return false, nil
	case errors.Is(err, source.ErrNotFound):
		return started && !result.storedNegative, nil
	default:
		return false, err
	}
}

// Stuck reports and returns the error of a caller that waited for two loads of others that did not
// end.
func (s *Loads) Stuck(key registry.Key) error {
	err := fmt.Errorf("%w: an entry of %s, operation %s. Give the load a deadline. "+
		"If its loader uses the cache, pass on the context that it gets. "+
		"If loads take longer than %s, raise WithSharedLoadWait",
		ErrStuck, key.Slot, key.Operation, s.flights.MaxWait)
	s.config.Failures.Add(key.Module, key.Operation, err)
	return err
}

// orphanPanicked reports a panic of a loader whose caller has left. The flight runs on a goroutine
// of its own, which must not panic if the failure hook does.
func (s *Loads) orphanPanicked(key registry.Key, value *flight.Panic) {
	defer func() {
		if value := recover(); value != nil {
			s.config.Failures.Panicked(value)
		}
	}()
	err := redact.Panic("a loader panicked after its caller had left", value)
	s.config.Failures.Add(key.Module, key.Operation, err)
}
