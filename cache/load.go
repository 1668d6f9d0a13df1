// Copyright The Cachewright Authors.
// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cachewright/cachewright/cache/internal/background"
	"github.com/cachewright/cachewright/cache/internal/dest"
	"github.com/cachewright/cachewright/cache/internal/flight"
	"github.com/cachewright/cachewright/cache/internal/gateway"
	"github.com/cachewright/cachewright/cache/internal/outbox"
	"github.com/cachewright/cachewright/cache/internal/redact"
	"github.com/cachewright/cachewright/registry"
)

// loads gets values from the source and stores them. Callers of the same entry share a load.
type loads struct {
	gateway    *gateway.Gateway
	outbox     *outbox.Outbox
	background *background.Runner
	failures   *failures
	codec      Codec
	waiter     waiter
	early      *headStarts

	flights flight.Group[flightKey, loaded]
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

// miss is an entry that was leased to be loaded.
type miss struct {
	key    registry.Key
	lookup registry.Lookup
	left   time.Duration // how much longer the caller may wait for Redis
}

// ticket is the right to fill an entry.
type ticket struct {
	token  registry.Token
	locked bool          // it includes the load lock
	left   time.Duration // how long the fill may take
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
	// storedNegative says, beside ErrNotFound, that the cache stored it.
	storedNegative bool
}

// shared joins the load of other callers, or begins one that they may join. The error is
// flight.ErrOverdue if the load of another caller takes too long to wait for.
func (s *loads) shared(ctx context.Context, m miss, out any, load loadFunc) error {
	key, leased, left := m.key, m.lookup, m.left // m itself would move to the heap
	limit := s.waiter.limit(ctx, leased.Wait)
	flown := flightKey{key, headsOf(leased.Token)}
	result, started, err := s.flights.Do(ctx, flown, func(ctx context.Context) (loaded, error) {
		lookup := s.waiter.wait(ctx, key, leased, limit)
		if lookup.Hit {
			return loaded{payload: lookup.Payload, shared: true, foreign: true}, errorOf(lookup)
		}
		locked := s.waiter.loadWait > 0 && lookup.Wait == 0
		return s.loadAndFill(ctx, key, ticket{token: lookup.Token, locked: locked, left: left}, load)
	})
	switch {
	case errors.Is(err, flight.ErrNothingToShare), errors.Is(err, flight.ErrCycle):
		return s.alone(ctx, key, out, load)
	case errors.Is(err, flight.ErrStuck):
		return s.stuck(key)
	case err != nil:
		return err
	case started && !result.foreign:
		return dest.Set(out, result.value)
	case result.shared && s.decode(key, result.payload, out):
		return nil
	default:
		return s.alone(ctx, key, out, load)
	}
}

func (s *loads) decode(key registry.Key, payload []byte, out any) bool {
	err := decode(s.codec, payload, out)
	if err != nil {
		s.failures.add(key.Module, key.Operation, err)
	}
	return err == nil
}

// alone does what the application would do without a cache. Callers without a token end here: they
// cannot know whether a load under way began before an invalidation. Nor can they know whether an
// operation that is not cached may be done once for two callers.
func (s *loads) alone(ctx context.Context, key registry.Key, out any, load loadFunc) error {
	value, err := s.load(ctx, key, load)
	if err != nil {
		return err
	}
	return dest.Set(out, value)
}

// loadUnnamed loads a value whose params cannot name an entry.
func loadUnnamed(ctx context.Context, out any, load loadFunc) error {
	value, err := load(ctx)
	if err != nil {
		return err
	}
	return dest.Set(out, value)
}

// loadAndFill loads and stores a value. It releases the load lock, if the ticket has it, however
// the load ends. Redis releases the lock itself in a fill that it stores or fences.
func (s *loads) loadAndFill(
	ctx context.Context, key registry.Key, t ticket, load loadFunc,
) (result loaded, err error) {
	defer func() {
		if t.locked {
			s.background.Start(ctx, func(ctx context.Context) { s.gateway.Unlock(ctx, key) })
		}
	}()
	value, err := s.load(ctx, key, s.early.timed(key, load))
	if errors.Is(err, ErrNotFound) {
		stored := passed(s.fillNegative(ctx, key, t))
		t.locked = t.locked && !stored
		return loaded{storedNegative: stored}, err
	}
	if err != nil {
		return loaded{}, err
	}
	payload, outcome := s.fill(ctx, key, t, value)
	t.locked = t.locked && !passed(outcome)
	// A value without a user is shared only if the policy accepted it. Otherwise it may have been
	// refused because each user has entries of their own, and callers must not get each other's.
	shared := passed(outcome) || key.User != "" && payload != nil
	return loaded{value: value, payload: payload, shared: shared}, nil
}

// load calls the loader, unless that loads its own entry within itself over and over.
func (s *loads) load(ctx context.Context, key registry.Key, load loadFunc) (any, error) {
	ctx, ok := flight.Nested(ctx, nestedKey{s, key})
	if !ok {
		err := fmt.Errorf("%w: an entry of %s, operation %s: give one of them another operation or "+
			"other params, or read the source in the loader", ErrLoadCycle, key.Slot, key.Operation)
		s.failures.add(key.Module, key.Operation, err)
		return nil, err
	}
	return load(ctx)
}

// nestedKey names what is loaded, across all Clients.
type nestedKey struct {
	by  *loads
	key registry.Key
}

// fill encodes and stores a loaded value, even if all callers have left. The payload is nil if the
// value cannot be encoded. The outcome is 0 if Redis did not answer or lacks an invalidation.
func (s *loads) fill(
	ctx context.Context, key registry.Key, t ticket, value any,
) ([]byte, registry.Outcome) {
	payload, err := encode(s.codec, value)
	if err != nil {
		s.failures.add(key.Module, key.Operation, err)
		return nil, 0
	}
	if s.outbox.Covers(key) {
		return payload, 0
	}
	// The gateway reports failures.
	outcome, _ := s.gateway.Set(context.WithoutCancel(ctx), t.left, key, payload, t.token)
	if outcome == registry.Refused {
		s.failures.add(key.Module, key.Operation, refusal(key, len(payload)))
	}
	return payload, outcome
}

// fillNegative stores that the source has nothing, if the policy has a negativeTTL.
func (s *loads) fillNegative(ctx context.Context, key registry.Key, t ticket) registry.Outcome {
	if s.outbox.Covers(key) {
		return 0
	}
	outcome, _ := s.gateway.SetNegative(context.WithoutCancel(ctx), t.left, key, t.token)
	return outcome
}

// passed reports whether the policy accepted a fill. A fill that an invalidation fenced is one,
// too.
func passed(outcome registry.Outcome) bool {
	return outcome == registry.Stored || outcome == registry.Fenced
}

// refusal says why the policy refused an entry.
func refusal(key registry.Key, size int) error {
	reason := fmt.Sprintf("its %d bytes are more than maxEntryBytes allows", size)
	if key.User == "" {
		reason = "it has no user although the operation's scope is User, or " + reason
	}
	return fmt.Errorf("%w: an entry of %s, operation %s: %s", ErrRefused, key.Slot, key.Operation,
		reason)
}

// stuck returns the error of a caller that waited for two loads of others that did not end.
func (s *loads) stuck(key registry.Key) error {
	err := fmt.Errorf("%w: an entry of %s, operation %s: give the load a deadline; "+
		"if its loader uses the cache, pass on the context that it gets; "+
		"if loads take longer than %s, raise WithSharedLoadWait",
		ErrLoadStuck, key.Slot, key.Operation, s.flights.MaxWait)
	s.failures.add(key.Module, key.Operation, err)
	return err
}

// orphanPanicked reports a panic of a loader whose caller has left. The flight runs on a goroutine
// of its own, which must not panic if the failure hook does.
func (s *loads) orphanPanicked(key flightKey, value *flight.Panic) {
	defer func() {
		if value := recover(); value != nil {
			s.failures.panicked(value)
		}
	}()
	err := redact.Panic("a loader panicked after its caller had left", value)
	s.failures.add(key.Module, key.Operation, err)
}
